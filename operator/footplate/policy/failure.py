"""Why a gang ended, and who pays: finds the root cause among the pods of an attempt and classes it.

The earliest failing rank is the cause; a rank that only saw its peer go, or was stopped, never is while another is
found. `find` looks at what is true now and remembers nothing.
"""

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from footplate.api.status import FailureClass, FailureStatus
from footplate.contract import ExitCode
from footplate.objects import Object, text, time
from footplate.policy.plan import Doubt
from footplate.policy.pods import Gang, Pod, last_ready, node_is_lost
from footplate.policy.reasons import Reason
from footplate.text import MAX_TERMINATION_BYTES, clean, clean_lines

START_GRACE = timedelta(seconds=30)
"""How long a missing Secret or an image that can't be pulled may still be put right before the job fails."""

VIEW_LAG = timedelta(seconds=10)
"""Pods and nodes are watched apart: a pod may be seen on a node of which nothing newer than its start is known."""

SETTLE = timedelta(seconds=3)
"""How long the cause is awaited where ranks only saw a peer go."""

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

_EXIT_REASONS: Mapping[int | None, Reason] = {
    ExitCode.DATA_ERROR: Reason.DATA_ERROR,
    ExitCode.CONFIG_ERROR: Reason.CONFIG_ERROR,
    ExitCode.USER_ERROR: Reason.USER_ERROR,
    ExitCode.STOPPED: Reason.STOPPED,
    ExitCode.PEER_LOST: Reason.PEER_LOST,
    ExitCode.HANG: Reason.HANG,
    **dict.fromkeys((129, 130, 134, 135, 136, 137, 139, 143), Reason.KILLED),
}

_CANNOT_START = {
    "ImagePullBackOff": Reason.IMAGE_PULL_FAILED,
    "ErrImagePull": Reason.IMAGE_PULL_FAILED,
    "ErrImageNeverPull": Reason.IMAGE_PULL_FAILED,
    "InvalidImageName": Reason.IMAGE_PULL_FAILED,
    "CreateContainerConfigError": Reason.CONTAINER_CONFIG,
    "CreateContainerError": Reason.CONTAINER_CONFIG,
    "RunContainerError": Reason.CONTAINER_CONFIG,
}

_FOLLOWS = (Reason.PEER_LOST, Reason.STOPPED)
"""What the end of another pod brings about: blamed only where nothing else is found."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One cause for the end of an attempt."""

    reason: Reason
    message: str
    time: datetime
    pod: Pod | None = None
    doubts: tuple[Doubt, ...] = ()
    """What must be confirmed before it counts: a later view might show that it is over."""

    @property
    def failure_class(self) -> FailureClass:
        """Who pays."""
        return _CLASS.get(self.reason, FailureClass.INFRASTRUCTURE)

    def to_status(self) -> FailureStatus:
        """The failure as the user sees it."""
        pod = self.pod
        error = pod.verdict.error if pod and pod.verdict else None
        exit_code = pod.exit_code if pod else None
        return FailureStatus(
            rank=error.rank if error and error.rank is not None else (pod.rank if pod else None),
            node=clean(pod.node, most=253) if pod and pod.node else None,
            exit_code=exit_code,
            signal=exit_code - 128 if exit_code is not None and 128 < exit_code < 160 else None,
            class_=self.failure_class,
            message=clean(self.message),
            traceback=clean_lines(error.traceback, most=4096, tail=True) if error and error.traceback else None,
        )


def find(gang: Gang, nodes: Mapping[str, Object], *, desired: int, all_created: bool, now: datetime) -> Failure | None:
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


def is_settled(cause: Failure, gang: Gang, *, now: datetime) -> bool:
    """False while a rank that only saw its peer go may soon be followed by the one that knows why."""
    alive = any(not pod.terminal for pod in gang.pods)
    return cause.reason is not Reason.PEER_LOST or not alive or not timedelta() <= now - cause.time < SETTLE


def next_look(gang: Gang, nodes: Mapping[str, Object], *, now: datetime) -> Iterable[float]:
    """Seconds until what is given some time now counts as a failure."""
    for pod in gang.pods:
        if pod.exit_code:
            yield SETTLE.total_seconds()
        elif text(pod.waiting, "reason") in _CANNOT_START:
            yield ((pod.started or now) + START_GRACE - now).total_seconds()
        elif not pod.terminal and nodes and pod.node and node_is_lost(nodes.get(pod.node)):
            yield VIEW_LAG.total_seconds()


def _of_pod(pod: Pod, nodes: Mapping[str, Object], *, now: datetime) -> Failure | None:
    return (
        _taken_away(pod, now=now)
        or _failed(pod, now=now)
        or node_lost(pod, nodes, now=now)
        or _stuck(pod, now=now)
    )  # fmt: skip


def _taken_away(pod: Pod, *, now: datetime) -> Failure | None:
    """Evicted, preempted or deleted: whatever became of the pod after that isn't its own fault."""
    target = pod.condition("DisruptionTarget")
    if target.get("status") == "True":
        since = time(target, "lastTransitionTime")
        said = f"was evicted: {text(target, 'reason')}: {text(target, 'message')}"
    elif pod.terminating:
        since, said = pod.deleted, "was deleted by somebody else"
    else:
        return None
    since = since or now
    if pod.phase == "Succeeded" or (pod.finished is not None and pod.finished < since):
        return None
    return Failure(Reason.EVICTED, f"pod {pod.name}{_on_node(pod)} {said}", since, pod)


def _failed(pod: Pod, *, now: datetime) -> Failure | None:
    if pod.exit_code:
        reason = _exit_reason(pod)
        return Failure(reason, _exit_message(pod, reason), _exit_time(pod, now=now), pod)
    if pod.phase != "Failed":
        return None
    why = text(pod.status, "reason") or "no reason given"
    said = f"pod {pod.name}{_on_node(pod)} was ended: {why}: {text(pod.status, 'message')}"
    return Failure(Reason.EVICTED, said, pod.finished or now, pod)


def _exit_reason(pod: Pod) -> Reason:
    said = text(pod.terminated, "reason")
    if said == "OOMKilled":
        return Reason.OUT_OF_MEMORY
    if said in ("StartError", "ContainerCannotRun"):
        return Reason.CONTAINER_CONFIG
    return _EXIT_REASONS.get(pod.exit_code, Reason.USER_ERROR)


def _exit_time(pod: Pod, *, now: datetime) -> datetime:
    """When the pod's first error came, as the trainer said it if that is believable, else as the node saw the end."""
    finished = pod.finished or now
    error = pod.verdict.error if pod.verdict else None
    if error is None or error.time is None or not 0 <= finished.timestamp() + 1 - error.time < 86_400:
        return finished
    return datetime.fromtimestamp(error.time, tz=finished.tzinfo)


def _exit_message(pod: Pod, reason: Reason) -> str:
    if reason is Reason.OUT_OF_MEMORY:
        return (
            f"pod {pod.name} was killed because it used more memory than resources.limits.memory; "
            "raise the limit, or lower the batch size or the number of data workers"
        )
    if reason is Reason.CONTAINER_CONFIG:
        return (
            f"pod {pod.name} can't start: {_last_line(pod)}; name a program of trainer.image in trainer.command, "
            "or for a recipe or an entrypoint an image with footplate[trainer]; delete the job and create it anew"
        )
    verdict = pod.verdict
    if verdict is not None and verdict.error is not None:
        error = verdict.error
        return f"{error.type}: {error.message}" if error.type else error.message
    last_line = "" if verdict else _last_line(pod)
    if verdict is None and pod.exit_code == 128 + signal.SIGKILL:
        return (
            f"pod {pod.name}{_on_node(pod)} was killed from outside (SIGKILL, exit code 137): its node ran out of "
            "memory, somebody killed it, or its kubelet did because its supervisor had not answered for long; "
            f"`kubectl events --for pod/{pod.name}` says which"
        ) + (f"; its last line was: {last_line}" if last_line else "")
    return f"pod {pod.name} ended with exit code {pod.exit_code}" + (
        f": {last_line}" if last_line else "; its log says more"
    )


def _last_line(pod: Pod) -> str:
    """The end of a termination message that isn't the trainer's: the user's own, the node's, or the log's tail."""
    lines = clean_lines(text(pod.terminated, "message"), most=MAX_TERMINATION_BYTES, tail=True).split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:512]


def node_lost(pod: Pod, nodes: Mapping[str, Object], *, now: datetime) -> Failure | None:
    """The loss of the node that a pod runs on; None where it isn't lost, or that isn't known."""
    if pod.terminal or pod.node is None or not nodes:
        return None
    node = nodes.get(pod.node)
    if not node_is_lost(node):
        return None
    since, bound = last_ready(node), pod.bound
    if bound is not None and now < bound + VIEW_LAG and (since is None or since <= bound):
        return None
    message = f"node {pod.node}, which runs rank {pod.rank}, isn't ready"
    return Failure(Reason.NODE_LOST, message, since or now, pod, (Doubt("Node", pod.node),))


def _stuck(pod: Pod, *, now: datetime) -> Failure | None:
    reason = _CANNOT_START.get(text(pod.waiting, "reason"))
    if reason is None or now < (pod.started or now) + START_GRACE:
        return None
    said = text(pod.waiting, "message") or text(pod.waiting, "reason")
    message = (
        f"pod {pod.name} can't start: {clean(said, most=512)}; {_way_out(reason, said)}, then set "
        "runPolicy.restartNonce; to change the spec, delete the job and create it anew"
    )
    return Failure(reason, message, now, pod, (Doubt("Pod", pod.name),))


def _way_out(reason: Reason, said: str) -> str:
    if reason is Reason.IMAGE_PULL_FAILED:
        return "push the image, or put right the Secret of podTemplate.imagePullSecrets"
    if "runAsNonRoot" in said:
        return "build the image with a numeric USER other than 0"
    return "create what is missing in the job's namespace"


def _missing(gang: Gang, *, desired: int, now: datetime) -> list[Failure]:
    gone = next((rank for rank in range(desired) if rank not in gang.current), None)
    if gone is None:
        return []
    message = f"the pod of rank {gone} was deleted by somebody else"
    return [Failure(Reason.POD_LOST, message, now, doubts=(gang.doubt(gone),))]


def _on_node(pod: Pod) -> str:
    return f" on node {pod.node}" if pod.node else ""
