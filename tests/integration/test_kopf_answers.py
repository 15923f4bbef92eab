"""Whatever kopf is answered when it lists or watches: the operator doesn't end, and catches up by itself."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from crds import install_crds
from footplate.devcluster.client import ApiClient
from footplate.devcluster.faults import Request
from footplate.devcluster.server import ApiServer
from footplate.operator import OperatorSettings, run_operator
from gateway import Gateway, rewritten
from trainer_pods import free_port

pytestmark = pytest.mark.integration

CORE = "/api/v1/namespaces/default"
JOBS = "/apis/footplate.dev/v1alpha1/namespaces/default/trainingjobs"
CATCH_UP_SECONDS = 30.0
JOB = {
    "apiVersion": "footplate.dev/v1alpha1",
    "kind": "TrainingJob",
    "spec": {"trainer": {"image": "registry.example.com/trainer:1", "command": ["true"]}, "nodes": 1},
}


def refusal(code: int) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no"}
    return web.json_response(body, status=code)


def event(code: int) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no"}
    return web.Response(text=json.dumps({"type": "ERROR", "object": status}) + "\n")


ANSWERS: dict[str, Callable[[], web.Response]] = {
    **{str(code): lambda code=code: refusal(code) for code in (400, 401, 403, 404, 409, 410, 422, 429, 500, 503)},  # type: ignore[misc]
    "a page of HTML": lambda: web.Response(text="<html>sign in</html>", content_type="text/html"),
    "a page of HTML, 502": lambda: web.Response(text="<html>bad gateway</html>", content_type="text/html", status=502),
    "half a line": lambda: web.Response(text='{"type": "ADD'),
    "nothing": lambda: web.Response(content_type="application/json"),
    "ERROR 410": lambda: event(410),
    "ERROR 500": lambda: event(500),
    "ERROR 504": lambda: event(504),
}


class Bench:
    """A cluster, a gateway before it, and a client for the test that doesn't go through the gateway."""

    def __init__(self, client: ApiClient, gateway: Gateway, server: ApiServer, port: int) -> None:
        self.client = client
        self.gateway = gateway
        self.server = server
        self._port = port

    async def apply(self, name: str) -> None:
        await self.client.request("POST", JOBS, {**JOB, "metadata": {"name": name}})

    async def has_pod(self, name: str) -> bool:
        found = await self.client.request("GET", f"{CORE}/pods?labelSelector=footplate.dev/job={name}")
        return len(found["items"]) == 1

    async def jobs_known(self) -> float:
        """How many jobs the operator believes there are."""
        url = f"http://127.0.0.1:{self._port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            lines = (await response.text()).splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("footplate_jobs{"))

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while not await holds():
            assert time.monotonic() < deadline, f"{what}: not within {CATCH_UP_SECONDS} s"
            await asyncio.sleep(0.02)


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    for name in ("manager._RETRY_SECONDS", "custom_resources._RETRY_SECONDS", "custom_resources._RESYNC_PAUSE_SECONDS"):
        monkeypatch.setattr(f"footplate.machinery.{name}", 0.2)
    monkeypatch.setattr("footplate.operator._LAST_PAUSE", 1.0)
    monkeypatch.setattr("footplate.machinery.contact._LAST_PAUSE", 0.5)  # all answers are heard on one path
    async with (
        ApiServer() as server,
        ApiClient(server.kubeconfig()) as client,
        Gateway(server.kubeconfig()) as gateway,
    ):
        await install_crds(client)
        kubeconfig, port = gateway.kubeconfig(tmp_path / "kubeconfig"), free_port()
        settings = OperatorSettings(kubeconfig=str(kubeconfig), host="127.0.0.1", port=port, leader_election=False)
        task = asyncio.create_task(run_operator(settings))
        try:
            yield Bench(client, gateway, server, port)
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert rewritten(gateway.writes) == []


@pytest.mark.parametrize("verb", ["watch", "list"])
async def test_kopf_hears_something_odd_twice(bench: Bench, verb: str) -> None:
    await bench.apply("first")
    await bench.until(lambda: bench.has_pod("first"), "start")
    for number, (name, answer) in enumerate(ANSWERS.items()):
        await bench.apply(f"gone-{number}")
        await bench.until(lambda number=number: bench.has_pod(f"gone-{number}"), f"before {name}")  # type: ignore[misc]
        left = itertools.repeat(answer, 2)

        def speak(request: Request, left: Iterator[Callable[[], web.Response]] = left) -> web.Response | None:
            asked = "watch" if "watch=" in request.path else "list"
            of_jobs = request.method == "GET" and request.path.partition("?")[0].endswith("/trainingjobs")
            return next(left, lambda: None)() if of_jobs and asked == verb else None

        await bench.client.request("DELETE", f"{JOBS}/gone-{number}")
        bench.gateway.answer = speak
        if verb == "list":  # which comes only after a gap that is too long to be watched over
            bench.server.store.compact()
        assert bench.gateway.faults.cut_watches(path="/trainingjobs") == 1, f"watches before {name}"
        await bench.apply(f"job-{number}")
        await bench.until(lambda number=number: bench.has_pod(f"job-{number}"), name)  # type: ignore[misc]

        async def is_watched() -> bool:
            return bench.gateway.faults.watches(path="/trainingjobs") == 1

        await bench.until(is_watched, f"a watch after {name}")

    async def knows_them_all() -> bool:
        return await bench.jobs_known() == len(ANSWERS) + 1

    await bench.until(knows_them_all, "jobs that were deleted in the gaps")
