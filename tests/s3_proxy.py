"""A proxy on loopback between trainers and a real S3 server, that does to requests what storage does on a bad day.

    with S3Proxy(server.endpoint) as proxy:
        ...                                          # clients use proxy.endpoint, with the server's credentials
        proxy.fault = Fault.SLOW_DOWN                # from now on, for every request
        proxy.fault = None                           # storage is back
        proxy.strike(Fault.LOST, puts("manifest.json"), times=1)

Requests reach the server byte by byte as the client has signed them, Host included, so signatures hold; only a header
`Connection: close` is added, so that one connection carries one request and its answer ends with it. The proxy has a
thread of its own: a test sets `fault` at any moment, and what is on its way under a fault that ends then goes on.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
CHUNK = 16 * 1024


class Fault(Enum):
    """What storage does on a bad day. Those with a status answer so at once, with S3's error code."""

    REFUSED = "nobody listens: connections are refused, and those there are, reset"
    SILENT = "connections are taken, and never answered"
    SLOW = "everything passes, at `bytes_per_second`, after `delay_seconds`"
    SLOW_DOWN = (503, "SlowDown", "Please reduce your request rate.")
    ERROR = (500, "InternalError", "We encountered an internal error. Please try again.")
    DENIED = (403, "AccessDenied", "Access Denied.")
    FULL = (507, "XMinioStorageFull", "Storage backend has reached its minimum free drive threshold.")
    EXPIRED = (400, "ExpiredToken", "The provided token has expired.")
    SKEWED = (403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
    NO_CONDITIONS = (501, "NotImplemented", "A header you provided implies functionality that is not implemented.")
    QUOTA = (403, "QuotaExceeded", "The bucket's quota is used up.")
    CUT = "the connection is reset in the middle of a body, the request's or the answer's"
    LOST = "the server does what it is asked, and the connection is reset before it can say so"


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a filter sees it; the path is without its query."""

    method: str
    path: str
    query: str = ""
    conditional: bool = False
    """A put that must not overwrite."""


Filter = Callable[[Request], bool]


def puts(suffix: str) -> Filter:
    """A filter for objects being written whose keys end so."""
    return lambda request: request.method == "PUT" and request.path.endswith(suffix)


def gets(part: str) -> Filter:
    """A filter for objects being read whose keys contain this."""
    return lambda request: request.method == "GET" and part in request.path


class S3Proxy:
    """Passes requests on to `upstream`, an http URL, or does to them what `fault` says. One of each test's own."""

    def __init__(self, upstream: str, *, bytes_per_second: int = 1_000_000, delay_seconds: float = 0.0) -> None:
        target = urlsplit(upstream)
        self._upstream = (target.hostname or "", target.port or 80)
        self.bytes_per_second = bytes_per_second
        self.delay_seconds = delay_seconds
        self.requests: list[Request] = []
        """Every request that arrived, in order."""
        self.struck: list[Request] = []
        """Those that a fault befell."""
        self._fault: Fault | None = None
        self._only: Filter = _every
        self._left: int | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="s3-proxy", daemon=True)
        # Bound, and never listening: keeps the port while nobody listens.
        self._holder = _bound(0)
        self._port: int = self._holder.getsockname()[1]
        self._listening: socket.socket | None = None
        self._open: dict[asyncio.Task[None], socket.socket] = {}

    def __enter__(self) -> "S3Proxy":
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._holder.close()

    @property
    def endpoint(self) -> str:
        """What clients take for the server."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def fault(self) -> Fault | None:
        """What befalls every request; None passes them on."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        self.strike(fault)

    def strike(self, fault: Fault | None, only: Filter | None = None, *, times: int | None = None) -> None:
        """From now on a fault befalls all requests, or those that a filter lets through, or so many of them.

        REFUSED knows no filter: who isn't listened to can't say what he wants.
        """
        self._do(self._strike(fault, only or _every, times))

    async def _strike(self, fault: Fault | None, only: Filter, times: int | None) -> None:
        self._fault, self._only, self._left = fault, only, times
        if fault is Fault.REFUSED:
            await self._close()
        elif self._listening is None:
            await self._listen()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        # asyncio's own servers, up to Python 3.12, forget to close what they accept in the moment they are closed.
        self._listening = listening = _bound(self._port)
        listening.setblocking(False)
        listening.listen(100)
        self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            connection, _ = listening.accept()
            connection.setblocking(False)
            task = self._loop.create_task(self._serve(connection))
            self._open[task] = connection
            task.add_done_callback(self._open.pop)

    async def _close(self) -> None:
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None
        there = dict(self._open)
        for task, connection in there.items():
            _end_by_reset(connection)
            task.cancel()
        await asyncio.gather(*there, return_exceptions=True)
        for connection in there.values():
            connection.close()  # that of a task which never had its turn

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            with contextlib.suppress(OSError, EOFError):
                await self._answer(reader, writer)
                writer.close()
                await writer.wait_closed()
        finally:
            _reset(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        request, length = _parse(head)
        self.requests.append(request)
        fault = self._befalls(request)
        if fault is Fault.SILENT:
            await self._wait_for_another(fault)
            _reset(writer)
        elif fault is not None and isinstance(fault.value, tuple):
            await _read(reader, length)
            writer.write(_refusal(*fault.value))
            await writer.drain()
        else:
            await self._pass_on(head, length, reader, writer, fault)

    def _befalls(self, request: Request) -> Fault | None:
        if self._fault is None or self._left == 0 or not self._only(request):
            return None
        if self._left is not None:
            self._left -= 1
        self.struck.append(request)
        return self._fault

    async def _pass_on(
        self,
        head: bytes,
        length: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fault: Fault | None,
    ) -> None:
        answer, server = await asyncio.open_connection(*self._upstream)
        try:
            if fault is Fault.SLOW:
                await self._wait_for_another(fault, seconds=self.delay_seconds)
            server.write(head[:-2] + b"Connection: close\r\n\r\n")
            await self._copy(reader, server, length // 2 if fault is Fault.CUT else length, fault)
            if fault is Fault.CUT and length:
                return _reset(writer)
            if fault is Fault.LOST:
                await answer.read()
                return _reset(writer)
            if fault is Fault.CUT:
                whole = await answer.read()
                writer.write(whole[: whole.index(b"\r\n\r\n") + 4 + len(whole) // 2])
                await writer.drain()
                return _reset(writer)
            await self._copy(answer, writer, None, fault)
        finally:
            server.transport.abort()

    async def _copy(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, length: int | None, fault: Fault | None
    ) -> None:
        """Copies so many bytes, or all there are."""
        while length is None or length > 0:
            chunk = await source.read(CHUNK if length is None else min(CHUNK, length))
            if not chunk:
                return
            target.write(chunk)
            await target.drain()
            length = None if length is None else length - len(chunk)
            if fault is Fault.SLOW and self._fault is fault:
                await asyncio.sleep(len(chunk) / self.bytes_per_second)

    async def _wait_for_another(self, fault: Fault, *, seconds: float = float("inf")) -> None:
        until = self._loop.time() + seconds
        while self._fault is fault and self._loop.time() < until:  # noqa: ASYNC110  a fault may be set at any moment
            await asyncio.sleep(0.02)


def _every(_: Request) -> bool:
    return True


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection at once, and by RST."""
    _end_by_reset(writer.get_extra_info("socket"))
    writer.transport.abort()


def _end_by_reset(connection: socket.socket) -> None:
    """The connection will end by RST, as a dead host's does, and not by FIN."""
    with contextlib.suppress(OSError):  # it is closed
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _parse(head: bytes) -> tuple[Request, int]:
    """A request, and the length of its body."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    path, _, query = target.partition("?")
    return Request(method, path, query, "if-none-match" in headers), int(headers.get("content-length", "0"))


async def _read(reader: asyncio.StreamReader, length: int) -> None:
    while length > 0 and (chunk := await reader.read(min(CHUNK, length))):
        length -= len(chunk)


def _refusal(status: int, code: str, message: str) -> bytes:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()
