"""Events about what is new in a status, besides its phase."""

from typing import Any

import pytest

from footplate.api.status import TrainingJobStatus
from footplate.contract import Progress
from footplate.policy.events import news
from footplate.policy.plan import Event
from footplate.policy.resolve import resolve
from unit.policy.build import UID, at, job, look, pod

JSON = dict[str, Any]
SLOW = {"rank": 5, "nodeRank": 1, "node": "gpu-7", "factor": 1.8}


def events(before: JSON, after: JSON, *, grace: int = 30) -> list[Event]:
    spec = resolve(job({"runPolicy": {"terminationGracePeriodSeconds": grace}}), None, run=1).spec
    read = TrainingJobStatus.model_validate
    return [*news(before=read(before), after=read(after), spec=spec)]


def saved(seconds: float | None) -> JSON:
    return {"checkpoint": {"uri": "s3://c/5/", "step": 5, "saveSeconds": seconds}}


CASES = [
    pytest.param({}, {"notes": ["a", "b"]}, ["TrainerNote", "TrainerNote"], id="notes"),
    pytest.param({"notes": ["a"]}, {"notes": ["a", "b"]}, ["TrainerNote"], id="a note more"),
    pytest.param({"notes": ["a", "b"]}, {"notes": ["b"]}, [], id="a note less"),
    pytest.param({}, {"stragglers": [SLOW]}, ["Straggler"], id="straggler"),
    pytest.param({"stragglers": [SLOW]}, {"stragglers": [{**SLOW, "factor": 2.5}]}, [], id="slower still"),
    pytest.param({"stragglers": [SLOW]}, {"stragglers": [{**SLOW, "node": "gpu-8"}]}, ["Straggler"], id="elsewhere"),
    pytest.param({"stragglers": [SLOW]}, {}, [], id="none any more"),
    pytest.param({}, saved(40), ["GraceTooShort"], id="the first save takes too long"),
    pytest.param(saved(5), saved(17), ["GraceTooShort"], id="it grew"),
    pytest.param(saved(16), saved(16.6), [], id="just fits"),
    pytest.param(saved(17), saved(40), [], id="said already"),
    pytest.param(saved(40), saved(5), [], id="fits again"),
    pytest.param({}, saved(None), [], id="not known"),
    pytest.param({}, {}, [], id="nothing"),
]


@pytest.mark.parametrize(("before", "after", "reasons"), CASES)
def test_what_is_news(before: JSON, after: JSON, reasons: list[str]) -> None:
    found = events(before, after)
    assert [event.reason for event in found] == reasons
    assert all(event.type == "Warning" and len(event.message) <= 1024 for event in found)


def test_nothing_is_said_of_what_is_not_written() -> None:
    assert [*news(before=TrainingJobStatus(), after=None, spec=resolve(job(), None, run=1).spec)] == []


def test_the_phase_has_its_event_too() -> None:
    plan = look(job(), pod(0), pod(1, phase="Failed"), notes=[], progress=None)
    assert [event.reason for event in plan.events] == ["UserError"]


def test_a_straggler_is_named_with_the_way_out() -> None:
    (event,) = events({}, {"stragglers": [SLOW]})
    for part in ("rank 5", "gpu-7", "1.8 times", "kubectl cordon gpu-7", "runPolicy.suspend"):
        assert part in event.message


@pytest.mark.parametrize(
    ("grace", "took", "left", "enough"), [(30, 40, "25 s", "65 s"), (10, 8, "8 s", "15 s"), (120, 80, "115 s", "125 s")]
)
def test_the_grace_with_both_figures_and_what_would_do(grace: int, took: float, left: str, enough: str) -> None:
    (event,) = events({}, saved(took), grace=grace)
    for part in (f"terminationGracePeriodSeconds is {grace} s", left, f"took {took} s", f"at least {enough}"):
        assert part in event.message
    assert events({}, saved(took), grace=int(enough.removesuffix(" s"))) == []
    assert events({}, saved(took), grace=int(enough.removesuffix(" s")) - 1) != []


def test_a_damaged_checkpoint_reaches_status_and_event() -> None:
    note = "checkpoint s3://c/9/ is damaged: \x1b[31mw.safetensors"
    raw = {"uid": UID, "run": 1, "attempt": 0, "progress": {"step": 9, "updateTime": at()}, "notes": [note]}
    plan = look(job(), pod(0), pod(1), progress=Progress.model_validate(raw))
    assert plan.status is not None
    assert plan.status["notes"] == [note.replace("\x1b", "")]
    assert [(event.reason, event.message) for event in plan.events[1:]] == [("TrainerNote", note.replace("\x1b", ""))]
