"""Conditions are what a job's state is kept in: they say what holds, and the phase is read from them.

Each phase has a condition of its own, so whoever watches conditions misses nothing, and whoever writes another phase
into the status changes nothing. For generic tools (kstatus, Argo CD, Flux) there are Reconciling and Stalled. Terminal
conditions are absorbing within a run. There is no Ready condition: kstatus would wait for it for ever.
"""

from datetime import datetime
from typing import Literal

from footplate.api.status import Condition, Phase, TrainingJobStatus
from footplate.policy import refusal
from footplate.policy.plan import Refusal
from footplate.policy.reasons import Reason

REPLICA_FAILURE = "ReplicaFailure"
"""As apps/v1 has it: pods, or what they need, can't be created or deleted. Present only while that is so."""

EDITS_REFUSED = "EditsRefused"
"""The user has changed what doesn't count on this run. Present only while that is so."""

_PHASES = {
    "Failed": Phase.FAILED,
    "Complete": Phase.SUCCEEDED,
    "Suspended": Phase.SUSPENDED,
    "Suspending": Phase.SUSPENDING,
    "Restarting": Phase.RESTARTING,
    "Running": Phase.RUNNING,
    "Starting": Phase.STARTING,
    "Queued": Phase.QUEUED,
}
"""The phase that each condition means, in the order in which they count; a job of which none holds is Pending."""

_LASTING = ("Queued", "Running", "Suspended", "Complete", "Failed", "Finished")
"""They stay, as False, once they were True; the others are present only while they hold, as kstatus wants it."""

_CHANGING = (Phase.PENDING, Phase.QUEUED, Phase.STARTING, Phase.RESTARTING, Phase.SUSPENDING)


def phase_of(status: TrainingJobStatus) -> Phase | None:
    """The phase that the conditions say; None where the job has no status yet.

    An older operator's status has no condition for three of the phases: its word counts where no condition holds.
    """
    if status.phase is None:
        return None
    holding = {condition.type for condition in status.conditions if condition.status == "True"}
    found = next((phase for type_, phase in _PHASES.items() if type_ in holding), None)
    if found is not None:
        return found
    claims = next((type_ for type_, phase in _PHASES.items() if phase is status.phase), None)
    denied = claims is not None and any(condition.type == claims for condition in status.conditions)
    return Phase.PENDING if denied else status.phase


def update(
    status: TrainingJobStatus,
    *,
    generation: int,
    stalled: bool,
    now: datetime,
    refused_edits: str = "",
    failing: Refusal | None = None,
) -> list[Condition]:
    """The conditions for a status's phase, reason and message.

    Args:
        status: the status, with the conditions as they were.
        generation: generation of the spec that the status speaks of.
        stalled: True where the job can't go on until somebody changes something, though it hasn't failed.
        now: the time.
        refused_edits: what the user has changed and doesn't count, empty where there is nothing of the kind.
        failing: a write that fails, None where none does.
    """
    before = {condition.type: condition for condition in status.conditions}
    phase = status.phase
    held = {type_: phase is means for type_, means in _PHASES.items()}
    held["Finished"] = phase is not None and phase.finished
    held["Stalled"] = stalled or phase is Phase.FAILED
    held["Reconciling"] = phase in _CHANGING and not stalled
    conditions = [
        _condition(type_, holds, status, before=before.get(type_), generation=generation, now=now)
        for type_, holds in held.items()
        if holds or (type_ in before and type_ in _LASTING)
    ]
    if refused_edits:
        said = status.model_copy(update={"reason": Reason.EDIT_REFUSED, "message": refused_edits})
        known = before.get(EDITS_REFUSED)
        conditions.append(_condition(EDITS_REFUSED, True, said, before=known, generation=generation, now=now))
    if failing is not None:
        conditions.append(_failure(failing, before=before.get(REPLICA_FAILURE), generation=generation, now=now))
    return conditions


def _failure(failing: Refusal, *, before: Condition | None, generation: int, now: datetime) -> Condition:
    return Condition(
        type=REPLICA_FAILURE,
        status="True",
        reason=refusal.reason_of(failing),
        message=refusal.describe(failing),
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before is not None else now,
    )


def _condition(
    type_: str, holds: bool, status: TrainingJobStatus, *, before: Condition | None, generation: int, now: datetime
) -> Condition:
    value: Literal["True", "False"] = "True" if holds else "False"
    if before is not None and before.status == value and not holds:
        return before
    since = before.last_transition_time if before is not None and before.status == value else now
    return Condition(
        type=type_,
        status=value,
        reason=status.reason or "Unknown",
        message=status.message or "",
        observed_generation=generation,
        last_transition_time=since,
    )
