import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from footplate.contract import MAX_PROGRESS_BYTES, Progress
from footplate.machinery.clock import SystemClock
from footplate.machinery.metrics import Metrics
from footplate.machinery.poller import Poller, Target, target_of
from unit.machinery.support import Handler, eventually, make_job, make_pod, serve

RUNNING = {"phase": "Running", "run": 1, "attempt": 0}


def told(step: int = 1, **over: Any) -> str:
    said = {"uid": "uid-job", "run": 1, "attempt": 0, "progress": {"step": step}, **over}
    return Progress.model_validate(said).model_dump_json(by_alias=True)


class Bench:
    """A poller of one pod whose answers tests write."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.changed: list[Any] = []
        self.targets = [Target(("ns", "job"), "uid-job", 1, 0, "127.0.0.1")]
        self.asked = 0

    def polls(self, result: str) -> float:
        return self.metrics.registry.get_sample_value("footplate_progress_polls_total", {"result": result}) or 0

    @asynccontextmanager
    async def polling(self, handler: Handler) -> AsyncIterator[Poller]:
        async def count(request: web.Request) -> web.StreamResponse:
            self.asked += 1
            return await handler(request)

        async with serve(count) as url:
            poller = Poller(
                lambda: self.targets,
                on_change=self.changed.append,
                clock=SystemClock(),
                metrics=self.metrics,
                interval=0.02,
                port=int(url.rpartition(":")[2]),
            )
            task = asyncio.create_task(poller.run())
            try:
                yield poller
            finally:
                assert not task.done(), "nothing but cancellation ends the poller"
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_what_rank_0_says_is_kept_and_announced_when_it_changes(bench: Bench) -> None:
    step = 1

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.path == "/progress"
        return web.Response(text=told(step))

    async with bench.polling(handler) as poller:
        await eventually(lambda: bench.asked > 3)
        assert bench.changed == [("ns", "job")]
        step = 2
        await eventually(lambda: len(bench.changed) == 2)
        latest = poller.latest("uid-job")
        assert latest is not None
        assert latest.progress.step == 2


async def test_a_job_that_no_longer_runs_is_forgotten(bench: Bench) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text=told())

    async with bench.polling(handler) as poller:
        await eventually(lambda: poller.latest("uid-job") is not None)
        bench.targets = []
        await eventually(lambda: poller.latest("uid-job") is None)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(web.Response(text="{"), id="no JSON"),
        pytest.param(web.Response(text="[" * 10_000), id="deep JSON"),
        pytest.param(web.Response(text='{"uid": 1}'), id="another shape"),
        pytest.param(web.Response(body=b"\xff\xfe"), id="no text"),
        pytest.param(web.Response(text=" " * (MAX_PROGRESS_BYTES + 1)), id="too long"),
        pytest.param(web.Response(text=told(uid="another")), id="another job's"),
        pytest.param(web.Response(text=told(attempt=7)), id="another attempt's"),
        pytest.param(web.Response(status=302, headers={"Location": "/elsewhere"}), id="elsewhere"),
        pytest.param(web.Response(status=500), id="500"),
    ],
)
async def test_lies_count_for_nothing(bench: Bench, answer: web.Response) -> None:
    paths = set()

    async def handler(request: web.Request) -> web.StreamResponse:
        paths.add(request.path)
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)

    async with bench.polling(handler) as poller:
        await eventually(lambda: bench.polls("invalid") > 1)
        assert poller.latest("uid-job") is None
    assert bench.changed == []
    assert paths == {"/progress"}


async def test_an_endless_answer_is_cut(bench: Bench) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(b" " * 4096)
        return response

    async with bench.polling(handler):
        await eventually(lambda: bench.polls("invalid") > 0)


async def test_a_pod_that_isnt_there_is_no_trouble(bench: Bench) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with bench.polling(handler):
        await eventually(lambda: bench.polls("unreachable") > 1)


@pytest.mark.parametrize(
    ("status", "pod", "address"),
    [
        pytest.param(RUNNING, {"status": {"podIP": "10.0.0.1"}}, "10.0.0.1", id="running"),
        pytest.param({**RUNNING, "phase": "Starting"}, {"status": {"podIP": "10.0.0.1"}}, None, id="not running yet"),
        pytest.param({**RUNNING, "attempt": 1}, {"status": {"podIP": "10.0.0.1"}}, None, id="an older attempt's pod"),
        pytest.param({**RUNNING, "run": 2}, {"status": {"podIP": "10.0.0.1"}}, None, id="an older run's pod"),
        pytest.param(RUNNING, {"status": {}}, None, id="no address yet"),
        pytest.param(None, {"status": {"podIP": "10.0.0.1"}}, None, id="no status"),
    ],
)
def test_rank_0_of_the_running_attempt_is_asked(status: Any, pod: Any, address: str | None) -> None:
    job = make_job(status=status)
    pods = [make_pod(job, 1, status={"podIP": "10.0.0.2"}), make_pod(job, 0, **pod)]
    target = target_of(job, pods)
    assert (target.address if target else None) == address
