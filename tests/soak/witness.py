"""Sees everything that happens to the jobs of a soak, and holds the invariants against it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from footplate.contract import MANAGED_SELECTOR
from footplate.devcluster.client import ApiClient
from invariants import Invariants

NAMESPACE = "default"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
JOBS = f"/apis/footplate.dev/v1alpha1/namespaces/{NAMESPACE}/trainingjobs"
PATIENCE_SECONDS = 90.0
"""A write that strikes a fault four times in a row waits for a minute at most."""

Status = Mapping[str, Any]


class Stuck(Exception):
    """A job didn't get where it had to."""


class Witness:
    """`run` must be going on."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._jobs: dict[str, Mapping[str, Any]] = {}
        self._pods: dict[str, set[str]] = {}
        self._held: dict[str, Invariants] = {}
        self._changed = asyncio.Event()
        self.violations: list[str] = []
        self.phases: Counter[str] = Counter()
        """How often a job was seen to come into each phase."""

    async def run(self) -> None:
        """Watches until cancelled."""
        pods = self._follow(f"{PODS}?labelSelector={MANAGED_SELECTOR}", self._see_pod, self._forget_pods_but)
        await asyncio.gather(pods, self._follow(JOBS, self._see_job, self._forget_jobs_but))

    async def until(self, job: str, holds: Callable[[Status], bool], what: str) -> None:
        """Waits for the job's status; raises Stuck when it takes too long."""

        def is_there() -> bool:
            return holds(self._jobs.get(job, {}).get("status") or {})

        await self._wait(is_there, lambda: f"{job} isn't {what}, but {self._describe(job)}")

    async def until_gone(self, job: str) -> None:
        """Waits until neither the job nor a pod of it is there; raises Stuck when it takes too long."""

        def is_gone() -> bool:
            return job not in self._jobs and not self._pods.get(job)

        await self._wait(is_gone, lambda: f"{job} isn't gone: {self._describe(job)}, pods {self._pods.get(job)}")
        self._pods.pop(job, None)

    async def _wait(self, holds: Callable[[], bool], describe: Callable[[], str]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not holds():
                    changed = self._changed
                    await changed.wait()
        except TimeoutError:
            raise Stuck(f"after {PATIENCE_SECONDS:g} s {describe()}") from None

    def _describe(self, job: str) -> str:
        status = self._jobs.get(job, {}).get("status") or {}
        return str({key: status.get(key) for key in ("phase", "reason", "message", "run", "attempt")})

    async def _follow(self, path: str, see: Callable[..., None], forget_but: Callable[[set[str]], None]) -> None:
        async for kind, data in self._client.follow(path):
            if kind == "LIST":  # what isn't in it went while nobody watched
                forget_but({each["metadata"]["uid"] for each in data})
            for each in data if kind == "LIST" else [data]:
                see(each, gone=kind == "DELETED")
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    def _forget_jobs_but(self, uids: set[str]) -> None:
        for name in [name for name, job in self._jobs.items() if job["metadata"]["uid"] not in uids]:
            del self._jobs[name], self._held[name]

    def _forget_pods_but(self, uids: set[str]) -> None:
        for pods in self._pods.values():
            pods &= uids

    def _see_job(self, job: Mapping[str, Any], *, gone: bool) -> None:
        name = job["metadata"]["name"]
        phase = (job.get("status") or {}).get("phase")
        if phase and phase != (self._jobs.get(name, {}).get("status") or {}).get("phase"):
            self.phases[phase] += 1
        held = self._held.setdefault(name, Invariants())
        held.see_job(job)
        self._note(name, held)
        if gone:
            self._jobs.pop(name, None)
            del self._held[name]
        else:
            self._jobs[name] = job

    def _see_pod(self, pod: Mapping[str, Any], *, gone: bool) -> None:
        metadata = pod["metadata"]
        job = metadata["ownerReferences"][0]["name"]
        pods = self._pods.setdefault(job, set())
        (pods.discard if gone else pods.add)(metadata["uid"])
        if held := self._held.get(job):
            held.see_pod(pod, gone=gone)
            self._note(job, held)

    def _note(self, job: str, held: Invariants) -> None:
        found = [f"{job}: {violation}" for violation in held.violations]
        self.violations += [each for each in found if each not in self.violations]
