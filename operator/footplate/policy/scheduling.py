"""A gang that is only half scheduled gives its nodes back, so that two such gangs never block each other."""

import hashlib

from footplate.policy.reasons import Reason
from footplate.policy.situation import Situation

MAX_BACKOFF_SECONDS = 600


def seconds_left(situation: Situation) -> float | None:
    """Seconds until a half-scheduled gang is released; None where the gang holds no nodes or all of them."""
    attempt = situation.attempt
    if attempt is None or situation.between_attempts or attempt.running_time is not None or not attempt.start_time:
        return None
    scheduled = sum(pod.node is not None for pod in situation.gang.pods)
    if not 0 < scheduled < situation.desired:
        return None
    waited = (situation.now - attempt.start_time).total_seconds()
    return situation.spec.run_policy.scheduling_timeout_seconds - waited


def backoff(situation: Situation) -> float:
    """Seconds until the gang is tried again: doubling, and different for each job, so that rivals don't meet again."""
    in_a_row = 0
    for attempt in reversed(situation.status.attempts[:-1]):
        if attempt.reason != Reason.SCHEDULING_TIMEOUT:
            break
        in_a_row += 1
    spread = hashlib.sha256(f"{situation.config.metadata.uid}/{in_a_row}".encode()).digest()[0] / 255
    base = max(1, situation.spec.run_policy.restart_backoff_seconds) * 2**in_a_row
    return float(min(MAX_BACKOFF_SECONDS, base * (1 + spread)))
