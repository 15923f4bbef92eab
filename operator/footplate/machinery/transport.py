"""How requests reach the API server, and their answers come back, over an authorised aiohttp session.

Invariants:
- Every request has a timeout, and at most `in_flight` of them are under way, shared fairly by namespace. What isn't in
  a tenant's namespace, and every list, is the operator's own and has a share like any other.
- No write is sent, and none is waited for, when the fence says that another replica may act (`LeaseLost`).
- Whoever gives the lease back first has the answers of all writes: one that is still under way may be done later.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import orjson

from footplate.errors import ApiUnavailable, LeaseLost
from footplate.machinery.clock import Clock
from footplate.machinery.fair import FIRST, FairSlots
from footplate.machinery.metrics import Metrics, code_class
from footplate.machinery.resources import Resource
from footplate.machinery.responses import error_of, lines_of, read_within
from footplate.objects import Object

_JSON = "application/json"
_METHODS = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}


class Fence(Protocol):
    """What a write asks before it goes out."""

    def remaining(self) -> float:
        """Seconds for which no other replica may write; 0 or less once one may."""


class Unfenced:
    """For one replica alone, and for the lease's own writes."""

    def remaining(self) -> float:
        """For ever."""
        return float("inf")


@dataclass(frozen=True, slots=True)
class _Request:
    verb: str
    resource: Resource
    path: str
    query: Mapping[str, str] | None
    data: bytes | None
    """None of what only reads."""
    content_type: str
    most: int | None
    """Bytes of the answer."""


class Transport:
    """Requests to one API server; safe to share between tasks."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: str,
        *,
        metrics: Metrics,
        fence: Fence,
        clock: Clock,
        in_flight: int,
        timeout: float,
    ) -> None:
        self._session = session
        self._server = server
        self._metrics = metrics
        self._fence = fence
        self._clock = clock
        self._slots = FairSlots(in_flight)
        self._timeout = timeout
        self._closed = False
        self._under_way = 0
        self._abandoned = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def close(self) -> None:
        """Ends the session."""
        await self._session.close()

    async def finish_writes(self, *, within: float) -> bool:
        """Lets no write begin any more, and waits so many seconds for those that have. Whether each had its answer, so
        that none of them can still be done.
        """
        self._closed = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), within)
        return not self._under_way and not self._abandoned

    async def call(
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
        """The JSON that the API server answers. One with a body is a write.

        Args:
            verb: as RBAC names it.
            resource: what it is about, for the metrics.
            path: the URL's.
            namespace: whose share of what may be under way it takes.
            turn: place in that namespace's queue; 0 is urgent.
            query: the URL's.
            body: what is sent.
            content_type: of the body.
            most: bytes of the answer.

        Raises:
            TooLong: the answer is longer.
            ApiError, ApiUnavailable: the API server refuses, or can't be reached.
            LeaseLost: another replica may write by now.
        """
        data = None if body is None else orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
        request = _Request(verb, resource, path, query, data, content_type, most)
        await self._slots.acquire(namespace, turn=turn)
        try:
            return await (self._send(request, within=self._timeout) if data is None else self._write(request))
        finally:
            self._slots.release(namespace)

    async def stream(
        self, resource: Resource, path: str, query: Mapping[str, str], *, inactivity: float
    ) -> AsyncGenerator[list[Mapping[str, Any]]]:
        """The events of a watch, in batches as they arrive, the first of them empty, once the server has accepted it.
        Ends when the server ends it, or when nothing has come for `inactivity` seconds.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=inactivity)
        try:
            async with self._session.get(self._server + path, params=query, timeout=timeout) as response:
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

    async def _write(self, request: _Request) -> Object:
        timeout = self._write_timeout()
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._send(request, within=timeout)
        except asyncio.CancelledError:
            self._abandoned = True
            raise
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _send(self, request: _Request, *, within: float) -> Object:
        verb, path, is_write = request.verb, request.path, request.data is not None
        status: int | None = None
        started = self._clock.monotonic()
        try:
            async with self._session.request(
                _METHODS[verb],
                self._server + path,
                params=request.query,
                data=request.data,
                headers={"Content-Type": request.content_type} if is_write else None,
                timeout=aiohttp.ClientTimeout(total=within),
                trace_request_ctx=self._write_timeout if is_write else None,  # in the moment before it goes out
            ) as response:
                answer = await read_within(response, most=request.most)
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            said = f"no answer: {describe(error)}"
            raise ApiUnavailable(f"{verb} {path}: {said}", said=said) from error
        finally:
            self._count(verb, request.resource, status)
            seconds = self._clock.monotonic() - started
            self._metrics.api_seconds.labels(verb, request.resource.plural).observe(seconds)
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


def describe(error: BaseException) -> str:
    """What kept a request from its answer. Of a connection aiohttp would also print an object of Python's."""
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        error = error.os_error
    return f"{type(error).__name__} {error}".strip()
