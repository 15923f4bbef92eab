"""Watches what stands for gangs with other people's schedulers, as long as the API server serves it: PodGroups of ours,
and Kueue's Workloads. None of it is needed to act, so nothing waits for these watches but what is said to a user.
"""

import asyncio
from collections.abc import Collection, Sequence

import structlog

from footplate.contract import MANAGED_SELECTOR
from footplate.errors import FootplateError
from footplate.gangs.kinds import GangKind
from footplate.gangs.table import SCHEDULERS
from footplate.machinery.api_discovery import find_gang_apis
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.machinery.gang_objects import GangObjects
from footplate.machinery.metrics import Metrics
from footplate.machinery.reflector import Reflector
from footplate.machinery.resources import Resource

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 60.0
_RETRY_SECONDS = 5.0


class GangWatch:
    """Keeps what `GangObjects` holds; `namespaces` are those served, or "" alone for all;
    `without` are schedulers that count as not served.
    """

    def __init__(
        self,
        client: KubeClient,
        gangs: GangObjects,
        *,
        clock: Clock,
        metrics: Metrics,
        namespaces: Sequence[str],
        without: Collection[GangKind] = (),
    ) -> None:
        self._client = client
        self._gangs = gangs
        self._clock = clock
        self._metrics = metrics
        self._namespaces = namespaces
        self._without = without
        self._watches: dict[GangKind, tuple[str, asyncio.Task[None]]] = {}
        self.synced = asyncio.Event()
        """Set once it is known what the API server serves."""

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                pause = _AGAIN_SECONDS if await self.refresh() else _RETRY_SECONDS
                self._follow(tasks)
                await self._clock.sleep(pause)

    async def refresh(self) -> bool:
        """Asks what is served; whether that was answered. What is known stays until then."""
        try:
            found = await find_gang_apis(self._client)
        except FootplateError as error:
            log.warning("discovery_retries", error=str(error))
            return False
        apis = {kind: api for kind, api in found.items() if kind not in self._without}
        if apis != self._gangs.apis:
            log.info("gang_apis", served={str(kind): api for kind, api in apis.items()})
        self._gangs.note_apis(apis)
        self.synced.set()
        return True

    def _follow(self, tasks: asyncio.TaskGroup) -> None:
        """Watches what is served, and forgets what isn't any more."""
        apis = self._gangs.apis
        for kind, (api, watch) in [*self._watches.items()]:
            if apis.get(kind) != api:
                watch.cancel()
                del self._watches[kind]
                self._gangs.forget(kind)
        for kind, api in apis.items():
            if kind not in self._watches:
                self._watches[kind] = api, tasks.create_task(self._watch(kind, api))

    async def _watch(self, kind: GangKind, api: str) -> None:
        reflectors = [self._reflector(kind, api, namespace) for namespace in self._namespaces]
        async with asyncio.TaskGroup() as tasks:
            for reflector in reflectors:
                tasks.create_task(reflector.run())
            for reflector in reflectors:
                await reflector.synced.wait()
            self._gangs.watched |= {kind}

    def _reflector(self, kind: GangKind, api: str, namespace: str) -> Reflector:
        is_ours = SCHEDULERS[kind].group_spec is not None
        return Reflector(
            self._client,
            Resource(api, SCHEDULERS[kind].plural),
            self._gangs.stores[kind],
            clock=self._clock,
            metrics=self._metrics,
            namespace=namespace,
            selector=MANAGED_SELECTOR if is_ours else "",
        )
