"""What follows a failure: another attempt, when, or the end of the run. Restarts are charged to whom they are due, and
an error that comes back at the same step isn't tried a third time.
"""

from dataclasses import dataclass
from datetime import datetime

from footplate.api.blocks import RunPolicy
from footplate.api.status import Attempt, FailureClass, FailureStatus, Restarts, TrainingJobStatus
from footplate.policy.failure import Failure
from footplate.policy.job import seconds_run
from footplate.policy.reasons import Reason
from footplate.text import clean

MAX_BACKOFF_SECONDS = 600
GOOD_RUN_SECONDS = 600.0
"""An attempt that ran so long is progress: the next backoff begins anew."""

_NOBODYS = (Reason.SUSPENDED, Reason.RESIZED, Reason.SCHEDULING_TIMEOUT)
"""Ends of attempts that aren't failures."""


@dataclass(frozen=True, slots=True)
class Decision:
    """`delay`: seconds until the next attempt, None where there is none."""

    restarts: Restarts
    delay: float | None
    reason: Reason
    message: str


def decide(
    failure: Failure,
    *,
    policy: RunPolicy,
    restarts: Restarts,
    attempts: list[Attempt],
    before: FailureStatus | None,
) -> Decision:
    """Decides what follows a failure.

    Args:
        failure: the root cause.
        policy: budgets and backoff.
        restarts: what has been charged so far.
        attempts: the attempts of this run, the one that just ended last.
        before: the failure of the attempt before.
    """
    said = clean(failure.message, most=800)
    if failure.failure_class is FailureClass.PERMANENT:
        return Decision(restarts, None, failure.reason, failure.message)
    if _repeats(failure, attempts=attempts, before=before):
        text = f"{said} (a second time at the same step; restarting can't help)"
        return Decision(restarts, None, Reason.REPEATED_ERROR, text)
    if failure.failure_class is FailureClass.INFRASTRUCTURE:
        spent, most, field = restarts.infrastructure, policy.max_disruptions, "maxDisruptions"
    else:
        spent, most, field = restarts.user + restarts.hang, policy.max_restarts, "maxRestarts"
    if most == 0:
        return Decision(restarts, None, failure.reason, f"{said} (runPolicy.{field} is 0: no restart)")
    if spent >= most:
        over = Reason.MAX_DISRUPTIONS if field == "maxDisruptions" else Reason.MAX_RESTARTS
        return Decision(restarts, None, over, f"{said} (after {spent} restarts, all that runPolicy.{field} allows)")
    delay = _backoff(failure, policy=policy, attempts=attempts)
    return Decision(_charge(restarts, failure.failure_class), delay, failure.reason, failure.message)


def seconds_left(status: TrainingJobStatus, *, now: datetime) -> float:
    """Seconds until the next attempt may start. More than the longest backoff is the doing of a clock that jumped."""
    left = (status.restart_time - now).total_seconds() if status.restart_time is not None else 0.0
    return left if left <= MAX_BACKOFF_SECONDS else 0.0


def _charge(restarts: Restarts, kind: FailureClass) -> Restarts:
    user, infrastructure, hang = restarts.user, restarts.infrastructure, restarts.hang
    return Restarts(
        user=user + (kind is FailureClass.USER),
        infrastructure=infrastructure + (kind is FailureClass.INFRASTRUCTURE),
        hang=hang + (kind is FailureClass.HANG),
    )


def _repeats(failure: Failure, *, attempts: list[Attempt], before: FailureStatus | None) -> bool:
    """True where the attempt before ended in the same way at the same step."""
    if before is None or len(attempts) < 2 or failure.reason not in (Reason.USER_ERROR, Reason.OUT_OF_MEMORY):
        return False
    last, previous = attempts[-1], attempts[-2]
    if last.last_step is None or (last.last_step, failure.reason) != (previous.last_step, previous.reason):
        return False
    traceback = failure.to_status().traceback
    return failure.reason is Reason.OUT_OF_MEMORY or (traceback is not None and traceback == before.traceback)


def _backoff(failure: Failure, *, policy: RunPolicy, attempts: list[Attempt]) -> float:
    """Seconds until the next attempt: none after the first failure in a row, as most come alone; then doubling
    with each that followed a short run. Every clean stop after which the training got further is free.
    """
    steps = [attempt.last_step for attempt in attempts[-2:]]
    if failure.reason is Reason.STOPPED and (len(steps) < 2 or steps[0] != steps[1]):
        return 0.0
    earlier = _short_runs(attempts)
    return float(min(policy.restart_backoff_seconds * 2 ** (earlier - 1), MAX_BACKOFF_SECONDS)) if earlier else 0.0


def _short_runs(attempts: list[Attempt]) -> int:
    """Failures in a row, before the last one, of attempts that didn't run long."""
    count = 0
    for attempt in reversed([a for a in attempts if a.reason not in _NOBODYS]):
        if attempt.end_time is None or seconds_run(attempt, now=attempt.end_time) >= GOOD_RUN_SECONDS:
            break
        count += 1
    return max(0, count - 1)
