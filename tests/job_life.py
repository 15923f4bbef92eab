"""A job's whole life, with everybody in it but the operator: played by `play`, watched by `observe`.

A rank fails, the job is suspended and resumed, the gang succeeds, and everything is cleaned up. However often the
operator dies meanwhile, `problems` must find none. The nodes only pretend to run the pods.
"""

import asyncio
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from footplate.api.reports import ArtifactStatus
from footplate.contract import Verdict
from footplate.devcluster.client import MERGE, ApiClient
from footplate.devcluster.node import Nodes
from invariants import Invariants

NAMESPACE = "swept"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
JOBS = f"/apis/footplate.dev/v1alpha1/namespaces/{NAMESPACE}/trainingjobs"
JOB = f"{JOBS}/swept"
NODES = 2
DEADLINE_SECONDS = 60.0

ARTIFACT = {
    "uri": "s3://models/swept/swept/1/",
    "manifest": "s3://models/swept/swept/1/manifest.json",
    "sha256": "0" * 64,
    "sizeBytes": 1,
    "metrics": {},
}
END = {
    "phase": "Succeeded",
    "reason": "Completed",
    "run": 1,
    "attempt": 2,
    "restarts": {"user": 1, "infrastructure": 0, "hang": 0, "total": 1},
    "attempts": [(0, "UserError", NODES), (1, "SuspendedByUser", NODES), (2, "Completed", NODES)],
    "artifact": ARTIFACT,
    "true conditions": {"Complete", "Finished"},
    "generation seen": True,
}
"""What `summarize` says in the end, always."""

_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload(["footplate.operator", "footplate.machinery.logs"])


@dataclass
class Life:
    """What came of it: the operator's writes where they are known, every pod that was ever created, what was left."""

    writes: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    """What these wrote."""
    job: Mapping[str, Any] = field(default_factory=dict)
    """As it was in the end."""
    pods: Counter[str] = field(default_factory=Counter)
    end: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    changes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """Released once for every change of a job or pod that was seen."""


class Operator:
    """An operator in a process of its own, started again whenever it was killed."""

    def __init__(
        self,
        kubeconfig: Path,
        *,
        namespaces: tuple[str, ...] = (),
        poll_interval: float = 60.0,
        log: Path | None = None,
    ) -> None:
        self._kubeconfig = kubeconfig
        self._settings = {"namespaces": namespaces, "poll_interval": poll_interval}
        self._log = log
        self._ahead = _forkserver.RawValue("d", 0.0)  # without a lock, which who is killed would take along
        self._process: BaseProcess | None = None

    def start(self) -> None:
        args = (str(self._kubeconfig), self._settings, self._log, self._ahead)
        self._process = _forkserver.Process(target=_operate, args=args, daemon=True)
        self._process.start()

    def set_clock_ahead(self, seconds: float) -> None:
        """Its wall clock jumps: from now on it is so many seconds ahead, those of operators to come too."""
        self._ahead.value = seconds

    def kill(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid or 0, signal.SIGKILL)
        self._process.join()

    async def keep_alive(self) -> None:
        while True:
            if self._process is None or not self._process.is_alive():
                self.start()
            await asyncio.sleep(0.02)


def _operate(kubeconfig: str, settings: Mapping[str, Any], log: Path | None, ahead: Any) -> None:
    from footplate.machinery import clock
    from footplate.machinery.logs import configure_logging
    from footplate.operator import OperatorSettings, run_operator

    if log is not None:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    configure_logging()
    settings_here = OperatorSettings(kubeconfig=kubeconfig, host="127.0.0.1", port=0, leader_election=False, **settings)
    with patch.object(clock, "wall_time", lambda: datetime.now(UTC) + timedelta(seconds=ahead.value)):
        asyncio.run(run_operator(settings_here))


@asynccontextmanager
async def lived(client: ApiClient, nodes: Nodes, operator: Operator, life: Life) -> AsyncIterator[asyncio.Task[None]]:
    """The life goes on by itself, and the operator is started again whenever it died; the block gets the task that is
    done when the life is over. Afterwards `life` is complete.
    """
    others = [asyncio.create_task(work) for work in (operator.keep_alive(), observe(client, life))]
    playing = asyncio.create_task(play(client, nodes))
    try:
        yield playing
        await asyncio.wait_for(playing, DEADLINE_SECONDS)
    finally:
        for task in (playing, *others):
            task.cancel()
        await asyncio.gather(playing, *others, return_exceptions=True)
        with suppress(ProcessLookupError):
            operator.kill()
    life.job = await client.request("GET", JOB)
    life.end = summarize(life.job)
    for kind in ("pods", "services", "configmaps"):
        items = (await client.request("GET", f"{CORE}/{kind}"))["items"]
        life.left += [f"{kind}/{item['metadata']['name']}" for item in items]


def summarize(job: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same however often the operator died: everything but times."""
    status = job["status"]
    return {
        "phase": status["phase"],
        "reason": status["reason"],
        "run": status["run"],
        "attempt": status["attempt"],
        "restarts": status["restarts"],
        "attempts": [(each["attempt"], each["reason"], each["nodes"]) for each in status["attempts"]],
        "artifact": status["artifact"],
        # A state through which the job only hurried may be False by now, or may never have been seen.
        "true conditions": {each["type"] for each in status["conditions"] if each["status"] == "True"},
        "generation seen": status["observedGeneration"] == job["metadata"]["generation"],
    }


def problems(life: Life) -> list[str]:
    """Where a life differs from what it should be."""
    found = list(life.violations)
    found += [f"ended with {key} {life.end.get(key)}, not {END[key]}" for key in END if life.end.get(key) != END[key]]
    if life.left:
        found.append(f"left behind: {life.left}")
    names = {f"swept-1-{attempt}-{rank}" for attempt in range(3) for rank in range(NODES)}
    if life.pods.keys() != names or set(life.pods.values()) != {1}:
        found.append(f"pods that were created: {dict(life.pods)}")
    return found


async def play(client: ApiClient, nodes: Nodes) -> None:
    """The user's and the trainers' part."""
    await client.request("POST", JOBS, _job())
    await _phase(client, "Running", attempt=0)
    nodes.finish_pod(NAMESPACE, "swept-1-0-1", code=1, message="boom")
    await _phase(client, "Running", attempt=1)
    await client.request("PATCH", JOB, {"spec": {"runPolicy": {"suspend": True}}}, kind=MERGE)
    await _phase(client, "Suspended", attempt=1)
    await client.request("PATCH", JOB, {"spec": {"runPolicy": {"suspend": False}}}, kind=MERGE)
    await _phase(client, "Running", attempt=2)
    for rank in range(NODES):
        nodes.finish_pod(NAMESPACE, f"swept-1-2-{rank}", message=_last_words() if rank == 0 else "")
    await _until(client, lambda status: status.get("phase") == "Succeeded" and "resolved" not in status)
    while (await client.request("GET", f"{CORE}/pods"))["items"]:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def _phase(client: ApiClient, phase: str, *, attempt: int) -> None:
    await _until(client, lambda status: (status.get("phase"), status.get("attempt")) == (phase, attempt))


async def _until(client: ApiClient, holds: Any) -> None:
    async for kind, data in client.follow(JOBS):
        for job in data if kind == "LIST" else [data]:
            if holds(job.get("status") or {}):
                return


async def observe(client: ApiClient, life: Life) -> None:
    """Counts every pod that was ever created, and holds the invariants against every event."""
    invariants = Invariants()
    life.violations = invariants.violations
    seen: set[str] = set()

    async def follow_jobs() -> None:
        async for kind, data in client.follow(JOBS):
            for job in data if kind == "LIST" else [data]:
                life.changes.release()
                invariants.see_job(job)

    async def follow_pods() -> None:
        async for kind, data in client.follow(f"{CORE}/pods"):
            for pod in data if kind == "LIST" else [data]:
                life.changes.release()
                invariants.see_pod(pod, gone=kind == "DELETED")
                if pod["metadata"]["uid"] not in seen:
                    seen.add(pod["metadata"]["uid"])
                    life.pods[pod["metadata"]["name"]] += 1

    await asyncio.gather(follow_jobs(), follow_pods())


def _job() -> dict[str, Any]:
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "swept"},
        "spec": {
            "trainer": {"image": "registry.example.com/trainer:1", "recipe": "image-classification"},
            "nodes": NODES,
            "output": {"uri": "s3://models/swept/"},
            "runPolicy": {"restartBackoffSeconds": 0, "ttlSecondsAfterFinished": 0, "ttlKeepsJob": True},
        },
    }


def _last_words() -> str:
    verdict = Verdict(outcome="succeeded", exit_code=0, step=10, artifact=ArtifactStatus.model_validate(ARTIFACT))
    return verdict.model_dump_json(by_alias=True, exclude_none=True)
