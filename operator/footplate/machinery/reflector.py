"""Keeps a store equal to one collection of the API server: list once, then watch for ever.

A list is diffed against the store, so deletions in a gap are noticed; a watch goes on from the last resourceVersion
seen (bookmarks included), is dropped when silent, and everything is listed again now and then, because a watch that
lost an event doesn't know. `refresh` lists at once, for whoever must not decide from less than is so now. Nothing but
cancellation ends a reflector, and nothing makes it hurry: pauses grow until a watch has lasted.
"""

import asyncio
import random
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Any

import structlog

from footplate.errors import ApiUnavailable, FootplateError, Gone
from footplate.machinery.backoff import pause_after
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.machinery.metrics import Metrics
from footplate.machinery.resources import Resource
from footplate.machinery.store import Store
from footplate.objects import Object, version_of

log = structlog.get_logger(__name__)

RELIST_SECONDS = 600.0
INACTIVITY_SECONDS = 75.0
"""The API server sends a bookmark about once a minute."""

_FIRST_BACKOFF = 0.2
_LAST_BACKOFF = 20.0
_SHORT_WATCH_SECONDS = 1.0
_GONE = 410


class Reflector:
    """One collection, in one namespace or in all."""

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        store: Store,
        *,
        clock: Clock,
        metrics: Metrics,
        namespace: str = "",
        selector: str = "",
        inactivity: float = INACTIVITY_SECONDS,
        relist_after: float = RELIST_SECONDS,
    ) -> None:
        self._client = client
        self._resource = resource
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._namespace = namespace
        self._selector = selector
        self._inactivity = inactivity
        self._relist_after = relist_after
        self._since = ""
        self._relist_due = 0.0
        self._failures = 0
        self._contact = clock.monotonic()
        self._asked: list[asyncio.Future[None]] = []
        self._turn: asyncio.Timeout | None = None
        self.synced = asyncio.Event()
        """Set once the first list is in the store."""

    @property
    def resource(self) -> Resource:
        """What this reflector keeps."""
        return self._resource

    def age(self) -> float:
        """Seconds since the API server last told us anything: an event, a bookmark, a list or an accepted watch."""
        return self._clock.monotonic() - self._contact

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            with suppress(TimeoutError):  # `refresh` has ended this turn
                async with asyncio.timeout(None) as self._turn:
                    await self._take_turn()

    async def refresh(self) -> None:
        """Returns once everything is in the store as it was at some moment after this call; the watch goes on from
        there.
        """
        listed = asyncio.get_running_loop().create_future()
        self._asked.append(listed)
        if self._turn is not None and not self._turn.expired():
            self._turn.reschedule(asyncio.get_running_loop().time())
        await listed

    async def _take_turn(self) -> None:
        """A list where one is due, a watch until it ends, and a pause where something went wrong."""
        watching_since: float | None = None
        try:
            if self._is_list_due():
                await self._list()
            watching_since = self._clock.monotonic()
            await self._watch()
        except Exception as error:
            lasted = watching_since is not None and self._clock.monotonic() - watching_since >= _SHORT_WATCH_SECONDS
            if isinstance(error, Gone):
                self._since = ""
            elif lasted:
                self._failures = 0
            await self._back_off(error)
        else:
            self._failures = 0

    async def _list(self) -> None:
        asked, self._asked = self._asked, []
        try:
            await self._list_all()
        except BaseException:
            self._asked += asked
            raise
        for listed in asked:
            if not listed.done():
                listed.set_result(None)

    async def _list_all(self) -> None:
        objects: list[Object] = []
        version = ""
        pages = self._client.pages(self._resource, namespace=self._namespace, selector=self._selector)
        async for page, version in pages:  # noqa: B007
            # Page by page: the whole list before it is cut is several times what stays of it.
            objects.extend(map(self._store.slim, page))
        self._store.replace(objects, version, scope=self._namespace)
        self._metrics.relists.labels(self._resource.plural).inc()
        self._since = version
        self._relist_due = self._clock.monotonic() + self._relist_after * random.uniform(0.9, 1.1)
        self._contact = self._clock.monotonic()
        self.synced.set()

    async def _watch(self) -> None:
        """Until the server ends it or the next list is due."""
        started = self._clock.monotonic()
        stream = self._client.watch(
            self._resource,
            since=self._since,
            namespace=self._namespace,
            selector=self._selector,
            inactivity=self._inactivity,
        )
        async with aclosing(stream):
            async for batch in stream:
                self._contact = self._clock.monotonic()
                for event in batch:
                    self._take(event)
                if self._is_list_due():
                    return
        if self._clock.monotonic() - started < _SHORT_WATCH_SECONDS:
            raise ApiUnavailable("the watch ended as soon as it began")

    def _is_list_due(self) -> bool:
        return not self._since or bool(self._asked) or self._clock.monotonic() >= self._relist_due

    def _take(self, event: Mapping[str, Any]) -> None:
        kind, obj = event["type"], event["object"]
        if kind == "ERROR":
            raise _error_of(obj)
        self._since = version_of(obj)
        if kind == "BOOKMARK":
            self._store.advance(self._since, scope=self._namespace)
        else:
            self._store.apply(obj, deleted=kind == "DELETED", scope=self._namespace)

    async def _back_off(self, error: Exception) -> None:
        """A refused list (rights, a missing kind) waits like an unreachable server: somebody may put it right."""
        self._failures += 1
        asked = error.retry_after or 0.0 if isinstance(error, ApiUnavailable) else 0.0
        pause = max(asked, pause_after(self._failures, first=_FIRST_BACKOFF, last=_LAST_BACKOFF))
        log.warning(
            "reflector_retries",
            resource=self._resource.plural,
            error=str(error),
            pause=round(pause, 2),
            exc_info=not isinstance(error, FootplateError),
        )
        await self._clock.sleep(pause)


def _error_of(status: Mapping[str, Any]) -> FootplateError:
    """An ERROR event carries a Kubernetes Status."""
    code, reason, message = status.get("code"), str(status.get("reason")), str(status.get("message"))
    if code == _GONE:
        return Gone(_GONE, reason, message)
    return ApiUnavailable(f"watch ended with {code} {reason}: {message}")
