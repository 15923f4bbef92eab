"""The last step of every look: makes the new status whole (conditions, generation), compares it with the old one, and
says by an event what changed. What is of little weight waits its turn, so that a busy gang doesn't flood the API.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from footplate.api.status import Phase, TrainingJobStatus
from footplate.objects import block, blocks, number, text
from footplate.policy import conditions, refusal
from footplate.policy.job import UnknownStatus
from footplate.policy.plan import Event, Observed, Plan, Refusal, Step, once_confirmed
from footplate.policy.reasons import Reason
from footplate.policy.share import TAKES_ITS_PLACE
from footplate.text import clean, clean_json

COUNTS_EVERY_SECONDS = 1.0
PROGRESS_EVERY_SECONDS = 15.0
HELD_EVERY_SECONDS = 3.0
"""What a queue says of a job that waits in it is all that its user has."""
LOOK_AT_LEAST_EVERY_SECONDS = 600.0
"""Where something is awaited at all: how long was reckoned by a clock that may have been wrong."""

_PROGRESS_KEYS = frozenset(
    {"progress", "checkpoint", "message", "attempts", "usage", "notes", "stragglers", "tracking", "data"}
)
_COUNT_KEYS = _PROGRESS_KEYS | {"nodes"}
_LIVING = (Phase.PENDING, Phase.QUEUED, Phase.STARTING, Phase.RUNNING)
"""Phases in which what was left unwritten can be learnt again. A pod's last words go with the pod."""

_HELD = (Reason.WAITING_FOR_GANG, Reason.WAITING_FOR_QUEUE)

_TROUBLE = (
    Reason.RUNTIME_NOT_FOUND,
    Reason.RUNTIME_REFUSES,
    Reason.POLICY_REFUSES,
    Reason.PODS_REFUSED,
    Reason.FAILED_CREATE,
    Reason.INVALID_SPEC,
    Reason.EXCEEDS_QUOTA,
)

_KNOWN = frozenset(field.alias or name for name, field in TrainingJobStatus.model_fields.items())

_ACTIONS = {
    Phase.PENDING: "Create",
    Phase.QUEUED: "Schedule",
    Phase.STARTING: "Start",
    Phase.RUNNING: "Run",
    Phase.RESTARTING: "Restart",
    Phase.SUSPENDING: "Suspend",
    Phase.SUSPENDED: "Suspend",
    Phase.SUCCEEDED: "Finish",
    Phase.FAILED: "Fail",
}


def publish(observed: Observed, step: Step, *, now: datetime) -> Plan:
    """The plan that takes the job to the step's status, and does the rest beside it, once it is sure of its ground."""
    return once_confirmed(_plan(observed, step, now=now), observed=observed, doubts=step.doubts)


def _plan(observed: Observed, step: Step, *, now: datetime) -> Plan:
    looks = [min(seconds, LOOK_AT_LEAST_EVERY_SECONDS) for seconds in step.requeue if seconds and seconds > 0]
    if step.status is None:
        return Plan(step.create, step.delete, events=step.notices, requeue_after=min(looks, default=None))
    old: Mapping[str, Any] = block(observed.job, "status")
    new = _whole(observed, step, now=now)
    wait = _wait(old, new, observed=observed, now=now)
    looks += [wait] if wait is not None else []
    soonest = min(looks, default=None)
    if new == old or wait is not None:
        return Plan(step.create, step.delete, events=step.notices, requeue_after=soonest)
    return Plan(
        step.create,
        step.delete,
        new,
        (*_events(old, new), *_refused_edits(old, new), *_failures(old, new), *step.events, *step.notices),
        requeue_after=soonest,
    )


def leave_alone(error: UnknownStatus) -> Plan:
    """Hands off a job whose status isn't understood: what it says may be the work of days."""
    why = (
        f"{error}. This version of the operator doesn't understand what a newer one, or somebody else, has written, "
        "and leaves the job and its pods alone; run the newer operator again, or delete the job"
    )
    event = Event("Warning", Reason.STATUS_NOT_UNDERSTOOD, clean(why), "Reconcile")
    return Plan(events=(event,), requeue_after=LOOK_AT_LEAST_EVERY_SECONDS, left_alone=True)


def _whole(observed: Observed, step: Step, *, now: datetime) -> Mapping[str, Any]:
    """The status as it is written: with generation and conditions, and with what only a newer operator knows."""
    generation, status = number(block(observed.job, "metadata"), "generation") or 0, step.status or TrainingJobStatus()
    held = conditions.update(
        status,
        generation=generation,
        stalled=step.stalled,
        now=now,
        refused_edits=step.refused_edits,
        failing=step.failing or refusal.failing(filter(_is_no_pods_create, observed.refusals), now=now),
    )
    whole = status.model_copy(update={"observed_generation": generation, "conditions": held})
    unknown = {key: value for key, value in block(observed.job, "status").items() if key not in _KNOWN}
    return {**unknown, **clean_json(whole.to_json())}


def _is_no_pods_create(failed: Refusal) -> bool:
    """A pod's may be a scout's, which is no matter of the gang's."""
    return failed.verb == "delete" or failed.kind != "Pod"


def _wait(old: Mapping[str, Any], new: Mapping[str, Any], *, observed: Observed, now: datetime) -> float | None:
    """Seconds until a difference of little weight is worth a write; None where it is worth one now (or is none)."""
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    if _conditions_hold(old, new):
        changed.discard("conditions")
    if _facts(old) != _facts(new):
        return None
    if not changed or observed.status_written is None or changed - _COUNT_KEYS or new.get("phase") not in _LIVING:
        return None
    every = COUNTS_EVERY_SECONDS if changed - _PROGRESS_KEYS else PROGRESS_EVERY_SECONDS
    if new.get("reason") in _HELD:
        every = min(every, HELD_EVERY_SECONDS)
    since = (now - observed.status_written).total_seconds()
    return every - since if 0 <= since < every else None


def _facts(status: Mapping[str, Any]) -> tuple[bool, bool, list[tuple[Any, Any]]]:
    """What attempts have seen for good: it can't be learnt again once a pod is gone. And what the user waits for: that
    training has begun, and why it waits in the queue.
    """
    steps, told = bool(block(status, "progress").get("step")), text(status, "message") != TAKES_ITS_PLACE
    return steps, told, [(each.get("createdTime"), each.get("succeededRanks")) for each in blocks(status, "attempts")]


def _conditions_hold(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """True where the conditions differ in their messages at most."""
    keys = ("type", "status", "reason", "observedGeneration")
    before, after = ([tuple(c.get(key) for key in keys) for c in blocks(status, "conditions")] for status in (old, new))
    return before == after


def _refused_edits(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Event, ...]:
    """An event for edits that don't count, whenever they are others than before."""
    before, after = (text(_condition(status, conditions.EDITS_REFUSED), "message") for status in (old, new))
    return (Event("Warning", Reason.EDIT_REFUSED, after, "Edit"),) if after and after != before else ()


def _condition(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    return next((each for each in blocks(status, "conditions") if each.get("type") == type_), {})


def _events(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Event, ...]:
    """One event for a change of phase, or of the reason for staying in it."""
    same_phase, reason = old.get("phase") == new.get("phase"), str(new.get("reason"))
    if not new.get("phase") or (same_phase and reason in (old.get("reason"), Reason.CREATING_PODS)):
        return ()
    phase = Phase(new["phase"])
    broken = phase in (Phase.FAILED, Phase.RESTARTING) and reason not in (Reason.RESIZED, Reason.RECLAIMED)
    bad = broken or reason in _TROUBLE
    return (
        Event("Warning" if bad else "Normal", reason, clean(f"{phase}: {new.get('message', '')}"), _ACTIONS[phase]),
    )


def _failures(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Event, ...]:
    """A Warning for writes that begin to fail, unless the reason of the phase says it already."""
    before, after = (_condition(status, conditions.REPLICA_FAILURE) for status in (old, new))
    reason = after.get("reason")
    if reason in (None, before.get("reason")) or new.get("reason") in _TROUBLE:
        return ()
    action = "Delete" if reason == Reason.FAILED_DELETE else "Create"
    return (Event("Warning", str(reason), clean(str(after.get("message"))), action),)
