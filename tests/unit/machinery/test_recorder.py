import asyncio
from typing import Any, cast

import pytest

from footplate.errors import ApiUnavailable
from footplate.machinery.metrics import Metrics
from footplate.machinery.recorder import WINDOW_SECONDS, Recorder
from footplate.policy.plan import Event
from unit.machinery.support import FakeClock, make_job, settle

EVENT = Event("Warning", "NodeLost", "node gpu-7 is lost", "Restart")


class FakeEvents:
    def __init__(self) -> None:
        self.created: list[Any] = []
        self.patched: list[Any] = []
        self.error: Exception | None = None

    async def create(self, event: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.created.append(event)
        return event

    async def patch(self, _: Any, namespace: str, name: str, patch: Any) -> None:
        self.patched.append((namespace, name, patch["series"]["count"]))


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.events = FakeEvents()
        self.metrics = Metrics()
        self.recorder = Recorder(cast(Any, self.events), clock=self.clock, metrics=self.metrics, identity="x" * 200)

    async def write(self, *events: Event, job: Any = None) -> None:
        for event in events:
            self.recorder.record(job or make_job(), event)
        task = asyncio.create_task(self.recorder.run())
        await settle()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def count(self, result: str) -> float | None:
        return self.metrics.registry.get_sample_value("footplate_events_total", {"result": result})


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_an_event_says_what_about_whom(bench: Bench) -> None:
    await bench.write(EVENT)
    [event] = bench.events.created
    assert (event["type"], event["reason"], event["note"], event["action"]) == (
        "Warning",
        "NodeLost",
        "node gpu-7 is lost",
        "Restart",
    )
    assert event["regarding"]["uid"] == "uid-job"
    assert event["metadata"]["namespace"] == event["regarding"]["namespace"] == "ns"
    assert event["eventTime"] == "2026-01-01T00:00:00.000000Z"
    assert len(event["reportingInstance"]) <= 128


async def test_the_same_again_becomes_a_count(bench: Bench) -> None:
    await bench.write(EVENT, EVENT)
    await bench.write(EVENT)
    [event] = bench.events.created
    assert bench.events.patched == [("ns", event["metadata"]["name"], count) for count in (2, 3)]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(Event("Warning", "NodeLost", "node gpu-8 is lost", "Restart"), id="another message"),
        pytest.param(Event("Normal", "NodeLost", "node gpu-7 is lost", "Restart"), id="another type"),
    ],
)
async def test_something_else_is_an_event_of_its_own(bench: Bench, second: Event) -> None:
    await bench.write(EVENT, second)
    assert len(bench.events.created) == 2


async def test_another_job_s_is_an_event_of_its_own(bench: Bench) -> None:
    await bench.write(EVENT)
    await bench.write(EVENT, job=make_job(uid="another"))
    assert len(bench.events.created) == 2


async def test_a_series_ends(bench: Bench) -> None:
    await bench.write(EVENT)
    await bench.clock.advance(WINDOW_SECONDS + 1)
    await bench.write(EVENT)
    assert len(bench.events.created) == 2


async def test_a_full_queue_drops_and_never_waits(bench: Bench) -> None:
    for _ in range(1_500):
        bench.recorder.record(make_job(), EVENT)
    assert bench.count("dropped") == 500


@pytest.mark.parametrize("error", [ApiUnavailable("away"), KeyError("a bug")])
async def test_an_event_that_cant_be_written_is_forgotten(bench: Bench, error: Exception) -> None:
    bench.events.error = error
    await bench.write(EVENT, EVENT)
    assert bench.count("failed") == 2
    bench.events.error = None
    await bench.write(EVENT)
    assert bench.count("written") == 1
