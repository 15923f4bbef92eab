"""Conditions say what holds, and the phase is read from them."""

from datetime import timedelta

import pytest

from footplate.api.status import Phase, TrainingJobStatus
from footplate.policy.conditions import phase_of, update
from unit.policy.build import NOW

TRUE = {
    Phase.PENDING: {"Reconciling"},
    Phase.QUEUED: {"Queued", "Reconciling"},
    Phase.STARTING: {"Starting", "Reconciling"},
    Phase.RUNNING: {"Running"},
    Phase.RESTARTING: {"Restarting", "Reconciling"},
    Phase.SUSPENDING: {"Suspending", "Reconciling"},
    Phase.SUSPENDED: {"Suspended"},
    Phase.SUCCEEDED: {"Complete", "Finished"},
    Phase.FAILED: {"Failed", "Finished", "Stalled"},
}

PASSING = ("Reconciling", "Stalled", "Starting", "Restarting", "Suspending")


def step(before: TrainingJobStatus, phase: Phase, *, stalled: bool = False, after: int = 0) -> TrainingJobStatus:
    status = before.model_copy(update={"phase": phase, "reason": "Because", "message": "why"})
    now = NOW + timedelta(seconds=after)
    held = update(status, generation=3, stalled=stalled, now=now)
    return status.model_copy(update={"conditions": held})


def held(status: TrainingJobStatus) -> dict[str, str]:
    return {condition.type: condition.status for condition in status.conditions}


@pytest.mark.parametrize("phase", list(Phase))
def test_of_a_fresh_job(phase: Phase) -> None:
    assert held(step(TrainingJobStatus(), phase)) == dict.fromkeys(TRUE[phase], "True")


@pytest.mark.parametrize("old", list(Phase))
@pytest.mark.parametrize("new", list(Phase))
def test_what_no_longer_holds_is_false_or_absent(old: Phase, new: Phase) -> None:
    after = held(step(step(TrainingJobStatus(), old), new))
    assert {type_ for type_, value in after.items() if value == "True"} == TRUE[new]
    for gone in TRUE[old] - TRUE[new]:
        assert after.get(gone) == (None if gone in PASSING else "False")


def test_stalled_isnt_reconciling() -> None:
    assert held(step(TrainingJobStatus(), Phase.PENDING, stalled=True)) == {"Stalled": "True"}


def test_transition_time_is_when_the_status_changed() -> None:
    first = step(TrainingJobStatus(), Phase.RUNNING)
    again = step(first, Phase.RUNNING, after=60)
    assert again.conditions[0].last_transition_time == NOW
    stopped = step(again, Phase.RESTARTING, after=90)
    running = {condition.type: condition for condition in stopped.conditions}["Running"]
    assert running.last_transition_time == NOW + timedelta(seconds=90)
    assert running.observed_generation == 3


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("written", list(Phase))
def test_the_phase_is_what_the_conditions_say_whatever_is_written_there(phase: Phase, written: Phase) -> None:
    status = step(step(TrainingJobStatus(), Phase.RUNNING), phase)
    assert phase_of(status) is phase
    if phase is not Phase.PENDING:  # of which no condition tells
        assert phase_of(status.model_copy(update={"phase": written})) is phase


def test_a_phase_that_a_condition_denies_isnt_believed() -> None:
    pending = step(step(TrainingJobStatus(), Phase.RUNNING), Phase.PENDING)
    assert phase_of(pending.model_copy(update={"phase": Phase.RUNNING})) is Phase.PENDING


def test_a_status_of_version_0_1_0_keeps_its_phase() -> None:
    assert phase_of(TrainingJobStatus(phase=Phase.RESTARTING)) is Phase.RESTARTING
    assert phase_of(TrainingJobStatus()) is None
