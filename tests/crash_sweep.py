"""A job's whole life under an operator that is killed, or loses its connection, at one write.

`live_through` plays everybody but the operator: it applies the job, lets a rank fail, suspends and resumes, lets the
gang succeed, and waits until everything is cleaned up. The API server's write hook does the harm.
"""

import asyncio
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import yaml

from footplate.api.status import ArtifactStatus
from footplate.contract import Verdict
from footplate.devcluster.client import MERGE, ApiClient
from footplate.devcluster.faults import Fault, Request
from footplate.devcluster.node import Nodes
from footplate.devcluster.server import ApiServer

ROOT = Path(__file__).parents[1]
JOBS = "/apis/footplate.dev/v1alpha1/namespaces/default/trainingjobs"
JOB = f"{JOBS}/swept"
NODES = 2
DEADLINE_SECONDS = 60.0

Harm = Literal["none", "killed before", "killed after", "cut before", "answer lost"]

_forkserver = multiprocessing.get_context("forkserver")
_forkserver.set_forkserver_preload(["footplate.operator", "footplate.runtime.logs"])


@dataclass
class Life:
    """What came of it: the operator's writes, every pod that was ever created, and what was left."""

    writes: list[str] = field(default_factory=list)
    pods: Counter[str] = field(default_factory=Counter)
    end: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


class Operator:
    """An operator in a process of its own, started again whenever it was killed."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._process: BaseProcess | None = None

    def start(self) -> None:
        self._process = _forkserver.Process(target=_operate, args=(str(self._kubeconfig),), daemon=True)
        self._process.start()

    def kill(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid or 0, signal.SIGKILL)
        self._process.join()

    async def keep_alive(self) -> None:
        while True:
            if self._process is None or not self._process.is_alive():
                self.start()
            await asyncio.sleep(0.02)


def _operate(kubeconfig: str) -> None:
    from footplate.operator import OperatorSettings, run_operator
    from footplate.runtime.logs import configure_logging

    configure_logging()
    settings = OperatorSettings(
        kubeconfig=kubeconfig, host="127.0.0.1", port=0, leader_election=False, poll_interval=60.0
    )
    asyncio.run(run_operator(settings))


async def live_through(folder: Path, *, harm: Harm, write: int = 0) -> Life:
    """Lives a job's life, with the given harm done at the operator's n-th write, from 1."""
    folder.mkdir()
    life = Life()
    async with _cluster(folder) as (server, client, nodes, kubeconfig):
        operator = Operator(kubeconfig)

        def strike(request: Request) -> Fault | None:
            if not request.agent.startswith("footplate-operator") or "/events" in request.path:
                return None
            life.writes.append(f"{request.method} {request.path}")
            if len(life.writes) != write or harm == "none":
                return None
            if harm.startswith("killed"):
                operator.kill()
            return Fault(cut="before" if harm.endswith("before") else "after")

        server.faults.on_write(strike)
        tasks = [asyncio.create_task(work) for work in (operator.keep_alive(), _observe(client, life))]
        try:
            await asyncio.wait_for(_play(client, nodes), DEADLINE_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(ProcessLookupError):
                operator.kill()
        life.end = summarize(await client.request("GET", JOB))
        for kind in ("pods", "services", "configmaps"):
            items = (await client.request("GET", f"/api/v1/namespaces/default/{kind}"))["items"]
            life.left += [f"{kind}/{item['metadata']['name']}" for item in items]
    return life


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
        "conditions": {each["type"]: each["status"] for each in status["conditions"]},
        "generation seen": status["observedGeneration"] == job["metadata"]["generation"],
    }


@asynccontextmanager
async def _cluster(folder: Path) -> AsyncIterator[tuple[ApiServer, ApiClient, Nodes, Path]]:
    async with ApiServer() as server:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(server.kubeconfig()))
        async with (
            ApiClient(server.kubeconfig()) as client,
            Nodes(server.kubeconfig(), folder / "nodes", count=NODES, pretend=True) as nodes,
        ):
            for path in sorted((ROOT / "crds").glob("*.yaml")):
                crd = yaml.safe_load(path.read_text())
                await client.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
            yield server, client, nodes, kubeconfig


async def _play(client: ApiClient, nodes: Nodes) -> None:
    """The user's and the trainers' part."""
    await client.request("POST", JOBS, _job())
    await _phase(client, "Running", attempt=0)
    nodes.finish_pod("default", "swept-1-0-1", code=1, message="boom")
    await _phase(client, "Running", attempt=1)
    await client.request("PATCH", JOB, {"spec": {"runPolicy": {"suspend": True}}}, kind=MERGE)
    await _phase(client, "Suspended", attempt=1)
    await client.request("PATCH", JOB, {"spec": {"runPolicy": {"suspend": False}}}, kind=MERGE)
    await _phase(client, "Running", attempt=2)
    for rank in range(NODES):
        nodes.finish_pod("default", f"swept-1-2-{rank}", message=_last_words() if rank == 0 else "")
    await _until(client, lambda status: status.get("phase") == "Succeeded" and "resolved" not in status)
    while (await client.request("GET", "/api/v1/namespaces/default/pods"))["items"]:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def _phase(client: ApiClient, phase: str, *, attempt: int) -> None:
    await _until(client, lambda status: (status.get("phase"), status.get("attempt")) == (phase, attempt))


async def _until(client: ApiClient, holds: Any) -> None:
    async for kind, data in client.follow(JOBS):
        for job in data if kind == "LIST" else [data]:
            if holds(job.get("status") or {}):
                return


async def _observe(client: ApiClient, life: Life) -> None:
    """Counts every pod that was ever created, and holds the invariants against every event."""
    attempt, finished = -1, False
    seen: set[str] = set()

    async def follow_jobs() -> None:
        nonlocal attempt, finished
        async for kind, data in client.follow(JOBS):
            for job in data if kind == "LIST" else [data]:
                status = job.get("status") or {}
                held = {each["type"] for each in status.get("conditions", ()) if each["status"] == "True"}
                if {"Complete", "Failed"} <= held:
                    life.violations.append("Complete and Failed")
                if finished and "Finished" not in held:
                    life.violations.append("Finished was undone")
                if status.get("observedGeneration", -1) > job["metadata"]["generation"]:
                    life.violations.append("observedGeneration is ahead")
                if status.get("attempt", -1) < attempt:
                    life.violations.append(f"attempt went back from {attempt} to {status.get('attempt')}")
                attempt, finished = status.get("attempt", -1), "Finished" in held

    async def follow_pods() -> None:
        async for kind, data in client.follow("/api/v1/namespaces/default/pods"):
            for pod in data if kind == "LIST" else [data]:
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
            "runPolicy": {"restartBackoffSeconds": 0, "ttlSecondsAfterFinished": 0},
        },
    }


def _last_words() -> str:
    uri = "s3://models/swept/swept/1"
    artifact = ArtifactStatus(uri=f"{uri}/", manifest=f"{uri}/manifest.json", sha256="0" * 64, size_bytes=1)
    verdict = Verdict(outcome="succeeded", exit_code=0, step=10, artifact=artifact)
    return verdict.model_dump_json(by_alias=True, exclude_none=True)
