"""Keeps a lease in a thread and an event loop of its own, with its own connections: however long the process lists,
looks at a job, reads JSON or collects garbage, the lease is renewed beside it.

The lease is given back by `close` alone, after whatever writes under it has ended.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress

from footplate.machinery.lease import Lease

OpenLease = Callable[[], AbstractAsyncContextManager[Lease]]
"""Makes the lease with its client inside the thread's event loop, which they then belong to."""


class LeaseThread:
    """A `Lease`, safe to use from the event loop of those who write under it."""

    def __init__(self, open_lease: OpenLease) -> None:
        self._open_lease = open_lease
        self._lease: Lease | None = None
        self._acquired: Future[None] = Future()
        self._lost: Future[None] = Future()
        self._releases = True
        self._stopping: Future[Callable[[], None]] = Future()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def remaining(self) -> float:
        """Seconds for which no other replica may write; 0 or less without."""
        return self._lease.remaining() if self._lease is not None else 0.0

    def trouble(self) -> str | None:
        """Why this replica can't come to lead, where somebody must do something about it."""
        return self._lease.trouble() if self._lease is not None else None

    async def acquire(self) -> None:
        """Waits until this replica leads; the lease is renewed from that moment on."""
        self._thread.start()
        await asyncio.shield(asyncio.wrap_future(self._acquired))

    async def hold(self) -> None:
        """Waits until the lease is lost: `LeaseLost`, while `remaining` still says that nobody else can lead."""
        await asyncio.shield(asyncio.wrap_future(self._lost))

    async def close(self, *, release: bool = True) -> None:
        """Gives the lease back, as far as it is ours and may be another's at once, and ends the thread."""
        if self._thread.ident is None:
            return
        self._releases = release
        stop = await asyncio.wrap_future(self._stopping)
        stop()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            asyncio.run(self._keep())
        except BaseException as error:
            self._fail(error)

    async def _keep(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()

        def stop() -> None:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(stopped.set)

        self._stopping.set_result(stop)
        async with self._open_lease() as lease:
            self._lease = lease
            work = asyncio.create_task(self._work(lease))
            await stopped.wait()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            if self._releases:
                await lease.release()

    async def _work(self, lease: Lease) -> None:
        try:
            await lease.acquire()
            self._acquired.set_result(None)
            await lease.hold()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        for future in (self._acquired, self._lost):
            if not future.done():
                future.set_exception(error)
