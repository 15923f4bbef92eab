"""Sees how far each job is, from watches of pods and jobs: what a user with `kubectl get -w` would see, and when."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bench.bench_create import JOBS, PODS
from footplate.contract import MANAGED_SELECTOR, Label
from footplate.devcluster.client import ApiClient

PATIENCE_SECONDS = 900.0


class Witness:
    """Times are those of `time.perf_counter`, when the event had come to this process."""

    def __init__(self) -> None:
        self.pods: dict[str, str] = {}
        """The pods that are there: the job of each, by UID."""
        self.jobs: set[str] = set()
        self.reached: dict[str, dict[str, float]] = {}
        """When a job got there first: to a phase, to a phase in an attempt (`Running:1`), its n-th pod (`pods:8`)."""
        self._created: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._seen: set[str] = set()
        self._changed = asyncio.Event()

    def count(self, phase: str) -> int:
        """Jobs that have been in this phase."""
        return sum(phase in phases for phases in self.reached.values())

    def count_created(self, job: str, *, attempt: int) -> int:
        """Pods that this attempt ever had."""
        return self._created[job][str(attempt)]

    def there(self, job: str) -> int:
        """Pods of this job that are there."""
        return sum(owner == job for owner in self.pods.values())

    async def until(self, holds: Callable[[], bool]) -> float:
        """The time at which it holds; TimeoutError if it never does."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                self._changed.clear()
                await self._changed.wait()
        return time.perf_counter()

    def see_pod(self, pod: dict[str, Any], *, gone: bool) -> None:
        """A pod appeared, changed or went."""
        metadata = pod["metadata"]
        uid, labels = metadata["uid"], metadata["labels"]
        if uid not in self._seen:
            self._seen.add(uid)
            created = self._created[labels[Label.JOB]]
            created[labels[Label.ATTEMPT]] += 1
            self._reach(labels[Label.JOB], f"pods:{created.total()}")
        if gone:
            self.pods.pop(uid, None)
        else:
            self.pods[uid] = labels[Label.JOB]
        self._changed.set()

    def see_job(self, job: dict[str, Any], *, gone: bool) -> None:
        """A job appeared, changed or went."""
        name = job["metadata"]["name"]
        (self.jobs.discard if gone else self.jobs.add)(name)
        status = job.get("status") or {}
        if phase := status.get("phase"):
            self._reach(name, phase)
            self._reach(name, f"{phase}:{status.get('attempt')}")
        self._changed.set()

    def _reach(self, job: str, what: str) -> None:
        self.reached.setdefault(job, {}).setdefault(what, time.perf_counter())


@asynccontextmanager
async def watching(client: ApiClient) -> AsyncIterator[Witness]:
    """A witness who has seen all that is there when the block begins."""
    witness = Witness()
    listed = [asyncio.Event(), asyncio.Event()]

    async def follow(path: str, see: Callable[..., None], synced: asyncio.Event) -> None:
        async for kind, data in client.follow(path):
            for each in data if kind == "LIST" else [data]:
                see(each, gone=kind == "DELETED")
            synced.set()

    pods = follow(f"{PODS}?labelSelector={MANAGED_SELECTOR}", witness.see_pod, listed[0])
    tasks = [asyncio.create_task(pods), asyncio.create_task(follow(JOBS, witness.see_job, listed[1]))]
    try:
        await asyncio.gather(*(each.wait() for each in listed))
        yield witness
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
