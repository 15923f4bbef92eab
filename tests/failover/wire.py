"""A network between a replica and its API server that can swallow everything, both ways, and come back.

It does what two kernels and a broken router do. What a process sends while nothing gets through is sent again until it
does, also when the process has closed the connection properly meanwhile; not when it has reset it, and not on a
connection that was never made. So who hangs up on a write that he has given up must do it by a reset: else the write
arrives when the network is back.
"""

import asyncio
from contextlib import suppress

_CHUNK = 65_536
_LATE_SECONDS = 1.0
"""For so long a server may work on a request that arrived late, though its sender is gone."""


class Wire:
    """`async with Wire(port) as wire`: `wire.port` leads to that port of loopback, as long as it is not cut."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Wire":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._flowing.set()
        for writer in list(self._open):
            writer.transport.abort()

    def cut(self) -> None:
        """Nothing gets through any more, and nobody is told."""
        self._flowing.clear()

    def mend(self) -> None:
        """It gets through again."""
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made = self._flowing.is_set()
        self._open.add(writer)
        try:
            if made:
                await self._connect(reader, writer)
            else:
                await self._wait_to_connect(reader, writer)
        except OSError:
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _wait_to_connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The client's kernel goes on asking for the connection until the client gives up."""
        said, mended = asyncio.create_task(reader.read(_CHUNK)), asyncio.create_task(self._flowing.wait())
        more = b""
        try:
            while not mended.done():
                await asyncio.wait((said, mended), return_when=asyncio.FIRST_COMPLETED)
                if said.done():
                    if not said.result():
                        return
                    more += said.result()
                    said = asyncio.create_task(reader.read(_CHUNK))
            await self._connect(reader, writer, first=more, reading=said)
        finally:
            for task in (said, mended):
                task.cancel()
            await asyncio.gather(said, mended, return_exceptions=True)

    async def _connect(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        first: bytes = b"",
        reading: asyncio.Task[bytes] | None = None,
    ) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._open.add(up_writer)
        try:
            up_writer.write(first)
            if reading is not None and (chunk := await reading):
                up_writer.write(chunk)
            there = asyncio.create_task(self._pump(reader, up_writer))
            back = asyncio.create_task(self._pump(up_reader, writer))
            await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
            if there.done() and not there.cancelled() and there.exception() is None and there.result():
                await asyncio.wait((back,), timeout=_LATE_SECONDS)
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
        finally:
            self._open.discard(up_writer)
            up_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Reads on while nothing gets through, as a kernel does; a reset ends it and all that was not delivered.

        Answers whether something arrived after its sender had hung up.
        """
        waiting: asyncio.Queue[bytes] = asyncio.Queue()
        late = False

        async def deliver() -> None:
            nonlocal late
            while chunk := await waiting.get():
                late = late or not self._flowing.is_set()
                await self._flowing.wait()
                writer.write(chunk)
                await writer.drain()
            await self._flowing.wait()

        delivering = asyncio.create_task(deliver())
        try:
            with suppress(asyncio.IncompleteReadError):
                while chunk := await reader.read(_CHUNK):
                    waiting.put_nowait(chunk)
            waiting.put_nowait(b"")
            await delivering
            return late
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
