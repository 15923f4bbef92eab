"""What a write of the status adds to the operator's metrics: how long a phase took, what was spent, who pays.

Pure from the status before and after, and counted when, and only when, that status is written. So nothing counts twice,
whatever is looked at again, refused or tried again, and whoever leads by then; what a write brought of which the answer
was lost isn't counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from footplate.api.status import Attempt, Phase, Restarts, TrainingJobStatus
from footplate.api.usage import Usage
from footplate.objects import Object, block, time

PHASES = (Phase.QUEUED, Phase.STARTING, Phase.RUNNING, Phase.RESTARTING)
"""Those of which it matters how long they take."""

OUTCOMES = ("productive", "lost", "unknown")
"""What became of the seconds that pods have held; unknown where the code doesn't say what it does."""

NODE = "node"
"""The resource of jobs without accelerators."""


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one write. Durations are seconds, None where the write brings none."""

    restarts: Mapping[str, int] = field(default_factory=dict)
    """Gang restarts more, by who pays."""
    phase: tuple[Phase, float] | None = None
    """A phase of `PHASES` that is over, and how long it took."""
    pods_created: float | None = None
    """From the wish for a run until all pods of its first gang were there."""
    first_step: float | None = None
    """From the wish for a run until its first step was done."""
    spent: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Seconds more that the run has held, by resource and outcome. One may be negative: what turns out to be lost isn't
    productive any more.
    """
    cost: tuple[str, float] | None = None
    """Currency, and money more that the run has cost; None where it has no prices."""
    finished: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """All that a run which ends by this write has held, by resource and outcome."""


def measure(job: Object, *, before: TrainingJobStatus, after: TrainingJobStatus, now: datetime) -> Measures:
    """What this change of the status is worth telling."""
    same_run = before.run == after.run
    old = before if same_run else TrainingJobStatus()
    over = after.phase is not None and after.phase.finished and not (old.phase is not None and old.phase.finished)
    waited = _seconds_waited(job, after, now=now)
    return Measures(
        restarts=_restarts(old.restarts or Restarts(), after.restarts or Restarts()),
        phase=_phase_over(before, after, now=now),
        pods_created=waited if _created(after) and not _created(old) else None,
        first_step=waited if has_stepped(after) and not has_stepped(old) else None,
        spent=_difference(_held(old.usage), _held(after.usage)),
        cost=_cost(old.usage, after.usage),
        finished=_held(after.usage) if over else {},
    )


def has_stepped(status: TrainingJobStatus) -> bool:
    """True once the run has made a step of its own: those that it resumed from were an earlier run's."""
    first = next((attempt for attempt in status.attempts if attempt.attempt == 0), Attempt(attempt=0))
    reached = [status.progress.step if status.progress is not None else None]
    reached += [attempt.last_step for attempt in status.attempts]
    return max((step or 0 for step in reached), default=0) > (first.resumed_from_step or 0)


def _restarts(before: Restarts, after: Restarts) -> dict[str, int]:
    more = {kind: getattr(after, kind) - getattr(before, kind) for kind in ("user", "infrastructure", "hang")}
    return {kind: count for kind, count in more.items() if count > 0}


def _phase_over(before: TrainingJobStatus, after: TrainingJobStatus, *, now: datetime) -> tuple[Phase, float] | None:
    if before.phase not in PHASES or after.phase is before.phase or not before.transitions:
        return None
    return before.phase, max(0.0, (now - before.transitions[-1].time).total_seconds())


def _created(status: TrainingJobStatus) -> bool:
    """True once all pods of the run's first gang were there; later ones don't wait for anybody's wish."""
    return any(attempt.attempt == 0 and attempt.created_time is not None for attempt in status.attempts)


def _seconds_waited(job: Object, status: TrainingJobStatus, *, now: datetime) -> float | None:
    """Seconds since the run was wished for; None where the user has suspended it meanwhile."""
    asked = time(block(job, "metadata"), "creationTimestamp") if status.run == 1 else status.start_time
    if asked is None or any(each.phase is Phase.SUSPENDED and each.time >= asked for each in status.transitions):
        return None
    return max(0.0, (now - asked).total_seconds())


def _cost(before: Usage | None, after: Usage | None) -> tuple[str, float] | None:
    if after is None or after.cost is None:
        return None
    known = before.cost.amount if before is not None and before.cost is not None else 0.0
    return after.cost.currency, max(0.0, after.cost.amount - known)


def _held(usage: Usage | None) -> dict[str, dict[str, float]]:
    """Seconds that a run's pods have held, by resource and outcome. Accelerators of several kinds share alike in what
    was productive.
    """
    if usage is None:
        return {}
    held = {name: seconds for name, seconds in usage.accelerator_seconds.items() if seconds}
    held = held or ({NODE: usage.node_seconds} if usage.node_seconds else {})
    if usage.productive_seconds is None:
        return {name: {"unknown": float(seconds)} for name, seconds in held.items()}
    share = min(1.0, usage.productive_seconds / max(1, sum(held.values())))
    return {name: {"productive": share * each, "lost": (1 - share) * each} for name, each in held.items()}


def _difference(
    before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """What `after` has more, or less."""
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name, {}), after.get(name, {})
        more = {outcome: new.get(outcome, 0.0) - old.get(outcome, 0.0) for outcome in OUTCOMES}
        if any(more.values()):
            found[name] = more
    return found
