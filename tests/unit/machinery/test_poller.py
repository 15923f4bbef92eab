import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from footplate.api.scalars import format_time
from footplate.contract import MAX_PROGRESS_BYTES, Progress
from footplate.machinery.clock import SystemClock
from footplate.machinery.cluster import Cluster
from footplate.machinery.metrics import Metrics
from footplate.machinery.poller import Poller, Target, target_of
from unit.machinery.support import Handler, eventually, make_job, make_pod, owned_by, serve

RUNNING = {"phase": "Running", "run": 1, "attempt": 0}


def told(step: int = 1, **over: Any) -> str:
    said = {"uid": "uid-job", "run": 1, "attempt": 0, "progress": {"step": step}, **over}
    return Progress.model_validate(said).model_dump_json(by_alias=True)


def http_date(time: datetime) -> str:
    return format_datetime(time, usegmt=True)


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


DATES = [
    pytest.param(lambda: http_date(datetime.now(UTC) + timedelta(hours=2)), 0, id="two hours ahead"),
    pytest.param(lambda: http_date(datetime.now(UTC)), 2 * 3600, id="as ours"),
    pytest.param(lambda: "yesterday", 2 * 3600, id="no date"),
    pytest.param(lambda: "Thu, 01 Jan 0001 00:00:00 +9999", 2 * 3600, id="no time of ours"),
    pytest.param(lambda: "Thu, 99 Jan 99999999999 00:00:00 -99999999999", 2 * 3600, id="too much"),
]


@pytest.mark.parametrize(("date", "ahead"), DATES)
async def test_a_pods_times_are_told_by_our_clock(bench: Bench, date: Callable[[], str], ahead: float) -> None:
    """What it says is what its clock shows; who lies about that gets a time or none, and harms nobody else."""

    async def handler(_: web.Request) -> web.StreamResponse:
        said = {"step": 1, "updateTime": format_time(datetime.now(UTC) + timedelta(hours=2))}
        return web.Response(text=told(progress=said), headers={"Date": date()})

    async with bench.polling(handler) as poller:
        await eventually(lambda: bench.polls("ok") > 1)
        latest = poller.latest("uid-job")
    assert latest is not None
    if latest.progress.update_time is not None:
        seen = (latest.progress.update_time - datetime.now(UTC)).total_seconds()
        assert abs(seen - ahead) < 45


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


def runs(address: str = "10.0.0.1", **over: Any) -> dict[str, Any]:
    """The status of a pod whose trainer runs."""
    trainer = {"name": "trainer", "state": {"running": {}}}
    return {"phase": "Running", "podIP": address, "containerStatuses": [trainer], **over}


OTHERS_JOB = make_job(uid="uid-other")
ENDED = [{"name": "trainer", "state": {"terminated": {"exitCode": 0}}}]


@pytest.mark.parametrize(
    ("status", "pod", "address"),
    [
        pytest.param(RUNNING, {}, "10.0.0.1", id="running"),
        pytest.param({**RUNNING, "phase": "Starting"}, {}, None, id="not running yet"),
        pytest.param({**RUNNING, "attempt": 1}, {}, None, id="an older attempt's pod"),
        pytest.param({**RUNNING, "run": 2}, {}, None, id="an older run's pod"),
        pytest.param(RUNNING, {"status": {}}, None, id="no address yet"),
        pytest.param(None, {}, None, id="no status"),
        pytest.param({**RUNNING, "attempt": "0"}, {}, None, id="an odd status"),
        pytest.param(RUNNING, {"status": runs(phase="Succeeded")}, None, id="ended: its address may be another's"),
        pytest.param(RUNNING, {"status": runs(containerStatuses=ENDED)}, None, id="its trainer has ended"),
        pytest.param(RUNNING, {"metadata": {"name": "job-1-0-0x"}}, None, id="of another name"),
        pytest.param(RUNNING, {"metadata": {"namespace": "theirs"}}, None, id="in another namespace"),
        pytest.param(RUNNING, {"metadata": {"ownerReferences": owned_by(OTHERS_JOB)}}, None, id="another job's"),
        pytest.param(RUNNING, {"metadata": {"ownerReferences": []}}, None, id="nobody's"),
        pytest.param(RUNNING, {"metadata": {"labels": {}}}, "10.0.0.1", id="whatever its labels say"),
    ],
)
def test_rank_0_of_the_running_attempt_is_asked(status: Any, pod: Any, address: str | None) -> None:
    """The one rule of what is ours: namespace, name, controller."""
    cluster, job = Cluster(lambda _: None), make_job(status=status)
    cluster.pods.observe(make_pod(job, 0, version=1, **{"status": runs(), **pod}))
    cluster.pods.observe(make_pod(job, 1, version=2, status=runs("10.0.0.2")))
    target = target_of(job, cluster.pods.get)
    assert (target.address if target else None) == address


def test_a_foreign_pod_with_the_jobs_uid_and_labels_is_never_asked() -> None:
    """Anybody may write both; nobody can have the name in the namespace."""
    cluster, job = Cluster(lambda _: None), make_job(status=RUNNING)
    for version, (namespace, name) in enumerate([("theirs", "job-1-0-0"), ("ns", "a-job-1-0-0")], start=1):
        forged = {"namespace": namespace, "name": name, "uid": name}
        cluster.pods.observe(make_pod(job, 0, version=version, metadata=forged, status=runs("10.6.6.6")))
    assert target_of(job, cluster.pods.get) is None
    cluster.pods.observe(make_pod(job, 0, version=9, status=runs()))
    target = target_of(job, cluster.pods.get)
    assert target is not None
    assert target.address == "10.0.0.1"


async def test_endless_interim_answers_cost_nothing(bench: Bench) -> None:
    """A pod may send ten thousand `100 Continue` in one packet, and go on for ever."""

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000)
                await writer.drain()

    async with await asyncio.start_server(flood, "127.0.0.1", 0) as server:
        poller = Poller(
            lambda: bench.targets,
            on_change=bench.changed.append,
            clock=SystemClock(),
            metrics=bench.metrics,
            interval=0.02,
            port=server.sockets[0].getsockname()[1],
        )
        task = asyncio.create_task(poller.run())
        await eventually(lambda: bench.polls("invalid") >= 3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert bench.polls("unreachable") == 0, "the first answer is the last: nobody waits for a timeout"
    assert bench.changed == []
