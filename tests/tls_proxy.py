"""TLS on loopback before a server that has none: what an S3 server behind a private authority is to its clients.

    with TlsProxy(server.endpoint, authority.issue()) as proxy:
        ...                                          # clients use proxy.endpoint

Bytes pass as they are, Host included, so that signatures hold.
"""

import asyncio
import contextlib
import ssl
import threading
from urllib.parse import urlsplit

CHUNK = 64 * 1024


class TlsProxy:
    """Listens with a server's context, and passes everything on to an http URL. It has a thread of its own."""

    def __init__(self, upstream: str, context: ssl.SSLContext) -> None:
        target = urlsplit(upstream)
        self._upstream = (target.hostname or "", target.port or 80)
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tls-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self.endpoint = ""
        """What clients take for the server."""

    def __enter__(self) -> "TlsProxy":
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.endpoint = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        # A client that doesn't trust the server hangs up in the handshake: that is no news here.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection(*self._upstream)
            ways = [asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in (back, writer):
                    end.transport.abort()
                await asyncio.gather(*ways, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(CHUNK):
            target.write(chunk)
            await target.drain()
