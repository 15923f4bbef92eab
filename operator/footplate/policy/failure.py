"""Why a gang ended, and who pays: finds the root cause among the pods of an attempt and classes it.

The earliest failing rank is the cause; a rank that only saw its peer go, or was stopped, never is while another is
found. `find` looks at what is true now and remembers nothing.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from footplate.api.status import FailureClass, FailureStatus
from footplate.contract import ExitCode
from footplate.policy.plan import Manifest
from footplate.policy.pods import Gang, Pod, node_is_lost
from footplate.policy.reasons import Reason

START_GRACE = timedelta(seconds=30)
"""How long a missing Secret or an image that can't be pulled may still be put right before the job fails."""

MAX_TEXT = 1024
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_CLASS = {
    Reason.DATA_ERROR: FailureClass.PERMANENT,
    Reason.CONFIG_ERROR: FailureClass.PERMANENT,
    Reason.IMAGE_PULL_FAILED: FailureClass.PERMANENT,
    Reason.CONTAINER_CONFIG: FailureClass.PERMANENT,
    Reason.USER_ERROR: FailureClass.USER,
    Reason.OUT_OF_MEMORY: FailureClass.USER,
    Reason.KILLED: FailureClass.USER,
    Reason.HANG: FailureClass.HANG,
}
"""Who pays for what; all else is the infrastructure's."""

_EXIT_REASONS = {
    ExitCode.DATA_ERROR: Reason.DATA_ERROR,
    ExitCode.CONFIG_ERROR: Reason.CONFIG_ERROR,
    ExitCode.USER_ERROR: Reason.USER_ERROR,
    ExitCode.STOPPED: Reason.STOPPED,
    ExitCode.PEER_LOST: Reason.PEER_LOST,
    ExitCode.HANG: Reason.HANG,
}

_FOLLOWS = (Reason.PEER_LOST, Reason.STOPPED, Reason.EVICTED)
"""What other pods' ends bring about, or a stop that isn't finished: blamed only where nothing else is found."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One cause for the end of an attempt."""

    reason: Reason
    message: str
    time: datetime
    pod: Pod | None = None

    @property
    def failure_class(self) -> FailureClass:
        """Who pays."""
        return _CLASS.get(self.reason, FailureClass.INFRASTRUCTURE)

    @property
    def graceful(self) -> bool:
        """True where the ranks were asked to stop, and may still be saving a checkpoint."""
        return self.reason in (Reason.EVICTED, Reason.STOPPED)

    def to_status(self) -> FailureStatus:
        """The failure as the user sees it."""
        pod = self.pod
        error = pod.verdict.error if pod and pod.verdict else None
        exit_code = pod.terminated.get("exitCode") if pod else None
        return FailureStatus(
            rank=error.rank if error and error.rank is not None else (pod.rank if pod else None),
            node=pod.node if pod else None,
            exit_code=exit_code,
            signal=exit_code - 128 if exit_code is not None and 128 < exit_code < 160 else None,
            class_=self.failure_class,
            message=clean(self.message),
            traceback=clean(error.traceback, most=4096, tail=True) if error and error.traceback else None,
        )


def clean(text: str, *, most: int = MAX_TEXT, tail: bool = False) -> str:
    """A tenant's text made fit for logs, events and status: no control characters, at most `most` characters."""
    text = _CONTROL.sub("", text)
    if len(text) <= most:
        return text
    return "…" + text[1 - most :] if tail else text[: most - 1] + "…"


def find(
    gang: Gang, nodes: Mapping[str, Manifest], *, desired: int, all_created: bool, now: datetime
) -> Failure | None:
    """The root cause for which this attempt must end, None while it may go on.

    Args:
        gang: the pods, bucketed.
        nodes: the cluster's nodes by name; empty where they aren't watched.
        desired: pods the gang has.
        all_created: True once all pods were seen, so that one that isn't there was deleted.
        now: the time.
    """
    failures = [failure for pod in gang.pods if (failure := _of_pod(pod, nodes, now=now)) is not None]
    if all_created:
        failures += _missing(gang, desired=desired, now=now)
    return min(failures, key=lambda failure: (failure.reason in _FOLLOWS, failure.time), default=None)


def next_look(gang: Gang, *, now: datetime) -> Iterable[float]:
    """Seconds until a pod that can't start has had its grace."""
    for pod in gang.pods:
        if _cannot_start(pod) is not None:
            yield max(0.0, ((pod.started or now) + START_GRACE - now).total_seconds())


def _of_pod(pod: Pod, nodes: Mapping[str, Manifest], *, now: datetime) -> Failure | None:
    checks: tuple[Callable[[], Failure | None], ...] = (
        lambda: _disrupted(pod, now=now),
        lambda: _failed(pod, now=now),
        lambda: _node_lost(pod, nodes, now=now),
        lambda: _deleted(pod, now=now),
        lambda: _stuck(pod, now=now),
    )
    return next((failure for check in checks if (failure := check()) is not None), None)


def _disrupted(pod: Pod, *, now: datetime) -> Failure | None:
    target = pod.condition("DisruptionTarget")
    if target.get("status") != "True" or pod.phase == "Succeeded":
        return None
    text = f"pod {pod.name} was evicted from node {pod.node}: {target.get('reason')}: {target.get('message', '')}"
    return Failure(Reason.EVICTED, text, pod.finished or now, pod)


def _failed(pod: Pod, *, now: datetime) -> Failure | None:
    if pod.phase != "Failed" and not pod.terminated.get("exitCode"):
        return None
    terminated = pod.terminated
    if not terminated:
        why = pod.status.get("reason") or "no reason given"
        text = f"node {pod.node} ended pod {pod.name}: {why}: {pod.status.get('message', '')}"
        return Failure(Reason.EVICTED, text, now, pod)
    reason = _exit_reason(terminated)
    return Failure(reason, _exit_message(pod, reason), _exit_time(pod, now=now), pod)


def _exit_reason(terminated: Mapping[str, Any]) -> Reason:
    code = terminated.get("exitCode")
    if terminated.get("reason") == "OOMKilled":
        return Reason.OUT_OF_MEMORY
    if terminated.get("reason") in ("StartError", "ContainerCannotRun"):
        return Reason.CONTAINER_CONFIG
    if code in (129, 130, 134, 135, 136, 137, 139, 143):
        return Reason.KILLED
    return next((reason for known, reason in _EXIT_REASONS.items() if known == code), Reason.USER_ERROR)


def _exit_time(pod: Pod, *, now: datetime) -> datetime:
    """When the pod's first error came, as the trainer said it if that is believable, else as the node saw the end."""
    finished = pod.finished or now
    error = pod.verdict.error if pod.verdict else None
    if error is None or error.time is None or not 0 <= finished.timestamp() + 1 - error.time < 86_400:
        return finished
    return datetime.fromtimestamp(error.time, tz=finished.tzinfo)


def _exit_message(pod: Pod, reason: Reason) -> str:
    code = pod.terminated.get("exitCode")
    if reason is Reason.OUT_OF_MEMORY:
        return (
            f"pod {pod.name} was killed because it used more memory than resources.limits.memory; "
            "raise the limit, or lower the batch size or the number of data workers"
        )
    verdict = pod.verdict
    if verdict is not None and verdict.error is not None:
        error = verdict.error
        return f"{error.type}: {error.message}" if error.type else error.message
    said = str(pod.terminated.get("message") or "").strip()
    said = said.splitlines()[-1] if said and verdict is None else ""
    return f"pod {pod.name} ended with exit code {code}" + (f": {said}" if said else "; its log says more")


def _node_lost(pod: Pod, nodes: Mapping[str, Manifest], *, now: datetime) -> Failure | None:
    if pod.terminal or pod.node is None or not nodes or not node_is_lost(nodes.get(pod.node)):
        return None
    return Failure(Reason.NODE_LOST, f"node {pod.node}, which runs rank {pod.rank}, isn't ready", now, pod)


def _deleted(pod: Pod, *, now: datetime) -> Failure | None:
    if pod.terminating and not pod.terminal:
        return Failure(Reason.EVICTED, f"pod {pod.name} was deleted by somebody else", now, pod)
    return None


def _cannot_start(pod: Pod) -> Reason | None:
    return {
        "ImagePullBackOff": Reason.IMAGE_PULL_FAILED,
        "ErrImagePull": Reason.IMAGE_PULL_FAILED,
        "ErrImageNeverPull": Reason.IMAGE_PULL_FAILED,
        "InvalidImageName": Reason.IMAGE_PULL_FAILED,
        "CreateContainerConfigError": Reason.CONTAINER_CONFIG,
        "CreateContainerError": Reason.CONTAINER_CONFIG,
        "RunContainerError": Reason.CONTAINER_CONFIG,
    }.get(str(pod.waiting.get("reason")))


def _stuck(pod: Pod, *, now: datetime) -> Failure | None:
    reason = _cannot_start(pod)
    if reason is None or now < (pod.started or now) + START_GRACE:
        return None
    said = pod.waiting.get("message") or pod.waiting.get("reason")
    way_out = (
        "check spec.trainer.image and spec.podTemplate.imagePullSecrets"
        if reason is Reason.IMAGE_PULL_FAILED
        else "create what is missing in the job's namespace, or correct its name in the spec"
    )
    return Failure(reason, f"pod {pod.name} can't start: {said}; {way_out}, then set runPolicy.restartNonce", now, pod)


def _missing(gang: Gang, *, desired: int, now: datetime) -> list[Failure]:
    gone = [rank for rank in range(desired) if rank not in gang.current]
    if not gone:
        return []
    return [Failure(Reason.POD_LOST, f"the pod of rank {gone[0]} was deleted by somebody else", now)]
