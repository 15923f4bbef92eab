"""Conditions from the phase: for `kubectl wait`, and for generic tools (kstatus, Argo CD, Flux).

Terminal conditions are absorbing within a run. There is no Ready condition: kstatus would wait for it for ever.
"""

from datetime import datetime
from typing import Literal

from footplate.api.status import Condition, Phase, TrainingJobStatus
from footplate.policy import writes
from footplate.policy.plan import Refusal

REPLICA_FAILURE = "ReplicaFailure"
"""As apps/v1 has it: pods, or what they need, can't be created or deleted. Present only while that is so."""

_HOLDS = {
    "Queued": (Phase.QUEUED,),
    "Running": (Phase.RUNNING,),
    "Suspended": (Phase.SUSPENDED,),
    "Complete": (Phase.SUCCEEDED,),
    "Failed": (Phase.FAILED,),
    "Finished": (Phase.SUCCEEDED, Phase.FAILED),
}
_WHILE_TRUE = {
    "Reconciling": (Phase.PENDING, Phase.QUEUED, Phase.STARTING, Phase.RESTARTING, Phase.SUSPENDING),
    "Stalled": (Phase.FAILED,),
}
"""Present while they hold, absent after, as kstatus wants it."""


def update(
    status: TrainingJobStatus, *, generation: int, stalled: bool, now: datetime, failing: Refusal | None = None
) -> list[Condition]:
    """The conditions for a status's phase, reason and message.

    Args:
        status: the status, with the conditions as they were.
        generation: generation of the spec that the status speaks of.
        stalled: True where the job can't go on until somebody changes something, though it hasn't failed.
        now: the time.
        failing: a write that fails, None where none does.
    """
    before = {condition.type: condition for condition in status.conditions}
    phase = status.phase
    held: dict[str, bool] = {type_: phase in phases for type_, phases in _HOLDS.items()}
    held |= {type_: phase in phases for type_, phases in _WHILE_TRUE.items()}
    if stalled:
        held |= {"Stalled": True, "Reconciling": False}
    conditions = [
        _condition(type_, holds, status, before=before.get(type_), generation=generation, now=now)
        for type_, holds in held.items()
        if holds or (type_ in before and type_ in _HOLDS)
    ]
    if failing is not None:
        conditions.append(_failure(failing, before=before.get(REPLICA_FAILURE), generation=generation, now=now))
    return conditions


def _failure(failing: Refusal, *, before: Condition | None, generation: int, now: datetime) -> Condition:
    return Condition(
        type=REPLICA_FAILURE,
        status="True",
        reason=writes.reason_of(failing),
        message=writes.describe(failing),
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
