"""The last step of every look: makes the new status whole (conditions, generation), compares it with the old one, and
says by an event what changed. What is of little weight waits its turn, so that a busy gang doesn't flood the API.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from footplate.api.status import Phase, TrainingJobStatus
from footplate.policy import conditions
from footplate.policy.failure import clean
from footplate.policy.plan import Event, Manifest, Observed, Plan, Target
from footplate.policy.reasons import Reason

COUNTS_EVERY_SECONDS = 1.0
PROGRESS_EVERY_SECONDS = 15.0

_PROGRESS_KEYS = frozenset({"progress", "checkpoint", "message", "attempts", "usage"})
_COUNT_KEYS = _PROGRESS_KEYS | {"nodes"}

_TROUBLE = (Reason.RUNTIME_NOT_FOUND, Reason.RUNTIME_REFUSES, Reason.PODS_REFUSED, Reason.INVALID_SPEC)

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
    create: tuple[Manifest, ...] = (),
    delete: tuple[Target, ...] = (),
    requeue: Iterable[float | None] = (),
) -> Plan:
    """The plan that takes the job to `status`, and does the rest beside it."""
    generation = int((observed.job.get("metadata") or {}).get("generation") or 0)
    status = status.model_copy(update={"observed_generation": generation})
    status = status.model_copy(
        update={"conditions": conditions.update(status, generation=generation, stalled=stalled, now=now)}
    )
    old: Mapping[str, Any] = observed.job.get("status") or {}
    new = status.to_json()
    wait = _wait(old, new, observed=observed, now=now)
    looks = [seconds for seconds in (*requeue, wait) if seconds is not None]
    if new == old or wait is not None:
        return Plan(create, delete, requeue_after=_soonest(looks))
    return Plan(create, delete, new, _events(old, new), _soonest(looks))


def _soonest(looks: list[float]) -> float | None:
    return max(0.0, min(looks)) if looks else None


def _wait(old: Mapping[str, Any], new: Mapping[str, Any], *, observed: Observed, now: datetime) -> float | None:
    """Seconds until a difference of little weight is worth a write; None where it is worth one now (or is none)."""
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    if _conditions_hold(old, new):
        changed.discard("conditions")
    if not changed or observed.status_written is None or changed - _COUNT_KEYS:
        return None
    every = COUNTS_EVERY_SECONDS if changed - _PROGRESS_KEYS else PROGRESS_EVERY_SECONDS
    left = every - (now - observed.status_written).total_seconds()
    return left if left > 0 else None


def _conditions_hold(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """True where the conditions differ in their messages at most."""
    before, after = (
        {
            (c.get("type"), c.get("status"), c.get("reason"), c.get("observedGeneration"))
            for c in s.get("conditions", ())
        }
        for s in (old, new)
    )
    return before == after


def _events(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Event, ...]:
    """One event for a change of phase, or of the reason for staying in it."""
    if (old.get("phase"), old.get("reason")) == (new.get("phase"), new.get("reason")) or not new.get("phase"):
        return ()
    phase, reason = Phase(new["phase"]), str(new.get("reason"))
    bad = phase in (Phase.FAILED, Phase.RESTARTING) or reason in _TROUBLE
    text = clean(f"{phase}: {new.get('message', '')}")
    return (Event("Warning" if bad else "Normal", reason, text, _ACTIONS[phase]),)
