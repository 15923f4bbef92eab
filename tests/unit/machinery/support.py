"""What the runtime's tests share: a clock that tests own, and an API server that does as it is told."""

import asyncio
import heapq
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.machinery.metrics import Metrics

START = datetime(2026, 1, 1, tzinfo=UTC)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """Stands still until `advance`."""

    def __init__(self) -> None:
        self._time = 0.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, FakeTimer]] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self._time)

    def monotonic(self) -> float:
        return self._time

    def call_later(self, seconds: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (self._time + seconds, next(self._order), timer))
        return timer

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.call_later(seconds, woken.set)
        await woken.wait()

    async def advance(self, seconds: float) -> None:
        """Lets everything happen that is due within so many seconds, in order."""
        await settle()
        end = self._time + seconds
        while self._timers and self._timers[0][0] <= end:
            self._time, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
            await settle()
        self._time = end


class HurriedClock(FakeClock):
    """Never waits, and remembers how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._time += seconds
        await asyncio.sleep(0)


async def settle() -> None:
    """Gives every ready task of these tests, which await nothing outside the process, its turn."""
    for _ in range(20):
        await asyncio.sleep(0)


async def eventually(condition: Callable[[], bool], *, seconds: float = 5.0, state: Callable[[], object] = str) -> None:
    """Waits until the condition holds; fails with the state when it doesn't in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds} s; state: {state()}"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def serve(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server on loopback that gives every request to the handler; yields its URL."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client_of(handler: Handler, *, clock: Clock | None = None, **options: Any) -> AsyncIterator[KubeClient]:
    """A client of a server that answers with the handler."""
    import aiohttp

    async with serve(handler) as url, aiohttp.ClientSession() as session:
        yield KubeClient(session, url, metrics=Metrics(), clock=clock or HurriedClock(), **options)


def make(name: str, *, version: int = 1, uid: str = "", namespace: str = "ns", **rest: Any) -> dict[str, Any]:
    """A raw object."""
    metadata = {"namespace": namespace, "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, **rest.pop("metadata", {})}, **rest}


def make_job(name: str = "job", *, version: int = 1, uid: str = "uid-job", **rest: Any) -> dict[str, Any]:
    """A raw TrainingJob."""
    job = make(name, version=version, uid=uid, **rest)
    return {**job, "apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob"}


def owned_by(job: dict[str, Any]) -> list[dict[str, Any]]:
    """ownerReferences of what the job controls."""
    metadata = job["metadata"]
    return [
        {
            "apiVersion": job["apiVersion"],
            "kind": job["kind"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
        }
    ]


def make_pod(job: dict[str, Any], rank: int = 0, *, version: int = 1, **rest: Any) -> dict[str, Any]:
    """A raw pod of the job's first attempt."""
    labels = {"footplate.dev/run": "1", "footplate.dev/attempt": "0", "footplate.dev/rank": str(rank)}
    metadata = {"labels": labels, "ownerReferences": owned_by(job), **rest.pop("metadata", {})}
    return make(f"{job['metadata']['name']}-1-0-{rank}", version=version, metadata=metadata, **rest)
