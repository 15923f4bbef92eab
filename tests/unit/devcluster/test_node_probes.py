"""A kubelet's livenessProbe: what counts as a failure, and how many are too many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from footplate.devcluster.pods import default_pod_spec
from footplate.devcluster.probes import Liveness, read_liveness

JSON = dict[str, Any]


def pod(probe: JSON | None) -> JSON:
    container: JSON = {"name": "main", "image": "any", "ports": [{"name": "metrics", "containerPort": 9464}]}
    spec: JSON = {"containers": [container | ({"livenessProbe": probe} if probe else {})]}
    default_pod_spec(spec)
    return {"spec": spec, "status": {"podIP": "127.1.2.3"}}


READ = [
    pytest.param(None, None, id="none"),
    pytest.param({"exec": {"command": ["true"]}}, None, id="not known here"),
    pytest.param(
        {"httpGet": {"path": "/healthz", "port": "metrics"}},
        Liveness("http://127.1.2.3:9464/healthz", delay=0, period=10, timeout=1, failures=3, grace=30),
        id="with Kubernetes' defaults",
    ),
    pytest.param(
        {
            "httpGet": {"port": 80, "host": "127.0.0.9"},
            "initialDelaySeconds": 4,
            "periodSeconds": 5,
            "timeoutSeconds": 6,
            "failureThreshold": 7,
            "terminationGracePeriodSeconds": 8,
        },
        Liveness("http://127.0.0.9:80/", delay=4, period=5, timeout=6, failures=7, grace=8),
        id="all of its own",
    ),
]


@pytest.mark.parametrize(("probe", "expected"), READ)
def test_reading(probe: JSON | None, expected: Liveness | None) -> None:
    of = pod(probe)
    assert read_liveness(of["spec"]["containers"][0], of) == expected


@asynccontextmanager
async def answering(*answers: int) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that gives these status codes one after the other (0 is no answer at all), and those not given yet."""
    left, closing = [*answers], asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        code = left.pop(0)
        if not code:
            await closing.wait()
        return web.Response(status=code or 200)

    app = web.Application()
    app.router.add_get("/healthz", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/healthz", left
    finally:
        closing.set()
        await runner.cleanup()


ROWS = [
    pytest.param([503, 503], ["statuscode: 503"], id="unwell"),
    pytest.param([503, 200, 503, 302, 500, 404], ["503", "503", "500"], id="only in a row"),
    pytest.param([0, 0], ["context deadline exceeded"], id="silent"),
]


@pytest.mark.parametrize(("answers", "told"), ROWS)
async def test_failures_in_a_row(answers: list[int], told: list[str]) -> None:
    said: list[str] = []

    async def tell(message: str) -> None:
        said.append(message)

    async with answering(*answers) as (url, left):
        await Liveness(url, delay=0, period=0.01, timeout=0.5, failures=2, grace=1).fails(tell)
        assert left == []
    assert len(said) == len(told)
    assert all(part in message for part, message in zip(told, said, strict=True))


async def test_nobody_listens() -> None:
    said: list[str] = []

    async def tell(message: str) -> None:
        said.append(message)

    async with answering() as (url, _):
        pass
    await Liveness(url, delay=0, period=0.01, timeout=0.5, failures=3, grace=1).fails(tell)
    assert len(said) == 1
    assert said[0].startswith(f'Liveness probe failed: Get "{url}"')
