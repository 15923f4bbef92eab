"""One event loop in a thread of its own: what lets a synchronous caller use an asynchronous client, also where a loop
already runs, as in a notebook.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, wait
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

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Runs a coroutine that nobody waits for."""
        try:
            asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # it is closed, and so is all that ran in it
            work.close()

    def iterate(self, batches: AsyncGenerator[Sequence[T]]) -> "Iteration[T]":
        """The items of an asynchronous iteration."""
        return Iteration(self, batches)

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


class Iteration(Iterator[T]):
    """The items of an asynchronous iteration, which ends where this one is left. Any thread may `close` it, also while
    another one waits for an item that may never come: that one finds that there are no more.
    """

    def __init__(self, loop: EventLoop, batches: AsyncGenerator[Sequence[T]]) -> None:
        self._loop, self._batches = loop, batches
        self._items: Iterator[T] = iter(())
        self._waiting: asyncio.Task[Any] | None = None
        self._closed = False

    def __next__(self) -> T:
        """The next item."""
        while True:
            for item in self._items:
                return item
            try:
                batch = None if self._closed else self._loop.run(self._next())
            except CancelledError:
                batch = None
                if not self._closed:
                    raise
            except BaseException:
                self.close()
                raise
            if batch is None:
                self._closed = True
                raise StopIteration
            self._items = iter(batch)

    def close(self) -> None:
        """Ends it, without waiting for that."""
        if not self._closed:
            self._closed = True
            self._loop.start(_ended(self._waiting, self._batches))

    __del__ = close

    async def _next(self) -> Sequence[T] | None:
        self._waiting = asyncio.current_task()
        return await anext(self._batches, None)


async def _ended(waiting: asyncio.Task[Any] | None, batches: AsyncGenerator[Any]) -> None:
    if waiting is not None and not waiting.done():
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await batches.aclose()


async def _noted(work: Coroutine[Any, Any, T], tasks: list[asyncio.Task[Any]]) -> T:
    task = asyncio.current_task()
    tasks.extend([task] if task is not None else [])
    return await work
