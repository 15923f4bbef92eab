"""The one way to the API server: what Kubernetes can be asked for, in raw dicts. `transport` carries it.

Invariants:
- A request is one try: who asked says when the next one is, and waits for it without holding anything. Only pages of a
  list are asked for again, since a list would begin anew.
- A create whose answer was lost may have been done: its next try answers `AlreadyExists`, which the caller judges by
  the owner's UID.
- No page of a list is longer than `PAGE_BYTES`, however large the objects in it are.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp

from footplate.errors import ApiUnavailable
from footplate.machinery.backoff import pause_after
from footplate.machinery.clock import Clock, SystemClock
from footplate.machinery.fair import FIRST
from footplate.machinery.metrics import Metrics
from footplate.machinery.resources import Resource, resource_of
from footplate.machinery.responses import TooLong
from footplate.machinery.transport import Fence, Transport, Unfenced
from footplate.objects import Object, block, key_of, text

IN_FLIGHT = 150
"""Of which one namespace alone gets 50."""
PAGE = 500
PAGE_BYTES = 16 * 2**20
"""A page that would be longer is given up, and its collection read in smaller ones from then on."""
MERGE_PATCH = "application/merge-patch+json"

_TIMEOUT = 30.0
_TRIES = 5
_FIRST_BACKOFF = 0.1
_LAST_BACKOFF = 5.0
_SMALLER = 5
"""Each try with smaller pages divides them by so much."""


class KubeClient:
    """Requests to one API server; safe to share between tasks."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: str,
        *,
        metrics: Metrics,
        fence: Fence | None = None,
        clock: Clock | None = None,
        in_flight: int = IN_FLIGHT,
        tries: int = _TRIES,
        timeout: float = _TIMEOUT,
    ) -> None:
        self._clock = clock or SystemClock()
        self._transport = Transport(
            session, server, metrics=metrics, fence=fence or Unfenced(), clock=self._clock, in_flight=in_flight,
            timeout=timeout,
        )  # fmt: skip
        self._pages: dict[Resource, int] = {}
        self._tries = tries

    async def finish_writes(self, *, within: float) -> bool:
        """Lets no write begin any more, and waits so many seconds for those that have. Whether each had its answer, so
        that none of them can still be done.
        """
        return await self._transport.finish_writes(within=within)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """One object, as the API server has it now."""
        return await self._transport.call("get", resource, resource.path(namespace, name), namespace=namespace)

    async def get_path(self, path: str) -> Object:
        """Any JSON document of the API server, such as a group's discovery."""
        return await self._transport.call("get", Resource("", "discovery"), path)

    async def pages(
        self, resource: Resource, *, namespace: str = "", selector: str = "", fields: str = ""
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        """A whole collection, page by page, each with the resourceVersion of the list. `Gone` if it took too long."""
        query = {"limit": str(self._pages.get(resource, PAGE)), **_selecting(selector, fields)}
        while True:
            page = await self._page(resource, resource.path(namespace), query)
            metadata = page["metadata"]
            yield _stamp_items(page), str(metadata["resourceVersion"])
            if not metadata.get("continue"):
                return
            query = {**query, "continue": metadata["continue"]}

    async def create(self, manifest: Object, *, turn: int = FIRST, dry_run: bool = False) -> Object:
        """Creates an object; `AlreadyExists` may mean an earlier try whose answer was lost.

        Args:
            manifest: the object.
            turn: place in its namespace's queue, such as the number of the write in its plan; 0 is urgent.
            dry_run: the API server judges it, and keeps nothing.
        """
        namespace = text(block(manifest, "metadata"), "namespace")  # its name may be the server's to choose
        resource = resource_of(manifest)
        path = resource.path(namespace)
        query = {"dryRun": "All"} if dry_run else None
        return await self._transport.call(
            "create", resource, path, namespace=namespace, turn=turn, query=query, body=manifest
        )

    async def replace(self, resource: Resource, obj: Object) -> Object:
        """Writes a whole object; `Conflict` when it changed since its resourceVersion."""
        namespace, name = key_of(obj)
        return await self._transport.call(
            "update", resource, resource.path(namespace, name), namespace=namespace, body=obj
        )

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Object,
        *,
        subresource: str = "",
        turn: int = FIRST,
    ) -> Object:
        """A merge patch; with metadata.resourceVersion in it, `Conflict` when the object changed since."""
        path = resource.path(namespace, name, subresource)
        return await self._transport.call(
            "patch", resource, path, namespace=namespace, turn=turn, body=patch, content_type=MERGE_PATCH
        )

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, version: str = "", turn: int = FIRST
    ) -> Object:
        """Deletes the object with this UID and no other, and where a resourceVersion is given as it was then:
        `Conflict` when the name is another's by now, or the object has changed.

        Answers the object where it stays for its grace period, else a Status.
        """
        preconditions = {"uid": uid, **({"resourceVersion": version} if version else {})}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        path = resource.path(namespace, name)
        return await self._transport.call("delete", resource, path, namespace=namespace, turn=turn, body=body)

    def watch(
        self,
        resource: Resource,
        *,
        since: str,
        namespace: str = "",
        selector: str = "",
        fields: str = "",
        inactivity: float,
    ) -> AsyncGenerator[list[Mapping[str, Any]]]:
        """Events after a resourceVersion, in batches as they arrive; ends when the server ends it, or when nothing has
        come for `inactivity` seconds.

        First comes an empty batch, once the server has accepted the watch. Half a line at the end is dropped.
        """
        query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": since, **_selecting(selector, fields)}
        return self._transport.stream(resource, resource.path(namespace), query, inactivity=inactivity)

    async def _page(self, resource: Resource, path: str, query: Mapping[str, str]) -> Object:
        for attempt in range(1, self._tries + 1):
            try:
                return await self._transport.call("list", resource, path, query=query, most=PAGE_BYTES)
            except TooLong as error:
                # The rest of a list must be asked for with the limit that it began with: this one begins anew.
                smaller = self._pages[resource] = max(1, int(query["limit"]) // _SMALLER)
                message = f"more than {PAGE_BYTES} bytes of {resource.plural}: {smaller} a page from now on"
                raise ApiUnavailable(message) from error
            except ApiUnavailable as error:
                if attempt == self._tries:
                    raise
                pause = pause_after(attempt, first=_FIRST_BACKOFF, last=_LAST_BACKOFF)
                await self._clock.sleep(max(error.retry_after or 0.0, pause))
        raise AssertionError("unreachable: the last try returns or raises")


def _selecting(selector: str, fields: str) -> dict[str, str]:
    """What of a collection is meant, by labels and by fields."""
    return {key: value for key, value in (("labelSelector", selector), ("fieldSelector", fields)) if value}


def _stamp_items(page: Object) -> list[dict[str, Any]]:
    """Items of a list carry no type of their own; an object from a watch does, and both meet in one store."""
    items: list[dict[str, Any]] = page.get("items") or []
    kind = page["kind"].removesuffix("List")
    for item in items:
        item["apiVersion"], item["kind"] = page["apiVersion"], kind
    return items
