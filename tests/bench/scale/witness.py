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

    def forget_pods_but(self, pods: list[dict[str, Any]]) -> None:
        """A new list of pods: what isn't in it went while nobody watched."""
        there = {pod["metadata"]["uid"] for pod in pods}
        self.pods = {uid: job for uid, job in self.pods.items() if uid in there}

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

    def see_job(self, job: dict[str, Any]) -> None:
        """A job appeared or changed."""
        name, status = job["metadata"]["name"], job.get("status") or {}
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

    async def follow_pods() -> None:
        async for kind, data in client.follow(f"{PODS}?labelSelector={MANAGED_SELECTOR}"):
            if kind == "LIST":
                witness.forget_pods_but(data)
            for pod in data if kind == "LIST" else [data]:
                witness.see_pod(pod, gone=kind == "DELETED")
            listed[0].set()

    async def follow_jobs() -> None:
        async for kind, data in client.follow(JOBS):
            for job in data if kind == "LIST" else [data]:
                witness.see_job(job)
            listed[1].set()

    tasks = [asyncio.create_task(work) for work in (follow_pods(), follow_jobs())]
    try:
        await asyncio.gather(*(each.wait() for each in listed))
        yield witness
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
