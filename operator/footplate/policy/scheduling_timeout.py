"""A gang that is only half scheduled gives its nodes back, so that two such gangs never block each other."""

import hashlib
from datetime import datetime

from footplate.api.status import Attempt
from footplate.policy.gang_scheduling import is_held_by_queue
from footplate.policy.job import Job
from footplate.policy.plan import Doubt
from footplate.policy.reasons import Reason
from footplate.policy.restart import MAX_BACKOFF_SECONDS


def seconds_left(job: Job) -> float | None:
    """Seconds until a half-scheduled gang is released; None where the gang holds no nodes or all of them, or a queue
    lets its pods pass one after the other.
    """
    attempt = job.attempt
    if attempt is None or job.between_attempts or attempt.running_time is not None or not attempt.start_time:
        return None
    if is_held_by_queue(job):
        return None
    holding = [pod.bound or attempt.start_time for pod in job.gang.pods if pod.node is not None]
    if not holding or len(holding) + job.gang.gone >= job.desired:
        return None
    held = (job.now - min(holding)).total_seconds()
    return job.spec.run_policy.scheduling_timeout_seconds - held


def doubts(job: Job) -> list[Doubt]:
    """What must be confirmed before pods count as without a node: that the first of them is."""
    gang = job.gang
    bound = gang.succeeded.union(rank for rank, pod in gang.current.items() if pod.node is not None)
    return [gang.doubt(rank) for rank in range(job.desired) if rank not in bound][:1]


def seconds_waited(job: Job) -> float | None:
    """Seconds for which the job has waited for nodes, over all attempts that found too few; None where it doesn't."""
    attempt, gang = job.attempt, job.gang
    if attempt is None or attempt.running_time is not None:
        return None
    if job.between_attempts and attempt.reason != Reason.SCHEDULING_TIMEOUT:
        return None
    if not job.between_attempts and gang.is_whole(job.desired) and all(pod.node for pod in gang.pods):
        return None
    since = waiting_since(job)
    return (job.now - since).total_seconds() if since is not None else None


def waiting_since(job: Job) -> datetime | None:
    """Since when a job that has too few nodes has waited for them."""
    return _series(job)[0].start_time if job.status.attempts else None


def backoff(job: Job) -> float:
    """Seconds until the gang is tried again."""
    series = _series(job)
    return pause(job, series[-1].attempt - series[0].attempt)


def pause(job: Job, before: int) -> float:
    """Seconds until a gang that didn't start so many times before is tried again: doubling, and different for each
    job, so that rivals don't meet again.
    """
    before = min(before, 10)
    spread = hashlib.sha256(f"{job.config.metadata.uid}/{before}".encode()).digest()[0] / 255
    base = max(1, job.spec.run_policy.restart_backoff_seconds) * 2**before
    return float(min(MAX_BACKOFF_SECONDS, base * (1 + spread)))


def _series(job: Job) -> list[Attempt]:
    """The newest attempt and those right before it that found too few nodes. Of these the history keeps the first."""
    *before, newest = job.status.attempts
    series = [newest]
    for attempt in reversed(before):
        if attempt.reason != Reason.SCHEDULING_TIMEOUT:
            break
        series.insert(0, attempt)
    return series
