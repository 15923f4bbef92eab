"""What follows a failure: another attempt, when, or the end of the run. Restarts are charged to whom they are due, and
an error that comes back at the same step, or soon, isn't tried a third time.

Budgets are for what goes wrong without getting anywhere: an hour of progress fills them again. Backoff is too.
"""

from dataclasses import dataclass
from datetime import datetime

from footplate.api.blocks import RunPolicy
from footplate.api.status import Attempt, FailureClass, FailureStatus, Restarts, Spent, TrainingJobStatus
from footplate.policy.error_words import error_words, may_pass
from footplate.policy.failure import Failure
from footplate.policy.job import seconds_run
from footplate.policy.reasons import Reason
from footplate.text import clean

MAX_BACKOFF_SECONDS = 600
GOOD_RUN_SECONDS = 600.0
"""An attempt that ran so long is progress: the next backoff begins anew."""

REFILL_SECONDS = 3600.0
"""An attempt that ran so long, and got further, fills the budgets again."""

_TAKEN = (Reason.STOPPED, Reason.EVICTED, Reason.POD_LOST, Reason.NODE_LOST, Reason.PEER_LOST)
"""Ends that the training itself hasn't brought about."""

_NOBODYS = (Reason.SUSPENDED, Reason.BUDGET_SPENT, Reason.RESIZED, Reason.RECLAIMED, Reason.SCHEDULING_TIMEOUT)
"""Ends of attempts that aren't failures."""


@dataclass(frozen=True, slots=True)
class Decision:
    """`delay`: seconds until the next attempt, None where there is none."""

    restarts: Restarts
    spent: Spent
    delay: float | None
    reason: Reason
    message: str


def decide(
    failure: Failure,
    *,
    policy: RunPolicy,
    restarts: Restarts,
    spent: Spent,
    attempts: list[Attempt],
    before: FailureStatus | None,
) -> Decision:
    """Decides what follows a failure.

    Args:
        failure: the root cause.
        policy: budgets and backoff.
        restarts: what the run has had so far.
        spent: what of it counts against the budgets.
        attempts: the attempts of this run, the one that just ended last.
        before: the failure of the attempt before.
    """
    said, kind = clean(failure.message, most=800), failure.failure_class

    def end(reason: Reason, message: str) -> Decision:
        return Decision(restarts, spent, None, reason, message)

    if kind is FailureClass.PERMANENT:
        return end(failure.reason, failure.message)
    if _repeats(failure, attempts=attempts, before=before):
        when = "at the same step" if attempts[-1].last_step is not None else "soon after the start"
        return end(Reason.REPEATED_ERROR, f"{said} (a second time {when}; restarting can't help)")
    if kind is FailureClass.INFRASTRUCTURE:
        used, most, field, over = spent.disruptions, policy.max_disruptions, "maxDisruptions", Reason.MAX_DISRUPTIONS
    else:
        used, most, field, over = spent.restarts, policy.max_restarts, "maxRestarts", Reason.MAX_RESTARTS
    if most == 0:
        return end(failure.reason, f"{said} (runPolicy.{field} is 0: no restart)")
    if used >= most:
        share = f"{used} of this run's {restarts.total} restarts count against runPolicy.{field}"
        return end(over, f"{said} ({share}, which allows {most})")
    delay = _backoff(failure, policy=policy, attempts=attempts)
    return Decision(_charge(restarts, kind), _spend(spent, kind), delay, failure.reason, failure.message)


def seconds_left(status: TrainingJobStatus, *, now: datetime) -> float:
    """Seconds until the next attempt may start. More than the longest backoff is the doing of a clock that jumped."""
    left = (status.restart_time - now).total_seconds() if status.restart_time is not None else 0.0
    return left if left <= MAX_BACKOFF_SECONDS else 0.0


def spent_so_far(restarts: Restarts) -> Spent:
    """What counts against the budgets where it isn't in the status: all."""
    return Spent(restarts=restarts.user + restarts.hang, disruptions=restarts.infrastructure)


def is_free(status: TrainingJobStatus) -> bool:
    """True where the next attempt needn't wait: the gang was taken away, and has got further. How far may be known
    only when its ranks have stopped, with a checkpoint.
    """
    attempts = status.attempts
    return bool(attempts) and attempts[-1].reason in _TAKEN and _got_further(attempts)


def _charge(restarts: Restarts, kind: FailureClass) -> Restarts:
    user, infrastructure, hang = restarts.user, restarts.infrastructure, restarts.hang
    return Restarts(
        user=user + (kind is FailureClass.USER),
        infrastructure=infrastructure + (kind is FailureClass.INFRASTRUCTURE),
        hang=hang + (kind is FailureClass.HANG),
    )


def _spend(spent: Spent, kind: FailureClass) -> Spent:
    infrastructure = kind is FailureClass.INFRASTRUCTURE
    return Spent(restarts=spent.restarts + (not infrastructure), disruptions=spent.disruptions + infrastructure)


def refilled(status: TrainingJobStatus) -> Spent:
    """What counts against the budgets at the end of an attempt, whatever ended it: nothing where it ran for an hour and
    got further. Where it doesn't say how far it got, that it ran on is enough for what others have brought about, but
    not for its own errors.
    """
    attempts, spent = status.attempts, status.spent or spent_so_far(status.restarts or Restarts())
    last = attempts[-1] if attempts else None
    if last is None or last.end_time is None or seconds_run(last, now=last.end_time) < REFILL_SECONDS:
        return spent
    if _got_further(attempts):
        return Spent()
    return spent.model_copy(update={"disruptions": 0}) if last.last_step is None else spent


def _got_further(attempts: list[Attempt]) -> bool:
    """True where the newest attempt is known to have reached a step that none before it had."""
    *before, last = attempts
    reached = [last.resumed_from_step or 0, *(attempt.last_step or 0 for attempt in before)]
    return last.last_step is not None and last.last_step > max(reached)


def _repeats(failure: Failure, *, attempts: list[Attempt], before: FailureStatus | None) -> bool:
    """True where the attempt before ended in the same way at the same step. Where no step is known, as of most
    commands, or none was made, both must have ended soon, and by nothing that the network or a node might have brought
    about.
    """
    if before is None or len(attempts) < 2 or failure.reason not in (Reason.USER_ERROR, Reason.OUT_OF_MEMORY):
        return False
    last, previous = attempts[-1], attempts[-2]
    if (last.last_step, failure.reason) != (previous.last_step, previous.reason):
        return False
    if failure.reason is Reason.OUT_OF_MEMORY:
        return last.last_step is not None
    words = error_words(failure.to_status())
    if not last.last_step and (may_pass(words) or not (_was_short(last) and _was_short(previous))):
        return False
    return bool(words) and words == error_words(before)


def _was_short(attempt: Attempt) -> bool:
    return attempt.end_time is not None and seconds_run(attempt, now=attempt.end_time) < GOOD_RUN_SECONDS


def _backoff(failure: Failure, *, policy: RunPolicy, attempts: list[Attempt]) -> float:
    """Seconds until the next attempt: none after the first failure in a row, as most come alone, or where nothing is
    lost by it; then doubling with each that followed a short run.
    """
    if failure.reason in _TAKEN and _got_further(attempts):
        return 0.0
    earlier = _short_runs(attempts)
    return float(min(policy.restart_backoff_seconds * 2 ** (earlier - 1), MAX_BACKOFF_SECONDS)) if earlier else 0.0


def _short_runs(attempts: list[Attempt]) -> int:
    """Failures in a row, before the last one, of attempts that didn't run long."""
    count = 0
    for attempt in reversed([a for a in attempts if a.reason not in _NOBODYS]):
        if not _was_short(attempt) or attempt.reason == Reason.DATA_PREPARED:
            break
        count += 1
    return max(0, count - 1)
