"""Two namespaces share two accelerators by quota, under the real operator: one borrows, gives back with a checkpoint
when the other comes, and goes on to the very end that it would have had; the operator is killed meanwhile.
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from footplate.devcluster.up import STORAGE, DevCluster
from footplate_trainer.data.loader import Batching, Order

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400), pytest.mark.slow]

PROGRAM = Path(__file__).parents[1] / "programs" / "elastic.py"
GROUP = "/apis/footplate.dev/v1alpha1"
SAMPLES, BATCH, EPOCHS, SAVE_EVERY = 500, 25, 3, 10
GPU = "nvidia.com/gpu"
JSON = dict[str, Any]


class Town:
    """The devcluster, and the jobs of two teams in it."""

    def __init__(self, cluster: DevCluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder

    async def post(self, path: str, body: JSON) -> None:
        await self.cluster.client.request("POST", path, body)

    async def found(self) -> None:
        """Two namespaces with a quota of one accelerator each."""
        secret = await self.cluster.client.request("GET", f"/api/v1/namespaces/default/secrets/{STORAGE}")
        code = {"train.py": PROGRAM.read_text()}
        for team in ("borrower", "owner"):
            metadata = {"name": team, "labels": {"tenant": "yes"}}
            await self.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
            for kind, plural, name, data in (
                ("Secret", "secrets", STORAGE, {"data": secret["data"]}),
                ("ConfigMap", "configmaps", "code", {"data": code}),
            ):
                body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **data}
                await self.post(f"/api/v1/namespaces/{team}/{plural}", body)
        quota = {"accelerators": {GPU: 1}, "borrowing": {}, "loanSeconds": 1}
        spec = {"namespaceSelector": {"matchLabels": {"tenant": "yes"}}, "quota": quota}
        policy = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingPolicy", "metadata": {"name": "teams"}}
        await self.post(f"{GROUP}/trainingpolicies", {**policy, "spec": spec})

    async def create(self, team: str, name: str, *, gpus: int = 1, epochs: int = EPOCHS, pace: float = 0.1) -> None:
        settings = {"samples": SAMPLES, "batchSize": BATCH, "epochs": epochs, "stepSeconds": pace}
        spec = {
            "trainer": {
                "image": "registry.example.com/trainer:1",
                "entrypoint": "train.py",
                "source": {"configMap": {"name": "code"}},
                "hyperparameters": {**settings, "witness": str(self.folder / name)},
            },
            "nodes": gpus,
            "resources": {"limits": {GPU: 1}},
            "checkpoint": {"uri": f"s3://checkpoints/{name}/", "every": {"steps": SAVE_EVERY}},
            "storage": {"secretRef": {"name": STORAGE}},
            "runPolicy": {"terminationGracePeriodSeconds": 20},
        }
        job = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}}
        await self.post(f"{GROUP}/namespaces/{team}/trainingjobs", {**job, "spec": spec})

    async def status(self, team: str, name: str) -> JSON:
        job = await self.cluster.client.request("GET", f"{GROUP}/namespaces/{team}/trainingjobs/{name}")
        return dict(job.get("status") or {})

    def steps(self, name: str) -> list[JSON]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def trains(self, name: str, *, attempt: int = 0, steps: int = 3) -> None:
        await self.until(lambda: len([each for each in self.steps(name) if each["attempt"] == attempt]) >= steps)

    async def is_in(self, team: str, name: str, phase: str, reason: str = "") -> JSON:
        """The status once the job is in this phase, for this reason."""
        deadline = time.monotonic() + 90
        while True:
            status = await self.status(team, name)
            if status.get("phase") == phase and reason in ("", status["reason"]):
                return status
            assert time.monotonic() < deadline, f"{json.dumps(status, indent=1)}\n{self.tail()}"
            await asyncio.sleep(0.05)

    async def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 90
        while not holds():
            assert time.monotonic() < deadline, self.tail()
            await asyncio.sleep(0.05)

    def tail(self) -> str:
        return self.cluster.operator_log.read_text()[-4000:]

    async def replace_operator(self) -> None:
        """As it is when a node dies under it."""
        assert self.cluster.operator is not None
        self.cluster.operator.signal_all(signal.SIGKILL)
        await self.cluster.operator.wait()
        await self.cluster.start_operator()


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with DevCluster(tmp_path / "cluster", nodes=2, capacity={GPU: "1"}) as cluster:
        await cluster.storage_ready()
        town = Town(cluster, tmp_path)
        await town.found()
        yield town


def expected_samples() -> list[list[int]]:
    """What each step is made of, however often the job was stopped."""
    order, split = Order(SAMPLES, 0, shuffle=True), Batching(SAMPLES, BATCH, drop_last=False)
    epochs = (order.of_epoch(epoch).tolist() for epoch in range(EPOCHS))
    return [numbers[start:end] for numbers in epochs for start, end in split.bounds()]


async def test_what_was_lent_is_given_back_with_a_checkpoint_and_nothing_is_lost(town: Town) -> None:
    await town.create("borrower", "lent", gpus=2, pace=0.7)  # not done before it is stopped
    await town.trains("lent", steps=SAVE_EVERY + 2)
    held = await town.status("borrower", "lent")
    assert held["queue"]["nodes"] == 2, "one of its own, and one that is lent"

    await town.create("owner", "mine", epochs=1)
    stopping = await town.is_in("borrower", "lent", "Restarting", "Reclaimed")
    assert "another namespace that goes first asks for them" in stopping["message"]
    assert "mine" not in stopping["message"], "no names of another tenant's jobs"
    await town.replace_operator()
    waiting = await town.is_in("borrower", "lent", "Queued", "WaitingForQuota")
    assert waiting["restarts"]["total"] == 0
    await town.trains("mine")
    waiting = await town.is_in("borrower", "lent", "Queued", "WaitingForQuota")
    assert "quota of namespace borrower is 1 nvidia.com/gpu, of which its jobs hold 0" in waiting["message"]
    await town.replace_operator()
    await town.trains("mine", steps=10)
    assert (await town.status("borrower", "lent"))["phase"] == "Queued", "nothing is given twice after a failover"

    await town.is_in("owner", "mine", "Succeeded")
    (town.folder / "lent.hurry").touch()
    await town.trains("lent", attempt=1)
    done = await town.is_in("borrower", "lent", "Succeeded")
    assert [each["reason"] for each in done["attempts"]] == ["Reclaimed", "Completed"]
    assert done["restarts"]["total"] == 0
    taken, expected = town.steps("lent"), expected_samples()
    stopped = max(each["step"] for each in taken if each["attempt"] == 0)
    assert done["attempts"][1]["resumedFromStep"] == stopped, "a clean stop loses no step"
    assert [each["step"] for each in taken] == [*range(1, len(expected) + 1)]
    assert [each["samples"] for each in taken] == expected
    gangs = [(each["attempt"], each["world"]) for each in taken]
    assert {gang for pair in pairwise(gangs) for gang in pair} == {(0, 2), (1, 2)}
    both = {each["time"] for each in taken}
    owned = [each["time"] for each in town.steps("mine")]
    assert not any(owned[0] <= moment <= owned[-1] for moment in both), "never three on two accelerators"


async def test_what_can_never_fit_is_said_at_once_and_blocks_nobody(tmp_path: Path) -> None:
    async with DevCluster(tmp_path, nodes=2, capacity={GPU: "1"}, pretend=True) as cluster:
        await cluster.storage_ready()
        town = Town(cluster, tmp_path)
        await town.found()
        await town.create("owner", "huge", gpus=3)
        said = await town.is_in("owner", "huge", "Queued", "ExceedsQuota")
        assert "asks for 3 nvidia.com/gpu (3 nodes with 1 each), which can never be had" in said["message"]
        assert [each["status"] for each in said["conditions"] if each["type"] == "Stalled"] == ["True"]
        await town.create("owner", "small")
        await town.is_in("owner", "small", "Running")
        path = f"{GROUP}/trainingpolicies/teams"
        await cluster.client.request("DELETE", path)
        await town.is_in("owner", "huge", "Queued", "WaitingForNodes")
