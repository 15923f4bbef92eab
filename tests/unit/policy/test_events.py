"""Events about what is new in a status, besides its phase."""

from typing import Any

import pytest

from footplate.api.status import TrainingJobStatus
from footplate.contract import Progress
from footplate.machinery.recorder import BURST
from footplate.policy.events import news
from footplate.policy.plan import Event
from footplate.policy.reasons import MILESTONES, NOTICES
from footplate.policy.resolve import resolve
from unit.policy.build import UID, at, job, look, pod

JSON = dict[str, Any]
SLOW = {"rank": 5, "nodeRank": 1, "node": "gpu-7", "factor": 1.8}


def events(before: JSON, after: JSON, *, grace: int = 30) -> list[Event]:
    spec = resolve(job({"runPolicy": {"terminationGracePeriodSeconds": grace}}), None, run=1).spec
    read = TrainingJobStatus.model_validate
    return [*news(before=read(before), after=read(after), spec=spec)]


def warnings(before: JSON, after: JSON, *, grace: int = 30) -> list[Event]:
    return [event for event in events(before, after, grace=grace) if event.type == "Warning"]


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
    found = [event for event in events(before, after) if event.reason not in MILESTONES]
    assert [event.reason for event in found] == reasons
    assert all(event.type == "Warning" and len(event.message) <= 1024 for event in found)


def gang(number: int = 0, **more: Any) -> JSON:
    return {"attempt": number, **more}


def at_step(step: int | None, *attempts: JSON, total: int | None = None, saved: int | None = None) -> JSON:
    checkpoint = {} if saved is None else {"checkpoint": {"uri": f"s3://c/{saved}/", "step": saved, "saveSeconds": 2}}
    return {"attempts": [*(attempts or (gang(),))], "progress": {"step": step, "totalSteps": total}, **checkpoint}


RESUMED = gang(1, resumedFromStep=500)
MODEL = {"uri": "s3://m/1/", "manifest": "s3://m/1/m.json", "sha256": "a" * 64, "sizeBytes": 5_000}
STORY = [
    pytest.param(
        at_step(None), at_step(3), {"FirstStep": "training makes its first steps: step 3 is done"}, id="first step",
    ),
    pytest.param(at_step(3), at_step(4), {}, id="second"),
    pytest.param(at_step(None), {"attempts": [gang()]}, {}, id="none"),
    pytest.param(
        at_step(811, gang(lastStep=811), gang(1)),
        at_step(811, gang(lastStep=811), RESUMED),
        {"ResumedFromCheckpoint": "attempt 1 resumed from step 500; 311 steps after it must be done again"},
        id="resumed",
    ),
    pytest.param(
        at_step(500, gang(lastStep=500), gang(1)),
        at_step(500, gang(lastStep=500), RESUMED),
        {"ResumedFromCheckpoint": "attempt 1 resumed from step 500"},
        id="resumed, and nothing was lost",
    ),
    pytest.param(at_step(600, RESUMED), at_step(601, RESUMED), {}, id="had resumed"),
    pytest.param(at_step(1), at_step(1, gang(resumedFromStep=0)), {}, id="began anew"),
    pytest.param(
        at_step(9), at_step(9, saved=8),
        {"CheckpointSaved": "a checkpoint of step 8 was saved in 2.0 s: s3://c/8/"}, id="the first checkpoint",
    ),
    pytest.param(at_step(9, RESUMED), at_step(9, RESUMED, saved=500), {}, id="what it resumed from"),
    pytest.param(at_step(30, total=100, saved=10), at_step(30, total=100, saved=24), {}, id="the same quarter"),
    pytest.param(
        at_step(30, total=100, saved=24), at_step(30, total=100, saved=26),
        {"CheckpointSaved": "a checkpoint of step 26 was saved in 2.0 s: s3://c/26/"}, id="another quarter",
    ),
    pytest.param(at_step(300, saved=64), at_step(300, saved=127), {}, id="of no known length: not doubled"),
    pytest.param(
        at_step(300, saved=127), at_step(300, saved=128),
        {"CheckpointSaved": "a checkpoint of step 128 was saved in 2.0 s: s3://c/128/"}, id="doubled",
    ),
    pytest.param(at_step(300, saved=128), at_step(300, saved=64), {}, id="back to an older one"),
    pytest.param(
        at_step(9), {**at_step(9), "artifact": MODEL | {"accepted": False}},
        {"ModelVerified": "the model is stored and verified, but it isn't accepted: s3://m/1/ (5,000 bytes)"},
        id="a model that its gates refuse",
    ),
    pytest.param(
        at_step(9), {**at_step(9), "artifact": MODEL},
        {"ModelVerified": "the model is stored and verified: s3://m/1/ (5,000 bytes)"}, id="model",
    ),
    pytest.param({**at_step(9), "artifact": MODEL}, {**at_step(9), "artifact": MODEL}, {}, id="the same model"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "told"), STORY)
def test_the_story_of_a_run(before: JSON, after: JSON, told: dict[str, str]) -> None:
    found = events(before, after)
    assert {event.reason: event.message for event in found} == told
    assert all(event.type == "Normal" and event.reason in NOTICES for event in found)


@pytest.mark.parametrize("total", [None, 1_000_000])
def test_a_long_story_stays_short(total: int | None) -> None:
    """A checkpoint every ten steps, for a million: within what one job may say at once."""
    said, before = 0, at_step(1, total=total)
    for step in range(10, 1_000_000, 10):
        after = at_step(step, total=total, saved=step)
        if step % 5000 == 0 or step < 2000:
            said += len(events(before, after))
            before = after
    assert 2 < said <= BURST


def test_nothing_is_said_of_what_is_not_written() -> None:
    assert [*news(before=TrainingJobStatus(), after=None, spec=resolve(job(), None, run=1).spec)] == []


def test_the_phase_has_its_event_too() -> None:
    plan = look(job(), pod(0), pod(1, phase="Failed"), notes=[], progress=None)
    assert [event.reason for event in plan.events] == ["UserError"]


def test_a_straggler_is_named_with_the_way_out() -> None:
    (event,) = warnings({}, {"stragglers": [SLOW]})
    for part in ("rank 5", "gpu-7", "1.8 times", "kubectl cordon gpu-7", "runPolicy.suspend"):
        assert part in event.message


@pytest.mark.parametrize(
    ("grace", "took", "left", "enough"), [(30, 40, "25 s", "65 s"), (10, 8, "8 s", "15 s"), (120, 80, "115 s", "125 s")]
)
def test_the_grace_with_both_figures_and_what_would_do(grace: int, took: float, left: str, enough: str) -> None:
    (event,) = warnings({}, saved(took), grace=grace)
    for part in (f"terminationGracePeriodSeconds is {grace} s", left, f"took {took} s", f"at least {enough}"):
        assert part in event.message
    assert warnings({}, saved(took), grace=int(enough.removesuffix(" s"))) == []
    assert warnings({}, saved(took), grace=int(enough.removesuffix(" s")) - 1) != []


def test_a_damaged_checkpoint_reaches_status_and_event() -> None:
    note = "checkpoint s3://c/9/ is damaged: \x1b[31mw.safetensors"
    raw = {"uid": UID, "run": 1, "attempt": 0, "progress": {"step": 9, "updateTime": at()}, "notes": [note]}
    plan = look(job(), pod(0), pod(1), progress=Progress.model_validate(raw))
    assert plan.status is not None
    assert plan.status["notes"] == [note.replace("\x1b", "")]
    told = [(event.reason, event.message) for event in plan.events if event.type == "Warning"]
    assert told == [("TrainerNote", note.replace("\x1b", ""))]
