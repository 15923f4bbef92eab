"""Sharded training (FSDP2): killed at any moment it ends bit for bit as if it never was, and it shrinks and grows."""

import json
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from footplate.contract import ExitCode
from footplate_trainer import exchange
from rank_processes import Job

pytestmark = pytest.mark.integration

SETTINGS = {"samples": 100, "batchSize": 24, "epochs": 5, "strategy": "fsdp"}
STEPS = 25
CHECKPOINT = {"every": {"steps": 4}, "keep": 2}
Result = dict[str, Any]


def result_of(job: Job, rank: int = 0) -> Result:
    result: Result = json.loads((job.output / f"result-{rank}.json").read_text())
    return result


def finish(job: Job, attempt: int = 0) -> Result:
    with job.start(attempt) as gang:
        assert gang.wait() == [ExitCode.OK] * job.world_size, gang.logs()
    return result_of(job)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Result]:
    """The end of a run that nothing happened to, by world size. Without checkpoints, so that saving can't disturb."""
    return {
        ranks: finish(Job(tmp_path_factory.mktemp(f"reference-{ranks}"), "sharded.py", ranks, SETTINGS))
        for ranks in (2, 3)
    }


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_training_ends_as_one_that_was_not(
    uninterrupted: dict[int, Result], tmp_path: Path, ranks: int, number: signal.Signals
) -> None:
    job = Job(tmp_path, "sharded.py", ranks, SETTINGS | {"stepSeconds": 0.02}, checkpoint=CHECKPOINT)
    chance, attempts, step = random.Random(ranks), 2, 0
    for attempt in range(attempts):
        step = min(step + chance.randint(5, 9), STEPS - 3)
        with job.start(attempt) as gang:
            assert gang.wait_for_step(step), gang.logs()
            chance.choice(gang.ranks).send_signal(number)
            codes = set(gang.wait())
            stopped = {ExitCode.STOPPED} if number is signal.SIGTERM else {-signal.SIGKILL, ExitCode.PEER_LOST}
            assert codes <= stopped, gang.logs()
            step = max(gang.steps())
    assert finish(job, attempts) == uninterrupted[ranks]


def test_each_rank_holds_and_writes_its_share(uninterrupted: dict[int, Result], tmp_path: Path) -> None:
    job = Job(tmp_path, "sharded.py", 2, SETTINGS | {"before": False}, checkpoint=CHECKPOINT)
    assert finish(job) == uninterrupted[2]
    assert all(result_of(job, rank)["share"] < 0.7 for rank in (0, 1))
    assert result_of(job)["optimizer"] == ["DTensor"]
    newest = max(tmp_path.glob("checkpoints/exact/*/step-*"))
    files = json.loads((newest / "manifest.json").read_text())["files"]
    sizes = {(file["part"], file["rank"]): file["size"] for file in files}
    for part in ("model.shards", "optimizer.shards"):
        assert sizes[part, 0] < 0.7 * (sizes[part, 0] + sizes[part, 1])
    exported = load_file(job.output / "model.safetensors")
    assert exported["blocks.1.layers.0.weight"].shape == (7, 7)


CHANGES = {
    "shrinks": ({"ranks": 3}, {"ranks": 2}),
    "grows": ({"ranks": 2}, {"ranks": 3}),
    "one rank is left": ({"ranks": 2}, {"ranks": 1}),
    "from one rank": ({"ranks": 1}, {"ranks": 2}),
    "no longer sharded": ({"ranks": 2}, {"ranks": 2, "strategy": "ddp"}),
    "sharded from now on": ({"ranks": 2, "strategy": "ddp"}, {"ranks": 2}),
}


@pytest.mark.parametrize(("before", "after"), CHANGES.values(), ids=CHANGES.keys())
def test_another_world_goes_on_with_the_same_data(
    uninterrupted: dict[int, Result], tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Up to rounding and dropout: the losses go on where they were."""
    job = Job(tmp_path, "sharded.py", before["ranks"], SETTINGS | {"stepSeconds": 0.02}, checkpoint=CHECKPOINT)
    job.hyperparameters = {**job.hyperparameters, "strategy": before.get("strategy", "fsdp")}
    with job.start(0) as gang:
        assert gang.wait_for_step(9)
        gang.send(signal.SIGTERM)
        assert set(gang.wait()) == {ExitCode.STOPPED}, gang.logs()
        (stopped_at,) = set(gang.steps())
    job.world_size = after["ranks"]
    job.hyperparameters = SETTINGS | {"strategy": after.get("strategy", "fsdp")}
    result = finish(job, 1)
    report = exchange.read_report(job.run_dir(0, 1))
    assert report is not None
    assert report.resumed_from_step == stopped_at
    assert [step for step, _ in result["losses"]] == list(range(1, STEPS + 1))
