"""Pods that can't start: how long what is missing is waited for, and what is final.

What isn't there may come, and what went wrong may have been an accident. For half a minute the pods stay, since the
kubelet tries again by itself; then the nodes are given back, and another attempt is made later. A run that has never
run fails when `runPolicy.schedulingTimeoutSeconds` are over. One that has run is known to be able to: what keeps it
from starting again is the infrastructure's. When the trouble began is in the status, as no pod says it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from footplate.api.status import FailureClass, TrainingJobStatus, Trouble
from footplate.objects import block, blocks, text
from footplate.policy.failure import Failure
from footplate.policy.job import Job
from footplate.policy.plan import Doubt
from footplate.policy.pod import PREPARING, Pod
from footplate.policy.reasons import Reason
from footplate.policy.scheduling_timeout import pause
from footplate.text import clean

START_GRACE = timedelta(seconds=30)
"""How long pods that can't start stay where they are."""

SLOWEST_START = timedelta(minutes=30)
"""A pod that its node has prepared for so long, and says nothing: a volume that can't be mounted, or a sick node."""

REASONS = (Reason.IMAGE_PULL_FAILED, Reason.CONTAINER_CONFIG)

_OF_THE_IMAGE = (
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError",
    "RegistryUnavailable", "SignatureValidationFailed",
)  # fmt: skip

_RUNS_AS_ROOT = "runAsNonRoot"
_NO_PROGRAM = re.compile(
    r'exec: "[^"]*": (stat [^:]*: )?(executable file not found|no such file or directory|permission denied|'
    r"is a directory)"
)


def due(job: Job) -> Failure | None:
    """What keeps the attempt from starting, once it must end for it; None where it may still start."""
    cause = _find(job)
    if cause is None:
        return _too_slow(job)
    left = _seconds_of_grace(job)
    return cause if _is_final(cause) or (left is not None and left <= 0) else None


def remember(job: Job) -> Trouble | None:
    """What the status says of an attempt that may still start."""
    cause, known = _find(job), job.status.trouble
    if cause is None:
        return _overcome(job, known)
    since = known.since if known is not None and known.since is not None else job.now
    waited = known.waited_seconds if known is not None else 0
    return Trouble(reason=cause.reason, since=min(since, job.now), waited_seconds=waited)


def _overcome(job: Job, known: Trouble | None) -> Trouble | None:
    """Trouble that hasn't ended the attempt is over when its grace is: the next has a grace of its own, but the wait
    counts.
    """
    left = _seconds_of_grace(job)
    if known is None or left is None or left > 0:
        return known
    waited = known.waited_seconds + int(_grace(job).total_seconds())
    return Trouble(reason=known.reason, waited_seconds=waited)


def next_looks(job: Job) -> Iterator[float | None]:
    """Seconds until a start that doesn't come about ends the attempt, or trouble counts as over."""
    yield _seconds_of_grace(job)
    for pod in _preparing(job):
        yield ((pod.started or job.now) + _slowest(job) - job.now).total_seconds()


def has_run(status: TrainingJobStatus) -> bool:
    """True for a run all of whose pods ran together once: its image, Secrets and program are known to be right."""
    return status.running_time is not None


def waits(job: Job, cause: Failure) -> Trouble | None:
    """What is to be remembered where an attempt ends for this cause and the run waits for what it lacks; None where
    it doesn't. The pause before the next attempt counts as waiting too.
    """
    if cause.reason not in REASONS or has_run(job.status) or _is_final(cause):
        return None
    waited = _waited(job)
    if waited >= _patience(job):
        return None
    return Trouble(reason=cause.reason, waited_seconds=int(waited + seconds_to_pause(job)))


def seconds_to_pause(job: Job) -> float:
    """Seconds until the run that waits is tried again: the last try is at the end of its patience."""
    before = 0
    for attempt in reversed(job.status.attempts[:-1]):
        if attempt.reason not in REASONS:
            break
        before += 1
    return min(pause(job, before), _patience(job) - _waited(job))


def judge(job: Job, cause: Failure) -> Failure:
    """The cause, with who pays for it where it kept the pods from starting and isn't waited for any longer."""
    if cause.reason not in REASONS or has_run(job.status):
        return cause
    message = cause.message
    if cause.pod is not None and not cause.pod.terminal:
        message += ", then set runPolicy.restartNonce; to change the spec, delete the job and create it anew"
    if not _is_final(cause):
        message += f" (waited for {_patience(job)} s, runPolicy.schedulingTimeoutSeconds)"
    return replace(cause, class_=FailureClass.PERMANENT, message=message)


def _find(job: Job) -> Failure | None:
    """What the node says of the first pod that it can't start."""
    for pod in _starting(job):
        for waiting in _waiting(pod):
            why = text(waiting, "reason")
            if why in PREPARING:
                continue
            reason = Reason.IMAGE_PULL_FAILED if why in _OF_THE_IMAGE else Reason.CONTAINER_CONFIG
            said = f"{why}: {text(waiting, 'message')}" if text(waiting, "message") else why
            message = f"pod {pod.name} can't start: {clean(said, most=512)}; {_way_out(why, said)}"
            final = why == "InvalidImageName" or (why == "CreateContainerConfigError" and _RUNS_AS_ROOT in said)
            class_ = FailureClass.PERMANENT if final and not has_run(job.status) else None
            return Failure(reason, message, job.now, pod, class_, doubts=(Doubt("Pod", pod.name),))
    return None


def _too_slow(job: Job) -> Failure | None:
    limit = _slowest(job)
    for pod in _preparing(job):
        if job.now >= (pod.started or job.now) + limit:
            needs = f" (it mounts {clean(', '.join(job.mounts), most=256)})" if job.mounts else ""
            message = (
                f"pod {pod.name} on node {pod.node} has not started for {limit.total_seconds():.0f} s, and the node "
                f"doesn't say why: an image that takes longer, a volume that can't be mounted{needs}, or a sick node; "
                f"`kubectl events --for pod/{pod.name}` may say which"
            )
            return Failure(Reason.START_TIMEOUT, message, job.now, pod, doubts=(Doubt("Pod", pod.name),))
    return None


def _starting(job: Job) -> Iterator[Pod]:
    """Pods that have a node and should be running by and by."""
    attempt = job.attempt
    if attempt is None or attempt.running_time is not None:
        return
    for pod in job.gang.pods:
        if pod.node is not None and not (pod.running or pod.terminal or pod.terminating):
            yield pod


def _preparing(job: Job) -> Iterator[Pod]:
    """Those of them of which the node says nothing."""
    return (pod for pod in _starting(job) if all(text(waiting, "reason") in PREPARING for waiting in _waiting(pod)))


def _waiting(pod: Pod) -> Iterator[Mapping[str, Any]]:
    """What the pod's containers wait for, those first that start first."""
    for field in ("initContainerStatuses", "containerStatuses"):
        for container in blocks(pod.status, field):
            yield block(container, "state", "waiting")


def _is_final(cause: Failure) -> bool:
    """True for what neither time nor another node can change: the image's name, its user, or its program."""
    ended = cause.pod is not None and cause.pod.terminal
    return cause.class_ is FailureClass.PERMANENT or (ended and _NO_PROGRAM.search(cause.message) is not None)


def _patience(job: Job) -> int:
    return job.spec.run_policy.scheduling_timeout_seconds


def _grace(job: Job) -> timedelta:
    return min(START_GRACE, timedelta(seconds=_patience(job)))


def _seconds_of_grace(job: Job) -> float | None:
    """Seconds for which the pods stay; None where the status doesn't say yet since when they can't start."""
    trouble = job.status.trouble
    if trouble is None or trouble.since is None:
        return None
    return (trouble.since + _grace(job) - job.now).total_seconds()


def _waited(job: Job) -> float:
    """Seconds for which the run has waited. Of this attempt no more count than it was given, and as much again for a
    late look: the rest is a clock that jumped, or an operator that was away.
    """
    trouble = job.status.trouble
    if trouble is None:
        return 0.0
    here = (job.now - trouble.since).total_seconds() if trouble.since is not None else 0.0
    return trouble.waited_seconds + min(max(here, 0.0), 2 * _grace(job).total_seconds())


def _slowest(job: Job) -> timedelta:
    return max(SLOWEST_START, timedelta(seconds=_patience(job)))


def _way_out(why: str, said: str) -> str:
    if why == "InvalidImageName":
        return "correct trainer.image"
    if why in _OF_THE_IMAGE:
        return "push the image, or put right the Secret of podTemplate.imagePullSecrets"
    if _RUNS_AS_ROOT in said:
        return "build the image with a numeric USER other than 0"
    return "create what is missing in the job's namespace"
