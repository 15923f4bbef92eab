"""One event loop in a thread of its own: what lets a synchronous caller use an asynchronous client, also where a loop
already runs, as in a notebook.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import wait
from contextlib import suppress
from typing import Any, TypeVar

from footplate.client.errors import ClientError

T = TypeVar("T")
_END_SECONDS = 5.0


class EventLoop:
    """Runs coroutines for any thread, until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="footplate-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises. Ctrl-C in the caller cancels it first."""
        if self._loop.is_closed():
            work.close()
            raise ClientError("this client is closed; make another one")
        tasks: list[asyncio.Task[Any]] = []
        future = asyncio.run_coroutine_threadsafe(_noted(work, tasks), self._loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
                    wait([future], timeout=_END_SECONDS)
            raise

    def iterate(self, batches: AsyncGenerator[Sequence[T]]) -> Iterator[T]:
        """The items of an asynchronous iteration, which ends where this one is left."""
        try:
            while (batch := self.run(_next(batches))) is not None:
                yield from batch
        finally:
            with suppress(ClientError):
                self.run(batches.aclose())

    def close(self, last: Callable[[], Awaitable[None]]) -> None:
        """Cancels what still runs, awaits `last`, and ends the thread. Later calls do nothing."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._end(last)))
        if threading.current_thread() is not self._thread:  # the garbage collector may call from anywhere
            self._thread.join(_END_SECONDS)

    async def _end(self, last: Callable[[], Awaitable[None]]) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        try:
            await last()
        finally:
            self._loop.stop()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


async def _noted(work: Coroutine[Any, Any, T], tasks: list[asyncio.Task[Any]]) -> T:
    task = asyncio.current_task()
    tasks.extend([task] if task is not None else [])
    return await work


async def _next(batches: AsyncGenerator[Sequence[T]]) -> Sequence[T] | None:
    return await anext(batches, None)
