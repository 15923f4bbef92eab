"""When a difference is written, and what is said of it."""

from datetime import timedelta
from typing import Any

import pytest

from footplate.api.reports import CurveStatus, ProgressStatus
from footplate.api.status import Phase, TrainingJobStatus
from footplate.policy.job import move
from footplate.policy.plan import Step
from footplate.policy.reasons import Reason
from footplate.policy.status import publish
from unit.policy.build import NOW, job, observe

JSON = dict[str, Any]


def settled() -> JSON:
    """A job whose status is as the operator would write it."""
    observed = observe(job())
    status = TrainingJobStatus.model_validate(observed.job["status"])
    status = status.model_copy(update={"progress": ProgressStatus(step=4)})
    running = move(status, Phase.RUNNING, Reason.ALL_PODS_RUNNING, "", now=NOW)
    written = publish(observed, Step(running), now=NOW).status
    return {**observed.job, "status": written}


JOB = settled()
STATUS = TrainingJobStatus.model_validate(JOB["status"])


def plan_for(changed: dict[str, Any], *, written: float | None = None, requeue: Any = ()) -> Any:
    at = None if written is None else NOW + timedelta(seconds=written)
    observed = observe(JOB, status_written=at)
    return publish(observed, Step(STATUS.model_copy(update=changed), requeue=tuple(requeue)), now=NOW)


def test_nothing_changed_nothing_written() -> None:
    plan = plan_for({})
    assert (plan.status, plan.events, plan.requeue_after) == (None, (), None)


PROGRESS = {"progress": ProgressStatus(step=5), "message": "step 5"}
WRITES = [
    pytest.param(PROGRESS, None, True, None, id="the first write of this process"),
    pytest.param(PROGRESS, -14, False, 1.0, id="progress waits"),
    pytest.param(PROGRESS, -15, True, None, id="progress is due"),
    pytest.param(PROGRESS, 5, True, None, id="the clock went back"),
    pytest.param(
        {"progress": ProgressStatus(step=5, history=CurveStatus(steps=[5]))}, -14, False, 1.0, id="a curve too"
    ),
    pytest.param({"progress": ProgressStatus(step=0)}, 0, True, None, id="whether there is a step never waits"),
    pytest.param({"reason": "Other"}, 0, True, None, id="a reason never waits"),
    pytest.param({"phase": Phase.FAILED}, 0, True, None, id="a phase never waits"),
    pytest.param({"attempt": 1}, 0, True, None, id="a counter never waits"),
]


@pytest.mark.parametrize(("changed", "written", "writes", "requeue"), WRITES)
def test_throttle(changed: JSON, written: float | None, writes: bool, requeue: float | None) -> None:
    plan = plan_for(changed, written=written)
    assert (plan.status is not None) is writes
    assert plan.requeue_after == requeue


@pytest.mark.parametrize("phase", [Phase.RESTARTING, Phase.SUSPENDING, Phase.SUSPENDED, Phase.FAILED])
def test_last_words_never_wait(phase: Phase) -> None:
    ending = {**JOB, "status": {**JOB["status"], "phase": phase}}
    status = TrainingJobStatus.model_validate(ending["status"]).model_copy(update=PROGRESS)
    assert publish(observe(ending, status_written=NOW), Step(status), now=NOW).status is not None


def test_counts_wait_a_second() -> None:
    counts = observe(job(), nodes={}).job["status"] | {"nodes": {"desired": 2}}
    changed = {"nodes": TrainingJobStatus.model_validate(counts).nodes}
    assert plan_for(changed, written=-0.25).requeue_after == 0.75
    assert plan_for(changed, written=-1).status is not None


def test_the_soonest_look_counts_and_none_that_is_past() -> None:
    assert plan_for({}, requeue=[7.0, None, 3.0, -1.0, 0.0]).requeue_after == 3.0


@pytest.mark.parametrize(
    ("phase", "reason", "event"),
    [
        (Phase.RUNNING, Reason.ALL_PODS_RUNNING, None),
        (Phase.RUNNING, Reason.CREATING_PODS, None),
        (Phase.SUCCEEDED, Reason.COMPLETED, ("Normal", "Completed", "Finish")),
        (Phase.RESTARTING, Reason.NODE_LOST, ("Warning", "NodeLost", "Restart")),
        (Phase.FAILED, Reason.DATA_ERROR, ("Warning", "DataError", "Fail")),
        (Phase.PENDING, Reason.PODS_REFUSED, ("Warning", "PodsRefused", "Create")),
    ],
)
def test_events(phase: Phase, reason: Reason, event: tuple[str, str, str] | None) -> None:
    events = plan_for({"phase": phase, "reason": reason, "message": "m"}).events
    assert [(e.type, e.reason, e.action) for e in events] == ([event] if event else [])
    assert [e.message for e in events] == ([f"{phase}: m"] if event else [])


def test_observed_generation_follows() -> None:
    observed = observe({**JOB, "metadata": {**JOB["metadata"], "generation": 9}})
    plan = publish(observed, Step(STATUS), now=NOW)
    assert plan.status is not None
    assert plan.status["observedGeneration"] == 9


def test_tenants_text_is_fit_to_print() -> None:
    progress = ProgressStatus(metrics={"lo\x1bss": 1.0})
    plan = plan_for({"progress": progress, "message": "a\x00b"})
    assert (plan.status["message"], plan.status["progress"]["metrics"]) == ("ab", {"loss": 1.0})
