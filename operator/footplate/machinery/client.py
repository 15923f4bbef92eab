"""The one way to the API server: raw dicts over an authorised aiohttp session.

Invariants:
- Every request has a timeout, and at most `in_flight` of them are under way, shared fairly by namespace. What isn't in
  a tenant's namespace, and every list, is the operator's own and has a share like any other.
- A request is one try: who asked says when the next one is, and waits for it without holding anything. Only pages of a
  list are asked for again, since a list would begin anew.
- A create whose answer was lost may have been done: its next try answers `AlreadyExists`, which the caller judges by
  the owner's UID.
- No page of a list is longer than `PAGE_BYTES`, however large the objects in it are.
- No write is sent, and none is waited for, when the fence says that another replica may act (`LeaseLost`).
- Whoever gives the lease back first has the answers of all writes: one that is still under way may be done later.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self

import aiohttp
import orjson

from footplate.errors import ApiUnavailable, LeaseLost
from footplate.machinery.backoff import pause_after
from footplate.machinery.clock import Clock, SystemClock
from footplate.machinery.fair import FIRST, FairSlots
from footplate.machinery.metrics import Metrics, code_class
from footplate.machinery.resources import Resource, resource_of
from footplate.machinery.responses import TooLong, error_of, lines_of, read_within
from footplate.objects import Object, block, key_of, text

IN_FLIGHT = 150
"""Of which one namespace alone gets 50."""
PAGE = 500
PAGE_BYTES = 16 * 2**20
"""A page that would be longer is given up, and its collection read in smaller ones from then on."""
MERGE_PATCH = "application/merge-patch+json"

_JSON = "application/json"
_TIMEOUT = 30.0
_TRIES = 5
_FIRST_BACKOFF = 0.1
_LAST_BACKOFF = 5.0
_SMALLER = 5
"""Each try with smaller pages divides them by so much."""


class Fence(Protocol):
    """What a write asks before it goes out."""

    def remaining(self) -> float:
        """Seconds for which no other replica may write; 0 or less once one may."""


class Unfenced:
    """For one replica alone, and for the lease's own writes."""

    def remaining(self) -> float:
        """For ever."""
        return float("inf")


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
        self._session = session
        self._server = server
        self._metrics = metrics
        self._fence = fence or Unfenced()
        self._clock = clock or SystemClock()
        self._slots = FairSlots(in_flight)
        self._pages: dict[Resource, int] = {}
        self._tries = tries
        self._timeout = timeout
        self._closed = False
        self._under_way = 0
        self._abandoned = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def finish_writes(self, *, within: float) -> bool:
        """Lets no write begin any more, and waits so many seconds for those that have. Whether each had its answer, so
        that none of them can still be done.
        """
        self._closed = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), within)
        return not self._under_way and not self._abandoned

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """One object, as the API server has it now."""
        return await self._call("get", resource, resource.path(namespace, name), namespace=namespace)

    async def get_path(self, path: str) -> Object:
        """Any JSON document of the API server, such as a group's discovery."""
        return await self._call("get", Resource("", "discovery"), path)

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
        return await self._call("create", resource, path, namespace=namespace, turn=turn, query=query, body=manifest)

    async def replace(self, resource: Resource, obj: Object) -> Object:
        """Writes a whole object; `Conflict` when it changed since its resourceVersion."""
        namespace, name = key_of(obj)
        return await self._call("update", resource, resource.path(namespace, name), namespace=namespace, body=obj)

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
        return await self._call(
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
        return await self._call("delete", resource, path, namespace=namespace, turn=turn, body=body)

    async def watch(
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
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=inactivity)
        url = self._server + resource.path(namespace)
        try:
            async with self._session.get(url, params=query, timeout=timeout) as response:
                self._count("watch", resource, response.status)
                if response.status >= 400:
                    raise error_of(response, await response.read(), verb="watch")
                yield []
                async for lines in lines_of(response.content):
                    yield [orjson.loads(line) for line in lines]
        except aiohttp.SocketTimeoutError:
            return
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            raise ApiUnavailable(f"watch of {resource.plural} lost: {describe(error)}") from error

    async def _page(self, resource: Resource, path: str, query: Mapping[str, str]) -> Object:
        for attempt in range(1, self._tries + 1):
            try:
                return await self._call("list", resource, path, query=query, most=PAGE_BYTES)
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

    async def _call(
        self,
        verb: str,
        resource: Resource,
        path: str,
        *,
        namespace: str = "",
        turn: int = FIRST,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = _JSON,
        most: int | None = None,
    ) -> Object:
        data = None if body is None else orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
        await self._slots.acquire(namespace, turn=turn)
        try:
            return await self._try(verb, resource, path, query, data, content_type, most)
        finally:
            self._slots.release(namespace)

    async def _try(
        self,
        verb: str,
        resource: Resource,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        content_type: str,
        most: int | None,
    ) -> Object:
        if data is None:
            return await self._send(verb, resource, path, query, data, content_type, most, patience=self._timeout)
        timeout = self._write_timeout()
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._send(verb, resource, path, query, data, content_type, most, patience=timeout)
        except asyncio.CancelledError:
            self._abandoned = True
            raise
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _send(
        self,
        verb: str,
        resource: Resource,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        content_type: str,
        most: int | None,
        *,
        patience: float,
    ) -> Object:
        status: int | None = None
        started = self._clock.monotonic()
        try:
            async with self._session.request(
                _METHODS[verb],
                self._server + path,
                params=query,
                data=data,
                headers={"Content-Type": content_type} if data is not None else None,
                timeout=aiohttp.ClientTimeout(total=patience),
                trace_request_ctx=self._write_timeout if data is not None else None,  # in the moment before it goes out
            ) as response:
                answer = await read_within(response, most=most)
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            said = f"no answer: {describe(error)}"
            raise ApiUnavailable(f"{verb} {path}: {said}", said=said) from error
        finally:
            self._count(verb, resource, status)
            self._metrics.api_seconds.labels(verb, resource.plural).observe(self._clock.monotonic() - started)
        if status >= 400:
            raise error_of(response, answer, verb=verb)
        try:
            return orjson.loads(answer)  # type: ignore[no-any-return]
        except orjson.JSONDecodeError as error:  # a proxy's words, not the API server's
            raise ApiUnavailable(f"{verb} {path}: {status} without JSON: {describe(error)}") from error

    def _write_timeout(self) -> float:
        remaining = self._fence.remaining()
        if self._closed or remaining <= 0:
            raise LeaseLost("this replica no longer holds the lease; nothing was written")
        return min(self._timeout, remaining)

    def _count(self, verb: str, resource: Resource, status: int | None) -> None:
        self._metrics.api_requests.labels(verb, resource.plural, code_class(status)).inc()


_METHODS = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}


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


def describe(error: BaseException) -> str:
    """What kept a request from its answer. Of a connection aiohttp would also print an object of Python's."""
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        error = error.os_error
    return f"{type(error).__name__} {error}".strip()
