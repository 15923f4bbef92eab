"""Limits on time: of running, summed over attempts, and of waiting for nodes. Both are recomputed from the status."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from footplate.policy import scheduling_timeout, share
from footplate.policy.job import Job, seconds_run
from footplate.policy.plan import Doubt
from footplate.policy.reasons import Reason


@dataclass(frozen=True, slots=True)
class Deadline:
    """A limit, and the seconds left until it."""

    reason: Reason
    message: str
    left: float
    doubts: Sequence[Doubt] = ()
    """What must be confirmed before the limit counts as reached."""


def deadlines(job: Job) -> Iterable[Deadline]:
    """The limits that run at the moment."""
    policy, attempt = job.spec.run_policy, job.attempt
    running = attempt is not None and attempt.running_time is not None and not job.between_attempts
    if policy.active_deadline_seconds is not None and attempt is not None and running:
        used = (job.status.active_seconds or 0) + seconds_run(attempt, now=job.now)
        yield Deadline(
            Reason.DEADLINE,
            f"the job ran for {policy.active_deadline_seconds} s, as long as runPolicy.activeDeadlineSeconds allows; "
            "to go on from its newest checkpoint, set a longer limit and a new runPolicy.restartNonce",
            policy.active_deadline_seconds - used,
        )
    waited = max((scheduling_timeout.seconds_waited(job), share.seconds_waited(job)), key=lambda each: each or 0.0)
    if policy.queue_deadline_seconds is not None and waited is not None:
        yield Deadline(
            Reason.QUEUE_DEADLINE,
            queue_deadline(policy.queue_deadline_seconds),
            policy.queue_deadline_seconds - waited,
            scheduling_timeout.doubts(job),
        )


def queue_deadline(seconds: int) -> str:
    """The message where a run waited too long for its pods."""
    return (
        f"not all pods were scheduled within {seconds} s (runPolicy.queueDeadlineSeconds); "
        "ask for fewer nodes or wait longer"
    )
