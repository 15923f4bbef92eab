"""The last step of every look: makes the new status whole (conditions, generation), compares it with the old one, and
says by an event what changed. What is of little weight waits its turn, so that a busy gang doesn't flood the API.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from footplate.api.status import Phase, TrainingJobStatus
from footplate.objects import Object, block, blocks, number
from footplate.policy import conditions, writes
from footplate.policy.plan import Event, Observed, Plan, Refusal, Target
from footplate.policy.reasons import Reason
from footplate.text import clean, clean_json

COUNTS_EVERY_SECONDS = 1.0
PROGRESS_EVERY_SECONDS = 15.0
LOOK_AT_LEAST_EVERY_SECONDS = 600.0
"""Where something is awaited at all: how long was reckoned by a clock that may have been wrong."""

_PROGRESS_KEYS = frozenset({"progress", "checkpoint", "message", "attempts", "usage", "notes", "stragglers"})
_COUNT_KEYS = _PROGRESS_KEYS | {"nodes"}
_LIVING = (Phase.PENDING, Phase.QUEUED, Phase.STARTING, Phase.RUNNING)
"""Phases in which what was left unwritten can be learnt again. A pod's last words go with the pod."""

_TROUBLE = (
    Reason.RUNTIME_NOT_FOUND,
    Reason.RUNTIME_REFUSES,
    Reason.PODS_REFUSED,
    Reason.FAILED_CREATE,
    Reason.INVALID_SPEC,
)

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


def publish(
    observed: Observed,
    status: TrainingJobStatus,
    *,
    now: datetime,
    stalled: bool = False,
    create: tuple[Object, ...] = (),
    delete: tuple[Target, ...] = (),
    requeue: Iterable[float | None] = (),
    failing: Refusal | None = None,
) -> Plan:
    """The plan that takes the job to `status`, and does the rest beside it. `failing`: a gang's pod that can't be
    created; of all else that fails the observation tells.
    """
    generation = number(block(observed.job, "metadata"), "generation") or 0
    failing = failing or writes.failing(filter(_is_no_pod_s_create, observed.refusals), now=now)
    held = conditions.update(status, generation=generation, stalled=stalled, now=now, failing=failing)
    status = status.model_copy(update={"observed_generation": generation, "conditions": held})
    old: Mapping[str, Any] = block(observed.job, "status")
    new = clean_json(status.to_json())
    wait = _wait(old, new, observed=observed, now=now)
    looks = [min(seconds, LOOK_AT_LEAST_EVERY_SECONDS) for seconds in (*requeue, wait) if seconds and seconds > 0]
    soonest = min(looks, default=None)
    if new == old or wait is not None:
        return Plan(create, delete, requeue_after=soonest)
    return Plan(create, delete, new, (*_events(old, new), *_failures(old, new)), soonest)


def _is_no_pod_s_create(refusal: Refusal) -> bool:
    """A pod's may be a scout's, which is no matter of the gang's."""
    return refusal.verb == "delete" or refusal.kind != "Pod"


def _wait(old: Mapping[str, Any], new: Mapping[str, Any], *, observed: Observed, now: datetime) -> float | None:
    """Seconds until a difference of little weight is worth a write; None where it is worth one now (or is none)."""
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    if _conditions_hold(old, new):
        changed.discard("conditions")
    if not changed or observed.status_written is None or changed - _COUNT_KEYS or new.get("phase") not in _LIVING:
        return None
    every = COUNTS_EVERY_SECONDS if changed - _PROGRESS_KEYS else PROGRESS_EVERY_SECONDS
    since = (now - observed.status_written).total_seconds()
    return every - since if 0 <= since < every else None


def _conditions_hold(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """True where the conditions differ in their messages at most."""
    keys = ("type", "status", "reason", "observedGeneration")
    before, after = ([tuple(c.get(key) for key in keys) for c in blocks(status, "conditions")] for status in (old, new))
    return before == after


def _events(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Event, ...]:
    """One event for a change of phase, or of the reason for staying in it."""
    same_phase, reason = old.get("phase") == new.get("phase"), str(new.get("reason"))
    if not new.get("phase") or (same_phase and reason in (old.get("reason"), Reason.CREATING_PODS)):
        return ()
    phase = Phase(new["phase"])
    broken = phase in (Phase.FAILED, Phase.RESTARTING) and reason != Reason.RESIZED
    bad = broken or reason in _TROUBLE
    return (
        Event("Warning" if bad else "Normal", reason, clean(f"{phase}: {new.get('message', '')}"), _ACTIONS[phase]),
    )


def _failures(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Event, ...]:
    """A Warning for writes that begin to fail, unless the reason of the phase says it already."""
    before, after = (
        next((c for c in blocks(status, "conditions") if c.get("type") == conditions.REPLICA_FAILURE), {})
        for status in (old, new)
    )
    reason = after.get("reason")
    if reason in (None, before.get("reason")) or new.get("reason") in _TROUBLE:
        return ()
    action = "Delete" if reason == Reason.FAILED_DELETE else "Create"
    return (Event("Warning", str(reason), clean(str(after.get("message"))), action),)
