"""A gang that is only half scheduled gives its nodes back, so that two such gangs never block each other."""

import hashlib

from footplate.api.status import Attempt
from footplate.policy.plan import Doubt
from footplate.policy.reasons import Reason
from footplate.policy.situation import Situation

MAX_BACKOFF_SECONDS = 600


def seconds_left(situation: Situation) -> float | None:
    """Seconds until a half-scheduled gang is released; None where the gang holds no nodes or all of them."""
    attempt = situation.attempt
    if attempt is None or situation.between_attempts or attempt.running_time is not None or not attempt.start_time:
        return None
    holding = [pod.bound or attempt.start_time for pod in situation.gang.pods if pod.node is not None]
    if not 0 < len(holding) < situation.desired:
        return None
    held = (situation.now - min(holding)).total_seconds()
    return situation.spec.run_policy.scheduling_timeout_seconds - held


def doubts(situation: Situation) -> list[Doubt]:
    """What must be confirmed before pods count as without a node: that the first of them is."""
    pods = situation.gang.current
    without = (rank for rank in range(situation.desired) if rank not in pods or pods[rank].node is None)
    return [situation.gang.doubt(rank) for rank in without][:1]


def seconds_waited(situation: Situation) -> float | None:
    """Seconds for which the job has waited for nodes, over all attempts that found too few; None where it doesn't."""
    attempt, pods = situation.attempt, situation.gang.pods
    if attempt is None or attempt.running_time is not None:
        return None
    if situation.between_attempts and attempt.reason != Reason.SCHEDULING_TIMEOUT:
        return None
    if not situation.between_attempts and len(pods) == situation.desired and all(pod.node for pod in pods):
        return None
    since = _series(situation)[0].start_time
    return (situation.now - since).total_seconds() if since is not None else None


def backoff(situation: Situation) -> float:
    """Seconds until the gang is tried again: doubling, and different for each job, so that rivals don't meet again."""
    series = _series(situation)
    before = min(series[-1].attempt - series[0].attempt, 10)
    spread = hashlib.sha256(f"{situation.config.metadata.uid}/{before}".encode()).digest()[0] / 255
    base = max(1, situation.spec.run_policy.restart_backoff_seconds) * 2**before
    return float(min(MAX_BACKOFF_SECONDS, base * (1 + spread)))


def _series(situation: Situation) -> list[Attempt]:
    """The newest attempt and those right before it that found too few nodes. Of these the history keeps the first."""
    *before, newest = situation.status.attempts
    series = [newest]
    for attempt in reversed(before):
        if attempt.reason != Reason.SCHEDULING_TIMEOUT:
            break
        series.insert(0, attempt)
    return series
