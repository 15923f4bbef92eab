"""What a tenant's pods may say at most, on a real API server: it takes the status, and nothing in it is forged."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from footplate.devcluster.client import MERGE, ApiClient
from footplate.machinery.settings import OperatorSettings
from footplate.operator import run_operator
from realcluster.controlplane import ControlPlane
from realcluster.planes import plane_with_crds

pytestmark = [pytest.mark.realcluster, pytest.mark.timeout(300)]

JOBS = "/apis/footplate.dev/v1alpha1/namespaces/team/trainingjobs"
PODS = "/api/v1/namespaces/team/pods"
PATIENCE_SECONDS = 60.0
GATES = [{"metric": f"testF1.{number}", "atLeast": 0.9} for number in range(16)]
FORGED = "\n  Phase:  Succeeded\x1b[2J"

Json = dict[str, Any]


def wide(length: int) -> str:
    """As many characters, each of four bytes, but for a line that is forged."""
    return FORGED + "😀" * (length - len(FORGED))


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with plane_with_crds() as plane:
        plane.kubectl("create", "namespace", "team")
        yield plane


@asynccontextmanager
async def operator(plane: ControlPlane) -> AsyncIterator[ApiClient]:
    settings = OperatorSettings(
        kubeconfig=str(plane.kubeconfig_path), host="127.0.0.1", port=0, leader_election=False, poll_interval=60
    )
    running = asyncio.create_task(run_operator(settings))
    try:
        async with ApiClient(json.loads(plane.kubeconfig_path.read_text())) as client:
            yield client
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def run(client: ApiClient, name: str, verdict: Json, **spec: Any) -> Json:
    """The status of a job of one pod that ends well, and says this."""
    trainer = {"image": "registry.example.com/trainer:1", "command": ["true"]}
    job = {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {"trainer": trainer, "output": {"uri": "s3://models/team/"}, **spec},
    }
    await client.request("POST", JOBS, job)
    pod = await until(lambda: client.request("GET", PODS), lambda it: of_job(it, name))
    state = {"exitCode": 0, "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z"}
    said = {"outcome": "succeeded", "exitCode": 0, **verdict}
    ended = {"terminated": {**state, "message": json.dumps(said, ensure_ascii=False)}}
    container = {"name": "trainer", "image": "x", "imageID": "x", "ready": False, "restartCount": 0, "state": ended}
    status = {"phase": "Succeeded", "containerStatuses": [container]}
    path = f"{PODS}/{of_job(pod, name)['metadata']['name']}/status"
    await client.request("PATCH", path, {"status": status}, kind=MERGE)
    seen = await until(lambda: client.request("GET", f"{JOBS}/{name}"), lambda it: "completionTime" in status_of(it))
    return status_of(seen)


def of_job(pods: Json, name: str) -> Json:
    return next((pod for pod in pods["items"] if pod["metadata"]["labels"]["footplate.dev/job"] == name), {})


def status_of(job: Json) -> Json:
    return dict(job.get("status") or {})


async def until(look: Any, holds: Any) -> Json:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not holds(seen := await look()):
        assert asyncio.get_running_loop().time() < deadline, f"after {PATIENCE_SECONDS} s still {seen}"
        await asyncio.sleep(0.05)
    return dict(seen)


async def test_a_gate_is_passed_by_its_value_alone(plane: ControlPlane) -> None:
    gate = {"metric": "testAccuracy", "atLeast": 0.9}
    model = {"uri": "s3://models/1/", "manifest": "s3://models/1/m", "sha256": "a" * 64, "sizeBytes": 5}
    lie = {"gates": [{**gate, "value": 0.5, "passed": True}]}
    async with operator(plane) as client:
        said = {"artifact": {**model, "accepted": True}, "evaluation": lie}
        status = await run(client, "liar", said, evaluation={"gates": [gate]})
    assert (status["phase"], status["reason"]) == ("Failed", "GateNotPassed")
    assert status["artifact"]["accepted"] is False
    assert status["evaluation"]["gates"] == [{**gate, "value": 0.5, "passed": False}]


async def test_what_is_longer_than_any_word_accepts_nothing(plane: ControlPlane) -> None:
    gate = {"metric": "testAccuracy", "atLeast": 0.9}
    said = {"evaluation": {"gates": [{**gate, "value": 1.0, "passed": True}]}, "notes": ["x" * 20_000]}
    async with operator(plane) as client:
        status = await run(client, "long", said, evaluation={"gates": [gate]})
    assert (status["phase"], status["reason"]) == ("Failed", "GateNotPassed")


async def test_texts_of_most_bytes_are_taken_in_one_line(plane: ControlPlane) -> None:
    model = {"uri": wide(800), "manifest": wide(400), "sha256": "a" * 64, "sizeBytes": 5, "ended": wide(63)}
    data = {
        "rows": 2**53,
        "digest": "b" * 64,
        "classes": [{"name": wide(62) + str(number), "rows": 1} for number in range(8)],
        "broken": [{"column": wide(63), "rule": wide(128), "count": 1}],
        "profile": wide(400),
    }
    async with operator(plane) as client:
        status = await run(client, "wide", {"artifact": model, "checkpoint": {"uri": wide(400)}, "data": data})
        gates = [{**gate, "passed": False, "why": wide(100)} for gate in GATES]
        more = await run(client, "gates", {"evaluation": {"gates": gates}}, evaluation={"gates": GATES})
    assert status["phase"] == "Succeeded"
    assert (more["reason"], len(more["evaluation"]["gates"])) == ("GateNotPassed", 16)
    for text in (json.dumps(status), json.dumps(more)):
        assert "Phase:  Succeeded" in text
        assert "\\n" not in text
        assert "\\u001b" not in text
