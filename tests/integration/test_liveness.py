"""A pod whose supervisor is frozen: nothing in it notices, so the kubelet must."""

import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from footplate.devcluster import pod as pods
from footplate.devcluster.probes import Liveness, read_liveness
from footplate.devcluster.up import DevCluster
from integration.test_elastic import GPU, SAVE_EVERY, Town, expected_samples

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400), pytest.mark.slow]


def impatient(container: Any, pod: Any) -> Liveness | None:
    """The pod's own probe, but every second, and for a quarter of a minute: a pod may be slow to start."""
    found = read_liveness(container, pod)
    assert found is not None
    return replace(found, period=1, timeout=1, failures=15, grace=1)


async def test_a_frozen_supervisor_restarts_the_gang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ranks go on for a while; the job resumes from their last checkpoint, and no sample is missed or misplaced."""
    monkeypatch.setattr(pods, "read_liveness", impatient)
    async with DevCluster(tmp_path / "cluster", nodes=2, capacity={GPU: "1"}) as cluster:
        await cluster.storage_ready()
        town = Town(cluster, tmp_path)
        await town.create(2, None)
        await town.trains(attempt=0, world=2, steps=SAVE_EVERY + 2)
        cluster.nodes.kill_pod("default", "elastic-1-0-1", signal.SIGSTOP)
        frozen = time.time()
        again = await town.trains(attempt=1, world=2)
        print(f"frozen to first new step: {again.time - frozen:.1f} s, 15 s of them until the kubelet's patience ends")

        town.witness.with_suffix(".hurry").touch()
        status = await town.status_where(lambda status: status["phase"] in ("Succeeded", "Failed"), seconds=200)
    assert status["phase"] == "Succeeded", status
    assert [each["reason"] for each in status["attempts"]] == ["Killed", "Completed"]
    expected, taken = list(expected_samples()), list(town.steps())
    assert {step.step for step in taken} == set(range(1, len(expected) + 1))
    assert all(step.samples == expected[step.step - 1] for step in taken)
    usage = status["usage"]
    assert usage["acceleratorSeconds"] == {GPU: usage["nodeSeconds"]}
    assert usage["productiveSeconds"] + usage["lostSeconds"] == usage["nodeSeconds"] == usage["endedNodeSeconds"]
    assert 0 < usage["goodputPercent"] < 100
    print(usage)
