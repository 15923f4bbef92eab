"""Accelerators that a gang holds and lets rest: said after a while, and given back where a TrainingPolicy wants that.

A gang rests only as far as it is known to: its devices are measured by the driver on node 0 alone, so where there are
more nodes its steps must be known, too. A device counts as at work whenever any program ran on it, as one that waits
for others does: what is called idle here surely was.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from footplate.api.money import IdleRule
from footplate.api.status import Phase, TrainingJobStatus
from footplate.durations import short
from footplate.objects import block
from footplate.policy import progress
from footplate.policy.job import Job
from footplate.policy.reasons import Reason

_DEFAULT = IdleRule()


def update(job: Job) -> TrainingJobStatus:
    """The status with the time since which the gang rests, once that is long enough to be said."""
    seconds = _seconds(job)
    since = None
    if seconds is not None and seconds >= min(rule.after_seconds for rule in _rules(job)):
        since = job.status.idle_since or job.now - timedelta(seconds=seconds)
    return job.status.model_copy(update={"idle_since": since})


def stop(job: Job) -> tuple[Reason, str] | None:
    """Why the run is to end; None where it isn't."""
    limits = [rule.after_seconds for rule in _rules(job) if rule.action == "Stop"]
    seconds = _seconds(job)
    if not limits or seconds is None or seconds < min(limits):
        return None
    words = (
        f"{describe(job.status.idle_since or job.now, now=job.now)}, and a TrainingPolicy of this namespace ends such "
        "runs: a new runPolicy.restartNonce goes on from the newest checkpoint"
    )
    return Reason.IDLE, words


def describe(since: datetime, *, now: datetime) -> str:
    """That a gang rests, in words."""
    return f"no step was made, and no accelerator of node 0 has worked, for {short((now - since).total_seconds())}"


def _rules(job: Job) -> list[IdleRule]:
    return [*_set(job)] or [_DEFAULT]


def _set(job: Job) -> Iterator[IdleRule]:
    for policy in job.observed.policies:
        if (rule := block(policy, "spec").get("idle")) is not None:
            yield IdleRule.model_validate(rule, by_name=False)


def _seconds(job: Job) -> float | None:
    """For how long the gang is known to have rested; None where it works, or nobody can tell."""
    status, attempt = job.status, job.attempt
    said = progress.believed(job.observed.progress, status, uid=job.config.metadata.uid)
    if attempt is None or attempt.running_time is None or job.between_attempts or status.phase is not Phase.RUNNING:
        return None
    if said is None or said.device_idle_seconds is None or not job.config.devices:
        return None
    stepped = status.progress.last_step_time if status.progress is not None else None
    if stepped is None and job.desired > 1:
        return None
    since = max(attempt.running_time, stepped or attempt.running_time)
    return min(said.device_idle_seconds, (job.now - since).total_seconds())
