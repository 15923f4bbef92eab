"""What follows the end of an attempt: another one, when, or the end of the run. Restarts are charged to whom they are
due, and an error that comes back at the same step isn't tried a third time.
"""

from dataclasses import dataclass
from datetime import timedelta

from footplate.api.blocks import RunPolicy
from footplate.api.status import Attempt, FailureClass, FailureStatus, Restarts
from footplate.policy.failure import Failure
from footplate.policy.reasons import Reason

MAX_BACKOFF_SECONDS = 600
GOOD_RUN = timedelta(seconds=600)
"""An attempt that ran so long is progress: the next backoff begins anew."""


@dataclass(frozen=True, slots=True)
class Verdict:
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
) -> Verdict:
    """Decides what follows a failure.

    Args:
        failure: the root cause.
        policy: budgets and backoff.
        restarts: what has been charged so far.
        attempts: the attempts of this run, the one that just ended last.
        before: the failure of the attempt before.
    """
    kind = failure.failure_class
    if kind is FailureClass.PERMANENT:
        return Verdict(restarts, None, failure.reason, failure.message)
    if _repeats(failure, attempts=attempts, before=before):
        text = f"{failure.message} (a second time at the same step; restarting can't help)"
        return Verdict(restarts, None, Reason.REPEATED_ERROR, text)
    charged = _charge(restarts, kind)
    if kind is FailureClass.INFRASTRUCTURE:
        spent, most, field, over = (
            charged.infrastructure,
            policy.max_disruptions,
            "maxDisruptions",
            Reason.MAX_DISRUPTIONS,
        )
    else:
        spent, most, field, over = charged.user + charged.hang, policy.max_restarts, "maxRestarts", Reason.MAX_RESTARTS
    if spent > most:
        text = f"{failure.message} (restart {spent} of at most {most}: runPolicy.{field})"
        return Verdict(restarts, None, over, text)
    return Verdict(charged, _backoff(failure, policy=policy, attempts=attempts), failure.reason, failure.message)


def _charge(restarts: Restarts, kind: FailureClass) -> Restarts:
    field = {FailureClass.INFRASTRUCTURE: "infrastructure", FailureClass.HANG: "hang"}.get(kind, "user")
    return restarts.model_copy(update={field: getattr(restarts, field) + 1})


def _repeats(failure: Failure, *, attempts: list[Attempt], before: FailureStatus | None) -> bool:
    """True where the attempt before ended in the same way at the same step."""
    if before is None or len(attempts) < 2 or failure.reason not in (Reason.USER_ERROR, Reason.OUT_OF_MEMORY):
        return False
    last, previous = attempts[-1], attempts[-2]
    now = failure.to_status()
    return (
        last.last_step is not None
        and last.last_step == previous.last_step
        and previous.reason == failure.reason
        and (
            failure.reason is Reason.OUT_OF_MEMORY or (now.traceback is not None and now.traceback == before.traceback)
        )
    )


def _backoff(failure: Failure, *, policy: RunPolicy, attempts: list[Attempt]) -> float:
    """Seconds until the next attempt: doubling with each short attempt of this kind in a row; the infrastructure's
    first is free, and so is a clean stop.
    """
    if failure.reason is Reason.STOPPED:
        return 0.0
    in_a_row = 0
    for attempt in reversed(attempts):
        ran = attempt.end_time - attempt.running_time if attempt.end_time and attempt.running_time else timedelta()
        if ran >= GOOD_RUN:
            break
        in_a_row += 1
    doublings = in_a_row - (2 if failure.failure_class is FailureClass.INFRASTRUCTURE else 1)
    if doublings < 0:
        return 0.0
    return float(min(policy.restart_backoff_seconds * 2**doublings, MAX_BACKOFF_SECONDS))
