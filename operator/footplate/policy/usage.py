"""What a run costs, and how much of that went into the model: `status.usage`.

A pod is counted from its binding to a node until its container's end, the attempt's end, or now. What an attempt has
cost is added up in the very write that ends it, so that nothing is counted twice or lost. Until then it is computed
anew from the pods whenever training says something new, and every ten minutes where it doesn't: that time goes by is
hardly a reason for a write.

Times of several machines meet here. No part is ever negative, and no sum ever falls: one that a clock's jump has made
too large stands still until the truth has caught up with it.
"""

import math
from collections.abc import Mapping
from datetime import datetime

from footplate.api.scalars import MAX_COUNT
from footplate.api.status import Phase, TrainingJobStatus
from footplate.api.usage import Usage
from footplate.contract import Progress
from footplate.policy import budget
from footplate.policy.data_stage import is_preparing
from footplate.policy.facts import all_created
from footplate.policy.job import Job
from footplate.policy.pod import Pod
from footplate.policy.pods import Gang
from footplate.policy.progress import last_step
from footplate.policy.reasons import Reason

TELL_EVERY_SECONDS = 600.0


def update(job: Job, *, before: TrainingJobStatus, polled: Progress | None) -> Usage | None:
    """The usage as of now, where the pods say something new; else as it was.

    Args:
        job: the job, its status being up to date otherwise.
        before: the status as it was read.
        polled: what rank 0 of the current attempt last said, if it is believed.
    """
    status = job.status
    usage, words = status.usage or Usage(), _last_words(job.gang)
    if job.between_attempts:
        return status.usage if words is None else _split(job, usage, _standing(job, words))
    due = seconds_until_due(job)
    if status.progress == before.progress and (due is None or due > 0):
        return status.usage
    said = polled.productive_node_seconds if polled is not None else None
    return _split(job, usage, words if words is not None else said, live=_live_seconds(job))


def seconds_until_due(job: Job) -> float | None:
    """Seconds until the usage of an attempt that says nothing is told all the same; None where it holds no node."""
    usage, live = job.status.usage or Usage(), _live_seconds(job)
    if job.between_attempts or not (live or any(pod.node is not None for pod in job.gang.pods)):
        return None
    untold = usage.ended_node_seconds + live - usage.node_seconds
    devices, prices, limit = job.config.devices, job.config.prices, job.spec.run_policy.budget
    mark = budget.node_seconds_left(limit, usage, devices=devices, prices=prices)
    due = min(TELL_EVERY_SECONDS * job.desired, mark if mark is not None else math.inf)
    return (due - untold) / job.desired


def close(job: Job, reason: Reason) -> Usage:
    """The usage with the current attempt, which ends now for this reason, among those that have ended.

    Where it doesn't end well, what was done after the newest checkpoint is lost. How much that was is known exactly
    when the next attempt reports; until then each step counts the same.
    """
    usage, words = job.status.usage or Usage(), _last_words(job.gang)
    ended = min(usage.ended_node_seconds + _live_seconds(job), MAX_COUNT)
    if words is None and usage.productive_seconds is not None:
        words = usage.productive_seconds / _weight(job.config.devices)
    if words is not None and reason is not Reason.COMPLETED:
        words = _share(job) * words
    return _split(job, usage.model_copy(update={"ended_node_seconds": ended}), words)


def _split(job: Job, usage: Usage, productive: float | None, *, live: int = 0) -> Usage:
    """The usage with so many productive node seconds; None keeps those that are known."""
    devices = job.config.devices
    node_seconds = min(max(usage.node_seconds, usage.ended_node_seconds + live), MAX_COUNT)
    held = min(node_seconds * _weight(devices), MAX_COUNT)
    known = usage.productive_seconds if productive is None else int(productive * _weight(devices))
    good = None if known is None else min(known, held)
    seconds = {name: min(node_seconds * count, MAX_COUNT) for name, count in devices.items()}
    return Usage(
        node_seconds=node_seconds,
        ended_node_seconds=usage.ended_node_seconds,
        accelerator_seconds=seconds,
        cost=budget.cost_of(seconds, job.config.prices),
        productive_seconds=good,
        lost_seconds=None if good is None else held - good,
        goodput_percent=None if good is None or not held else round(100 * good / held, 1),
    )


def _weight(devices: Mapping[str, int]) -> int:
    """Accelerators of a node; a node without any counts as one."""
    return max(1, sum(devices.values()))


def _last_words(gang: Gang) -> float | None:
    """Productive node seconds, as ranks of the current attempt that have ended put them."""
    verdicts = (pod.verdict.productive_node_seconds for pod in gang.ended if pod.verdict is not None)
    return next((seconds for seconds in verdicts if seconds is not None), None)


def _standing(job: Job, words: float) -> float:
    """Of an ended attempt's productive node seconds, those that are not lost."""
    completed = job.attempt is not None and job.attempt.reason == Reason.COMPLETED
    return words if completed else _share(job) * words


def _share(job: Job) -> float:
    """How much of what is known of this run's steps is in its newest checkpoint, from 0 to 1."""
    status, whole = job.status, bool(job.status.attempts) and job.status.attempts[0].attempt == 0
    first = next((each for each in job.status.attempts if not is_preparing(each)), None)
    reached = last_step(status, job.gang)
    if reached is None:  # this attempt has added nothing, and what the others lost was taken off when they ended
        return 1.0
    if status.checkpoint is None:
        return 0.0
    if status.checkpoint.step is None:  # nobody knows until the next attempt reports
        return 1.0
    warm = (first.resumed_from_step or 0) if first is not None and whole else 0
    if reached <= max(warm, status.checkpoint.step):
        return 1.0
    return max(0, status.checkpoint.step - warm) / (reached - warm)


def _live_seconds(job: Job) -> int:
    """Node seconds of the current attempt, while it isn't over."""
    attempt, now = job.attempt, job.now
    if attempt is None or attempt.end_time is not None or is_preparing(attempt):  # it holds none of what is counted
        return 0
    seconds = sum(_seconds_held(pod, attempt.start_time, now=now) for pod in job.gang.pods)
    if all_created(attempt):  # what isn't there any more went unseen, with its node or by somebody's hand
        bound = attempt.start_time if job.status.phase is Phase.STARTING else None
        vanished = job.desired - len(job.gang.pods) - job.gang.gone
        seconds += vanished * _seconds(attempt.running_time or bound, now)
    return int(min(seconds, MAX_COUNT))


def _seconds_held(pod: Pod, asked: datetime | None, *, now: datetime) -> float:
    return _seconds(pod.bound or asked, min(pod.finished or now, now)) if pod.node is not None else 0.0


def _seconds(since: datetime | None, until: datetime) -> float:
    return max(0.0, (until - since).total_seconds()) if since is not None else 0.0
