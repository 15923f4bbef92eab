"""Where the operator is measured: a cluster with our CRDs, Nodes that hold the pods, and somebody who plays them.

Everything shares one machine, as the figures say: API server, etcd, controllers, player, operator and the bench itself.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from bench.bench_create import CRDS, JOBS, ROOT, child, create_by_operator, devcluster
from bench.scale.growth import Growth, Points, fit
from footplate.contract import MANAGED_SELECTOR
from footplate.devcluster.client import ApiClient
from footplate.errors import AlreadyExists, NotFound
from operator_process import OperatorProcess
from pod_player import Fate, PodPlayer, make_nodes, nodes_for
from realcluster.controlplane import ControlPlane

PODS_PER_JOB = 8
LANES = 20
LIFTED = ("--kube-api-qps=2000", "--kube-api-burst=4000")
"""kube-controller-manager's own client is limited to 20 requests a second unless told otherwise."""


@dataclass
class Arena:
    """A cluster in which something is measured. `plane` is None on the devcluster."""

    client: ApiClient
    kubeconfig: Path
    plane: ControlPlane | None
    steps: Sequence[int]
    """A stock grows in steps: (4, 2, 1) is to a quarter of it, to a half, to all."""
    rest_seconds: float
    """How long an operator is watched that has nothing to do."""
    growths: list[Growth] = field(default_factory=list)

    def say(self, bench: str, **figures: Any) -> None:
        """Prints one line of JSON."""
        cluster = "devcluster" if self.plane is None else "kube-apiserver"
        line = {"bench": bench, "cluster": cluster, **{key: _rounded(value) for key, value in figures.items()}}
        print(json.dumps(line), flush=True)

    def grows(self, of: str, points: Points, *, against: str, empty: float = 0.0) -> None:
        """Prints how a cost grows with size, and keeps it for the plot."""
        growth = fit(of, points, against=against, empty=empty)
        if growth is not None:
            self.growths.append(growth)
            self.say("growth", of=of, against=against, exponent=growth.exponent, empty=empty)

    def operator(self, **settings: Any) -> OperatorProcess:
        """An operator for this cluster, not started yet."""
        return OperatorProcess(self.kubeconfig, log=self.kubeconfig.with_name("operator.log"), **settings)

    async def warm_up(self, operator: OperatorProcess) -> None:
        """Until the operator does what it is for: ready is it a moment before it hears of jobs."""
        await operator.until_ready()
        await create_by_operator(self.client, "warm-up", 2)

    @contextmanager
    def player(self, pods: int, *, seconds: float | None = None) -> Iterator[None]:
        """Somebody plays the pods, in a process of its own: they run for ever, or for so many seconds."""
        with child(_play, json.loads(self.kubeconfig.read_text()), nodes_for(pods), seconds) as pipe:
            pipe.recv()
            yield

    async def apply(self, name: str, **spec: Any) -> None:
        """Sends a TrainingJob."""
        await self.client.request("POST", JOBS, training_job(name, **spec))

    async def delete(self, name: str) -> None:
        """Deletes a TrainingJob, if it is there."""
        try:
            await self.client.request("DELETE", f"{JOBS}/{name}")
        except NotFound:
            return

    async def is_empty(self, *plurals: str) -> bool:
        """Whether nothing of the operator's is left, of these kinds."""
        for plural in plurals:
            path = f"/api/v1/namespaces/default/{plural}"
            found = await self.client.request("GET", path, labelSelector=MANAGED_SELECTOR, limit=1)
            if found.get("items"):
                return False
        return True

    async def until_empty(self, *plurals: str) -> None:
        """Waits until nothing of the operator's is left."""
        while not await self.is_empty(*plurals):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


def training_job(name: str, *, nodes: int = PODS_PER_JOB, **spec: Any) -> dict[str, Any]:
    """A TrainingJob whose pods nobody runs."""
    trainer = {"image": "registry.example.com/trainer:1", "command": ["python", "train.py"]}
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {"trainer": trainer, "nodes": nodes, **spec},
    }


@asynccontextmanager
async def open_arena(*, real: bool, pods: int, **measures: Any) -> AsyncIterator[Arena]:
    """A fresh cluster with room for so many pods: a real control plane or the devcluster. `measures` are Arena's."""
    if not real:
        async with devcluster() as kubeconfig:
            with TemporaryDirectory() as folder:
                async with _prepared(kubeconfig, Path(folder), None, pods=pods, **measures) as arena:
                    yield arena
        return
    with ControlPlane(controller_options=LIFTED) as plane:
        kubeconfig = json.loads(plane.kubeconfig_path.read_text())
        async with _prepared(kubeconfig, plane.folder, plane, pods=pods, **measures) as arena:
            yield arena


@asynccontextmanager
async def _prepared(
    kubeconfig: Mapping[str, Any], folder: Path, plane: ControlPlane | None, *, pods: int, **measures: Any
) -> AsyncIterator[Arena]:
    path = folder / "bench.kubeconfig"
    path.write_text(json.dumps(kubeconfig))
    async with ApiClient(kubeconfig) as client:
        for crd in sorted((ROOT / "crds").glob("*.yaml")):
            await client.request("POST", CRDS, yaml.safe_load(crd.read_text()))
        await _until_served(client)
        await make_nodes(client, nodes_for(pods))
        yield Arena(client, path, plane, **measures)


async def _until_served(client: ApiClient) -> None:
    while True:
        try:
            await client.request("POST", JOBS, training_job("first", runPolicy={"suspend": True}))
            await client.request("DELETE", f"{JOBS}/first")
            return
        except NotFound:
            await asyncio.sleep(0.1)
        except AlreadyExists:
            await client.request("DELETE", f"{JOBS}/first")
            return


def _play(pipe: Any, kubeconfig: Mapping[str, Any], nodes: int, seconds: float | None) -> None:
    """The player, until killed."""

    async def run() -> None:
        async with ApiClient(kubeconfig) as client:
            fate = None if seconds is None else Fate(seconds)
            player = PodPlayer(client, nodes=nodes, fate=lambda _: fate)
            pipe.send("ready")
            await player.run()

    asyncio.run(run())


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value
