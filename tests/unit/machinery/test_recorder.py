import asyncio
from typing import Any, cast

import pytest

from footplate.api.trainingjob import MAX_NODES
from footplate.errors import ApiUnavailable, Refused
from footplate.machinery.metrics import Metrics
from footplate.machinery.recorder import BURST, CAPACITY, REFILL_SECONDS, WINDOW_SECONDS, Recorder
from footplate.policy.plan import Event
from unit.machinery.support import FakeClock, make_job, settle

EVENT = Event("Warning", "NodeLost", "node gpu-7 is lost", "Restart")
NOTE = Event("Warning", "TrainerNote", "a checkpoint was damaged", "Train")


class FakeEvents:
    def __init__(self) -> None:
        self.created: list[Any] = []
        self.patched: list[Any] = []
        self.error: Exception | None = None
        self.hangs: set[str] = set()
        self.turns: list[int] = []

    async def create(self, event: Any, *, turn: int) -> Any:
        self.turns.append(turn)
        if event["metadata"]["namespace"] in self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        self.created.append(event)
        return event

    async def patch(self, _: Any, namespace: str, name: str, patch: Any, *, turn: int) -> None:
        self.turns.append(turn)
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


async def test_no_event_goes_before_the_pods_of_the_largest_gang(bench: Bench) -> None:
    await bench.write(EVENT, EVENT)
    assert len(bench.events.turns) == 2
    assert min(bench.events.turns) > MAX_NODES


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
    for number in range(CAPACITY + 50):
        bench.recorder.record(make_job(uid=str(number)), EVENT)
    assert bench.count("dropped") == 50


async def test_what_says_that_training_failed_outranks_notes(bench: Bench) -> None:
    for number in range(CAPACITY):
        bench.recorder.record(make_job(uid=str(number)), NOTE)
    bench.recorder.record(make_job(uid="x"), NOTE)
    bench.recorder.record(make_job(uid="x"), EVENT)
    bench.recorder.record(make_job(uid="x"), Event("Normal", "Completed", "m", "Finish"))
    await bench.write()
    assert [event["reason"] for event in bench.events.created][-2:] == ["NodeLost", "Completed"]
    assert (len(bench.events.created), bench.count("dropped")) == (CAPACITY, 3)


async def test_a_job_has_a_burst_then_one_event_every_five_minutes(bench: Bench) -> None:
    await bench.write(*(different(number) for number in range(60)))
    assert (len(bench.events.created), bench.count("filtered")) == (BURST, 60 - BURST)
    await bench.write(different(99), job=make_job(uid="another"))
    assert len(bench.events.created) == BURST + 1
    await bench.clock.advance(REFILL_SECONDS - 1)
    await bench.write(different(100))
    assert len(bench.events.created) == BURST + 1
    await bench.clock.advance(1)
    await bench.write(different(101), different(102))
    assert len(bench.events.created) == BURST + 2


async def test_notes_leave_room_for_failures(bench: Bench) -> None:
    notes = (Event("Warning", "TrainerNote", str(number), "Train") for number in range(60))
    await bench.write(*notes)
    written = len(bench.events.created)
    assert written < BURST
    await bench.write(EVENT)
    assert bench.events.created[-1]["reason"] == "NodeLost"


async def test_slow_writes_of_one_namespace_hold_up_no_other(bench: Bench) -> None:
    bench.events.hangs = {"slow"}
    task = asyncio.create_task(bench.recorder.run())
    for number in range(CAPACITY):
        bench.recorder.record(make_job(uid=str(number), metadata={"namespace": "slow"}), EVENT)
    await settle()
    bench.recorder.record(make_job(), EVENT)
    await settle()
    assert [event["metadata"]["namespace"] for event in bench.events.created] == ["ns"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_note_is_cut_by_bytes_and_is_one_line(bench: Bench) -> None:
    await bench.write(Event("Warning", "UserError", "first\nsecond " + "ü" * 2_000, "Fail"))
    note = bench.events.created[0]["note"]
    assert note.startswith("first | second")
    assert len(note.encode()) <= 1_024


async def test_an_event_whose_answer_was_lost_is_tried_again_later(bench: Bench) -> None:
    bench.events.error = ApiUnavailable("away")
    task = asyncio.create_task(bench.recorder.run())
    bench.recorder.record(make_job(), EVENT)
    await settle()
    assert bench.events.created == []
    bench.events.error = None
    await bench.clock.advance(1)
    assert len(bench.events.created) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("error", [ApiUnavailable("away"), Refused(403, "Forbidden", "no"), KeyError("a bug")])
async def test_an_event_that_cant_be_written_is_forgotten(bench: Bench, error: Exception) -> None:
    bench.events.error = error
    task = asyncio.create_task(bench.recorder.run())
    bench.recorder.record(make_job(), EVENT)
    bench.recorder.record(make_job(), EVENT)
    await bench.clock.advance(60)
    assert bench.count("failed") == 2
    bench.events.error = None
    bench.recorder.record(make_job(), EVENT)
    await settle()
    assert bench.count("written") == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def different(number: int) -> Event:
    return Event("Warning", "UserError", f"the {number}th", "Restart")
