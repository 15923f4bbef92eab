"""The stores of TrainingJobs, runtimes and policies, made whole by lists. Their events come from kopf, which doesn't
tell what was deleted while it didn't watch: after a gap in its watches, and now and then, everything is listed.
"""

import asyncio
from collections.abc import Sequence

import structlog

from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.machinery.cluster import Cluster
from footplate.machinery.resources import CLUSTER_RUNTIMES, POLICIES, RUNTIMES, TRAINING_JOBS, Resource
from footplate.machinery.store import Store
from footplate.objects import Object

log = structlog.get_logger(__name__)

_RESYNC_SECONDS = 600.0
_RESYNC_PAUSE_SECONDS = 20.0
"""Between two lists, however many gaps there are."""
_RETRY_SECONDS = 5.0


class CustomResources:
    """Lists into the cluster's stores; `namespaces` are those served, or "" alone for all."""

    def __init__(self, client: KubeClient, cluster: Cluster, *, clock: Clock, namespaces: Sequence[str]) -> None:
        self._client = client
        self._cluster = cluster
        self._clock = clock
        self._namespaces = namespaces
        self._gap = asyncio.Event()
        self._listing = asyncio.Lock()
        self.synced = asyncio.Event()
        """Set once the first list is in the stores."""

    def note_gap(self) -> None:
        """Events may have been missed."""
        self._gap.set()

    async def run(self) -> None:
        """Lists now, and then as it is needed, until cancelled."""
        while True:
            self._gap.clear()
            await self.refresh()
            await self._clock.sleep(_RESYNC_PAUSE_SECONDS)
            await self._gap_or(_RESYNC_SECONDS)

    async def refresh(self) -> None:
        """Returns once everything is in the stores as it was at some moment after this call."""
        async with self._listing:  # else an older list might end last
            while not await self._list_all():
                await self._clock.sleep(_RETRY_SECONDS)
        self.synced.set()

    async def _gap_or(self, seconds: float) -> None:
        timer = self._clock.call_later(seconds, self._gap.set)
        try:
            await self._gap.wait()
        finally:
            timer.cancel()

    async def _list_all(self) -> bool:
        """Whether that worked."""
        worked = True
        try:
            async with asyncio.TaskGroup() as lists:
                lists.create_task(self._list(CLUSTER_RUNTIMES, self._cluster.cluster_runtimes))
                lists.create_task(self._list(POLICIES, self._cluster.policies))
                for namespace in self._namespaces:
                    lists.create_task(self._list(RUNTIMES, self._cluster.runtimes, namespace))
                    lists.create_task(self._list(TRAINING_JOBS, self._cluster.jobs, namespace))
        except* Exception as errors:
            log.warning("list_retries", error=repr(errors.exceptions[0]))
            worked = False
        return worked

    async def _list(self, resource: Resource, store: Store, namespace: str = "") -> None:
        objects: list[Object] = []
        version = ""
        store.expect_list(scope=namespace)
        async for page, version in self._client.pages(resource, namespace=namespace):  # noqa: B007
            objects.extend(map(store.slim, page))
        store.replace(objects, version, scope=namespace)
