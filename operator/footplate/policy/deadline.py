"""Limits on time: of running, summed over attempts, and of waiting for nodes. Both are recomputed from the status."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from footplate.policy.reasons import Reason
from footplate.policy.situation import Situation


@dataclass(frozen=True, slots=True)
class Deadline:
    """A limit, and the seconds left until it."""

    reason: Reason
    message: str
    left: float


def deadlines(situation: Situation) -> Iterable[Deadline]:
    """The limits that run at the moment."""
    policy, status, attempt = situation.spec.run_policy, situation.status, situation.attempt
    if attempt is None or situation.between_attempts:
        return
    if policy.active_deadline_seconds is not None and attempt.running_time is not None:
        used = timedelta(seconds=status.active_seconds or 0) + (situation.now - attempt.running_time)
        yield Deadline(
            Reason.DEADLINE,
            f"the job ran for {policy.active_deadline_seconds} s, as long as runPolicy.activeDeadlineSeconds allows; "
            "raise it and set runPolicy.restartNonce to go on",
            policy.active_deadline_seconds - used.total_seconds(),
        )
    waiting = attempt.running_time is None and attempt.start_time is not None
    all_scheduled = len(situation.gang.current) == situation.desired and all(p.node for p in situation.gang.pods)
    if policy.queue_deadline_seconds is not None and waiting and attempt.start_time and not all_scheduled:
        waited = situation.now - attempt.start_time
        yield Deadline(
            Reason.QUEUE_DEADLINE,
            f"not all pods were scheduled within {policy.queue_deadline_seconds} s "
            "(runPolicy.queueDeadlineSeconds); ask for fewer nodes or wait longer",
            policy.queue_deadline_seconds - waited.total_seconds(),
        )
