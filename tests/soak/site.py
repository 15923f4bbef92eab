"""Where a soak takes place: a devcluster that is at odds with the operator, the operator, a player and a witness."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import yaml

from bench.bench_create import CRDS, ROOT, child
from footplate.devcluster.client import ApiClient
from footplate.devcluster.faults import Fault, Faults, WatchFault
from footplate.devcluster.server import ApiServer
from operator_process import OperatorProcess
from pod_player import PodPlayer, make_nodes
from soak.stories import NODES, fate_of
from soak.witness import Witness

FAULTS = (
    Fault(status=500),
    Fault(status=503, retry_after=1),
    Fault(status=429, retry_after=1),
    Fault(cut="before"),
    Fault(cut="after"),
    Fault(delay=1.0),
)
WATCH_FAULTS = (WatchFault("cut", after=20), WatchFault("half-line", after=30), WatchFault("lag", seconds=0.5))
WATCH_RATE = 0.1


class Site:
    """`async with Site(seed=…, rate=…) as site`: the API server and the operator in processes of their own."""

    client: ApiClient
    witness: Witness
    operator: OperatorProcess

    def __init__(self, *, seed: int, rate: float) -> None:
        self._seed = seed
        self._rate = rate

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            pipe = stack.enter_context(child(_serve, self._seed, self._rate))
            kubeconfig = await asyncio.to_thread(pipe.recv)
            path = folder / "kubeconfig"
            path.write_text(json.dumps(kubeconfig))
            self.client = await stack.enter_async_context(ApiClient(kubeconfig))
            await self._prepare(stack)
            self.operator = await stack.enter_async_context(OperatorProcess(path, log=folder / "operator.log"))
            await self.operator.until_ready()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _prepare(self, stack: AsyncExitStack) -> None:
        for crd in sorted((ROOT / "crds").glob("*.yaml")):
            await self.client.request("POST", CRDS, yaml.safe_load(crd.read_text()))
        await make_nodes(self.client, len(NODES))
        self.witness = Witness(self.client)
        player = PodPlayer(self.client, nodes=len(NODES), fate=fate_of)
        for work in (self.witness.run(), player.run()):
            stack.push_async_callback(_end, asyncio.create_task(work))


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _serve(pipe: Any, seed: int, rate: float) -> None:
    """The devcluster's API server, at odds with the operator, until killed."""

    async def run() -> None:
        faults = Faults(seed=seed)
        for fault in FAULTS:
            faults.add(fault, agent="footplate-operator", rate=rate / len(FAULTS))
        for watch_fault in WATCH_FAULTS:
            faults.add(watch_fault, agent="footplate-operator", rate=WATCH_RATE / len(WATCH_FAULTS))
        async with ApiServer(faults=faults) as server:
            pipe.send(server.kubeconfig())
            await asyncio.Event().wait()

    asyncio.run(run())
