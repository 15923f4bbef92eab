"""What a write of the status adds to the metrics."""

from datetime import timedelta
from typing import Any

import pytest

from footplate.api.scalars import format_time
from footplate.api.status import Phase, TrainingJobStatus
from footplate.policy.measures import Measures, measure
from unit.policy.build import NOW, at, job, look, pod

JSON = dict[str, Any]
READ = TrainingJobStatus.model_validate


def seen(before: JSON, after: JSON, *, created: float = -60) -> Measures:
    raw = job()
    raw["metadata"]["creationTimestamp"] = format_time(NOW + timedelta(seconds=created))
    base = {"run": 1}
    return measure(raw, before=READ({**base, **before}), after=READ({**base, **after}), now=NOW)


def passed(*phases: tuple[str, float]) -> JSON:
    return {"phase": phases[-1][0], "transitions": [{"phase": phase, "time": at(since)} for phase, since in phases]}


QUEUED = passed(("Queued", -30))
PHASES = [
    pytest.param(QUEUED, passed(("Queued", -30), ("Starting", 0)), (Phase.QUEUED, 30), id="over"),
    pytest.param(QUEUED, {**QUEUED, "message": "still"}, None, id="lasts"),
    pytest.param(passed(("Pending", -30)), QUEUED, None, id="one of no interest"),
    pytest.param(passed(("Running", 90)), passed(("Succeeded", 0)), (Phase.RUNNING, 0), id="a clock that went back"),
    pytest.param({}, QUEUED, None, id="the first"),
    pytest.param({"phase": "Queued"}, passed(("Starting", 0)), None, id="nobody knows since when"),
]


@pytest.mark.parametrize(("before", "after", "phase"), PHASES)
def test_a_phase_is_measured_when_it_is_over(before: JSON, after: JSON, phase: tuple[Phase, float] | None) -> None:
    assert seen(before, after).phase == phase


def attempts(*each: JSON, **more: Any) -> JSON:
    return {"attempts": [{"attempt": number, **attempt} for number, attempt in enumerate(each)], **more}


BARE: JSON = {}
CREATED = {"createdTime": at()}
WAITS = [
    pytest.param(attempts(BARE), attempts(CREATED), 60.0, id="the first gang"),
    pytest.param(attempts(CREATED), attempts(CREATED), None, id="was there"),
    pytest.param(attempts(BARE, BARE), attempts(BARE, CREATED), None, id="a later gang"),
    pytest.param(attempts(BARE), attempts(BARE, BARE), None, id="the first never was"),
    pytest.param(
        attempts(BARE, run=2), attempts(CREATED, run=2, startTime=at(-7)), 7.0, id="another run counts from its start"
    ),
    pytest.param(attempts(BARE), attempts(CREATED, **passed(("Suspended", -50), ("Queued", -3))), None, id="suspended"),
    pytest.param(
        attempts(BARE, run=2),
        attempts(CREATED, run=2, startTime=at(-7), **passed(("Suspended", -50), ("Queued", -3))),
        7.0,
        id="suspended in an earlier run",
    ),
]


@pytest.mark.parametrize(("before", "after", "seconds"), WAITS)
def test_from_the_wish_until_all_pods_are_there(before: JSON, after: JSON, seconds: float | None) -> None:
    assert seen(before, after).pods_created == seconds


def test_a_wish_from_the_future_was_just_made() -> None:
    assert seen(attempts(BARE), attempts(CREATED), created=500).pods_created == 0


def step(number: int | None, *each: JSON, **more: Any) -> JSON:
    return attempts(*(each or (BARE,)), progress={"step": number}, **more)


STEPS = [
    pytest.param(attempts(BARE), step(1), 60.0, id="the first"),
    pytest.param(step(0), step(3), 60.0, id="the first that was seen"),
    pytest.param(step(1), step(2), None, id="the second"),
    pytest.param(step(None), step(500, {"resumedFromStep": 500}), None, id="an earlier run's"),
    pytest.param(step(500, {"resumedFromStep": 500}), step(501, {"resumedFromStep": 500}), 60.0, id="the first since"),
    pytest.param(
        step(0, {"lastStep": 9}, BARE), step(1, {"lastStep": 9}, BARE), None, id="again, as nothing was saved"
    ),
    pytest.param(step(7, run=1), step(1, run=2, startTime=at(-5)), 5.0, id="another run's"),
]


@pytest.mark.parametrize(("before", "after", "seconds"), STEPS)
def test_from_the_wish_until_the_first_step(before: JSON, after: JSON, seconds: float | None) -> None:
    assert seen(before, after).first_step == seconds


def usage(nodes: int, productive: int | None = None, **accelerators: int) -> JSON:
    held = {f"{name}.com/gpu": seconds for name, seconds in accelerators.items()}
    total = sum(held.values()) or nodes
    split = {} if productive is None else {"productiveSeconds": productive, "lostSeconds": total - productive}
    return {"usage": {"nodeSeconds": nodes, "acceleratorSeconds": held, **split}}


SPENT = [
    pytest.param({}, usage(10), {"node": {"unknown": 10}}, id="says nothing"),
    pytest.param(usage(10, 4), usage(16, 9), {"node": {"productive": 5, "lost": 1}}, id="nodes"),
    pytest.param(usage(10, 9), usage(12, 3), {"node": {"productive": -6, "lost": 8}}, id="turned out to be lost"),
    pytest.param(usage(10), usage(10, 4), {"node": {"productive": 4, "lost": 6, "unknown": -10}}, id="says it now"),
    pytest.param({}, usage(1, 60, a=80), {"a.com/gpu": {"productive": 60, "lost": 20}}, id="accelerators"),
    pytest.param(
        {},
        usage(1, 40, a=60, b=20),
        {"a.com/gpu": {"productive": 30, "lost": 30}, "b.com/gpu": {"productive": 10, "lost": 10}},
        id="of two kinds",
    ),
    pytest.param({**usage(100), "run": 1}, {**usage(5), "run": 2}, {"node": {"unknown": 5}}, id="another run"),
    pytest.param(usage(10, 4), usage(10, 4), {}, id="nothing new"),
    pytest.param({}, usage(0, a=0), {}, id="holds nothing yet"),
]


@pytest.mark.parametrize(("before", "after", "spent"), SPENT)
def test_what_is_spent(before: JSON, after: JSON, spent: JSON) -> None:
    found = seen(before, after).spent
    assert {name: {key: each for key, each in parts.items() if each} for name, parts in found.items()} == spent


FINISHED = [
    pytest.param("Running", "Succeeded", {"node": {"productive": 6, "lost": 4}}, id="its end"),
    pytest.param("Running", "Failed", {"node": {"productive": 6, "lost": 4}}, id="a bad one"),
    pytest.param("Running", "Restarting", {}, id="isn't over"),
    pytest.param("Failed", "Failed", {}, id="was over"),
]


@pytest.mark.parametrize(("before", "after", "finished"), FINISHED)
def test_a_run_is_summed_up_at_its_end(before: str, after: str, finished: JSON) -> None:
    found = seen({"phase": before, **usage(10, 5)}, {"phase": after, **usage(10, 6)}).finished
    assert {name: {key: round(each, 6) for key, each in parts.items()} for name, parts in found.items()} == finished


def test_a_restart_is_charged_to_its_class() -> None:
    assert seen({"restarts": {"user": 1}}, {"restarts": {"user": 2, "hang": 1}}).restarts == {"user": 1, "hang": 1}
    assert seen({"restarts": {"user": 3}, "run": 1}, {"restarts": {"user": 0}, "run": 2}).restarts == {}


def test_a_look_measures_what_it_writes_and_nothing_twice() -> None:
    pods = (pod(0), pod(1, phase="Failed"))
    failed = look(job(), *pods, transitions=[{"phase": "Running", "time": at(-20)}])
    assert failed.status is not None
    assert failed.measures is not None
    assert (failed.measures.restarts, failed.measures.phase) == ({"user": 1}, (Phase.RUNNING, 20))
    assert failed.measures.spent
    again = look({**job(), "status": failed.status}, *pods).measures
    assert again is None or (again.restarts, again.phase, again.spent) == ({}, None, {})


def test_a_look_that_writes_nothing_measures_nothing() -> None:
    settled = look(job(), pod(0), pod(1)).status
    assert look({**job(), "status": settled}, pod(0), pod(1)).measures is None
