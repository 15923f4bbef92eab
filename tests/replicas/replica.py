"""One replica: the operator's own stores, reflectors, lease, workers and policies over a line to the API server that is
slow, loses answers, and shows what is new as late as it likes.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Any, cast

from footplate.errors import ApiUnavailable, FootplateError, LeaseLost
from footplate.machinery.client import KubeClient
from footplate.machinery.cluster import Cluster
from footplate.machinery.leader import Leader
from footplate.machinery.lease import REQUEST_TIMEOUT, Lease
from footplate.machinery.metrics import Metrics
from footplate.machinery.reflector import INACTIVITY_SECONDS
from footplate.machinery.resources import EVENTS, NODES, PODS, TRAINING_JOBS, Resource, resource_of
from footplate.machinery.settings import OperatorSettings
from footplate.machinery.transport import Fence, Unfenced
from footplate.machinery.workqueue import WorkQueue
from replicas.apiserver import ApiServer
from replicas.virtual import VirtualClock

TIMEOUT = 30.0
WATCHED = (PODS, NODES, TRAINING_JOBS)


class Line(VirtualClock):
    """A process's clock, and its way to the API server. While it is `frozen` nothing of the process goes on."""

    def __init__(self, server: ApiServer, rng: random.Random) -> None:
        super().__init__(asyncio.get_running_loop())
        self.server = server
        self.rng = rng
        self.losses = 0.0
        """Part of the requests that fail, before or after they are done."""
        self.lag = 0.0
        """Seconds by which each watch is late."""
        self.silent_until: defaultdict[str, float] = defaultdict(float)
        self._awake = asyncio.Event()
        self._awake.set()

    @property
    def awake(self) -> bool:
        """False while it is frozen."""
        return self._awake.is_set()

    def freeze(self, seconds: float) -> None:
        """As SIGSTOP does, or a machine that is suspended."""
        self._awake.clear()
        self.call_later(seconds, self._awake.set)

    def mute(self, resource: Resource, seconds: float) -> None:
        """Its watch shows nothing for so long, and isn't cut."""
        self.silent_until[resource.plural] = self.monotonic() + seconds

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        await self._awake.wait()

    async def ask(self, do: Callable[[], Any], *, fence: Fence, patience: float) -> Any:
        """One request: its answer, or that there is none."""
        await self._awake.wait()
        left = min(patience, fence.remaining())
        if left <= 0:
            raise LeaseLost("fenced")
        fate, there, back = self.rng.random(), self.rng.uniform(0.001, 0.05), self.rng.uniform(0.001, 0.05)
        await asyncio.sleep(there)
        if fate < self.losses / 2:
            await self.sleep(min(left, 1.0))
            raise ApiUnavailable("lost on its way")
        try:
            answer = do()
        finally:
            await self.sleep(back)
        if fate < self.losses:
            raise ApiUnavailable("its answer was lost")
        return answer


class Client:
    """What `KubeClient` does, over a `Line`."""

    def __init__(self, line: Line, who: str, fence: Fence, *, timeout: float = TIMEOUT) -> None:
        self._line = line
        self._who = who
        self._fence = fence
        self._timeout = timeout

    async def _read(self, do: Callable[[], Any]) -> Any:
        return await self._line.ask(do, fence=Unfenced(), patience=self._timeout)

    async def _write(self, do: Callable[[], Any]) -> Any:
        return await self._line.ask(do, fence=self._fence, patience=self._timeout)

    async def get(self, resource: Resource, namespace: str, name: str) -> Any:
        return await self._read(lambda: self._line.server.get(resource, (namespace, name)))

    async def get_path(self, path: str) -> Any:
        """Discovery: of nobody's schedulers. At once, so that a seed's schedule stays what it was."""
        return {"groups": []}

    async def pages(self, resource: Resource, **_: Any) -> AsyncIterator[tuple[list[Any], str]]:
        server = self._line.server
        yield await self._read(lambda: (server.all(resource), str(server.version)))

    async def create(self, manifest: Mapping[str, Any], **_: Any) -> Any:
        if resource_of(manifest) == EVENTS:
            return manifest
        return await self._write(lambda: self._line.server.create(manifest, who=self._who))

    async def replace(self, resource: Resource, obj: Mapping[str, Any], **_: Any) -> Any:
        return await self._write(lambda: self._line.server.replace(resource, obj, who=self._who))

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any], **_: Any) -> Any:
        if resource == EVENTS:
            return patch
        assert resource == TRAINING_JOBS
        return await self._write(lambda: self._line.server.patch_status((namespace, name), patch, who=self._who))

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str, **_: Any) -> Any:
        return await self._write(lambda: self._line.server.delete(resource, (namespace, name), uid=uid, who=self._who))

    async def watch(
        self, resource: Resource, *, since: str, inactivity: float, **_: Any
    ) -> AsyncIterator[list[Mapping[str, Any]]]:
        line, server, version = self._line, self._line.server, int(since)
        await self._read(lambda: None)
        line.silent_until[resource.plural] = 0.0  # a new connection
        yield []
        heard, news = line.monotonic(), asyncio.Event()
        server.news.add(news)
        try:
            while (left := heard + inactivity - line.monotonic()) > 0:
                news.clear()
                waiting = server.since(resource, version)
                now, silent_until = line.monotonic(), line.silent_until[resource.plural]
                due = [change for change in waiting if max(silent_until, change.time + line.lag) <= now]
                if due:
                    version, heard = due[-1].version, now
                    await line.sleep(0)
                    yield [change.event for change in due]
                    continue
                if waiting:
                    left = min(left, max(silent_until, waiting[0].time + line.lag) - now)
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), max(left, 0.001))
        finally:
            server.news.discard(news)


class Replica:
    """A process, from its start to its death."""

    def __init__(self, name: str, server: ApiServer, rng: random.Random) -> None:
        self.name = name
        self.line = Line(server, rng)
        self.dead = asyncio.Event()
        self.errors: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._metrics = metrics = Metrics()
        plain = cast(KubeClient, Client(self.line, name, Unfenced(), timeout=REQUEST_TIMEOUT))
        self.lease = Lease(plain, namespace="ops", name="operator", identity=name, clock=self.line)
        self.queue: Any = WorkQueue(workers=4, clock=self.line, metrics=metrics)
        self.cluster = Cluster(self.queue.add)
        self._client = cast(KubeClient, Client(self.line, name, self.lease))
        self._leader = Leader(
            self._client,
            self.lease,
            self.cluster,
            self.queue,
            settings=OperatorSettings(workers=4, identity=name),
            clock=self.line,
            metrics=metrics,
            spawn=self._spawn,
        )
        self._leader.start()
        self._spawn(self._watch_jobs(), "what kopf does")

    @property
    def acts(self) -> bool:
        """Whether it has workers, and they could work."""
        leads = self._metrics.registry.get_sample_value("footplate_leader") == 1.0
        return leads and self.line.awake and not self.dead.is_set()

    def kill(self) -> None:
        """As SIGKILL does."""
        self.dead.set()
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """As SIGTERM does."""
        self.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.lease.release()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """What the manager does: one part takes the rest with it."""
        error = None if task.cancelled() else task.exception()
        if self.dead.is_set():
            return
        if not isinstance(error, LeaseLost):
            self.errors.append(error or RuntimeError(f"{task.get_name()} ended"))
        self.kill()

    async def _watch_jobs(self) -> None:
        """A list, and then one watch, the end of which is a gap."""
        while True:
            with suppress(FootplateError):
                async for page, version in self._client.pages(TRAINING_JOBS):  # noqa: B007
                    for job in page:
                        self.cluster.jobs.apply(job, deleted=False)
                self._leader.custom_resources.note_gap()
                stream = self._client.watch(TRAINING_JOBS, since=version, inactivity=INACTIVITY_SECONDS)
                async with aclosing(stream):
                    async for batch in stream:
                        for event in batch:
                            self.cluster.jobs.apply(event["object"], deleted=event["type"] == "DELETED")
            await self.line.sleep(1.0)
