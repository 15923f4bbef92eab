"""Why a gang ended, and who pays: finds the root cause among the pods of an attempt and classes it.

The earliest failing rank is the cause; a rank that only saw its peer go, or was stopped, never is while another is
found. `find` looks at what is true now and remembers nothing.
"""

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from footplate.api.status import MAX_UNFIT, FailureClass, FailureStatus
from footplate.contract import KEEPING_SECONDS, ExitCode
from footplate.objects import Object, text, time
from footplate.policy import kubelet
from footplate.policy.plan import Doubt
from footplate.policy.pod import CLOCKS_DIFFER, LAST_WORD, Pod
from footplate.policy.pods import Gang, last_ready, node_is_lost
from footplate.policy.reasons import Reason
from footplate.text import MAX_TERMINATION_BYTES, clean, clean_lines

VIEW_LAG = timedelta(seconds=10)
"""Pods and nodes are watched apart: a pod may be seen on a node of which nothing newer than its start is known."""

SETTLE = timedelta(seconds=3)
"""How long the cause is awaited where ranks were killed by nobody knows whom."""
PEER_SETTLE = SETTLE + timedelta(seconds=KEEPING_SECONDS)
"""The same where ranks only saw a peer go: its pod sends its logs before it says why."""

_CLASS = {
    Reason.DATA_ERROR: FailureClass.PERMANENT,
    Reason.CONFIG_ERROR: FailureClass.PERMANENT,
    Reason.GATE_NOT_PASSED: FailureClass.PERMANENT,
    Reason.USER_ERROR: FailureClass.USER,
    Reason.OUT_OF_MEMORY: FailureClass.USER,
    Reason.OUT_OF_DISK: FailureClass.USER,
    Reason.KILLED: FailureClass.USER,
    Reason.HANG: FailureClass.HANG,
}
"""Who pays for what; all else is the infrastructure's. Of what keeps pods from starting `start_trouble` says it."""

_EXIT_REASONS: Mapping[int | None, Reason] = {
    ExitCode.DATA_ERROR: Reason.DATA_ERROR,
    ExitCode.CONFIG_ERROR: Reason.CONFIG_ERROR,
    ExitCode.USER_ERROR: Reason.USER_ERROR,
    ExitCode.STOPPED: Reason.STOPPED,
    ExitCode.PEER_LOST: Reason.PEER_LOST,
    ExitCode.HANG: Reason.HANG,
    ExitCode.NODE_UNFIT: Reason.NODE_UNFIT,
    ExitCode.GATE_NOT_PASSED: Reason.GATE_NOT_PASSED,
    **dict.fromkeys((129, 130, 134, 135, 136, 137, 139, 143), Reason.KILLED),
}

_OURS_ALONE = (ExitCode.NODE_UNFIT, ExitCode.GATE_NOT_PASSED)
"""What the supervisor alone can know."""

_FOLLOWS = (Reason.PEER_LOST, Reason.STOPPED)
"""What the end of another pod brings about: blamed only where nothing else is found."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One cause for the end of an attempt."""

    reason: Reason
    message: str
    time: datetime
    pod: Pod | None = None
    class_: FailureClass | None = None
    """Who pays, where it isn't the reason alone that says so."""
    doubts: tuple[Doubt, ...] = ()
    """What must be confirmed before it counts: a later view might show that it is over."""

    @property
    def failure_class(self) -> FailureClass:
        """Who pays."""
        return self.class_ or _CLASS.get(self.reason, FailureClass.INFRASTRUCTURE)

    def to_status(self) -> FailureStatus:
        """The failure as the user sees it."""
        pod = self.pod
        error = pod.error if pod else None
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
    suspects = dict.fromkeys((*gang.unsettled, *gang.on_lost_nodes(nodes)))
    failures = [
        failure
        for pod in suspects
        if pod.rank not in gang.succeeded and (failure := _of_pod(pod, nodes, now=now)) is not None
    ]
    if all_created:
        failures += _missing(gang, desired=desired, now=now)
    return min(failures, key=lambda failure: (_follows(failure), failure.time), default=None)


def _follows(failure: Failure) -> bool:
    """True for what the end of another pod brings about, as far as a command's log says so."""
    cause = failure.pod.cause if failure.reason is Reason.USER_ERROR and failure.pod is not None else None
    return failure.reason in _FOLLOWS or (cause is not None and cause.lost_peer)


def is_settled(cause: Failure, gang: Gang, *, now: datetime) -> bool:
    """False while a rank that only saw its peer go may soon be followed by the one that knows why, or the kubelet of a
    rank that was killed may yet say that it did it.
    """
    patience = PEER_SETTLE if cause.reason is Reason.PEER_LOST else SETTLE
    return not -CLOCKS_DIFFER <= now - cause.time < patience or not _is_open(cause, gang, now=now)


def _is_open(cause: Failure, gang: Gang, *, now: datetime) -> bool:
    if cause.reason in (Reason.PEER_LOST, Reason.NODE_UNFIT):  # another may know why, or be about to say the same
        return len(gang.ended) < len(gang.pods)
    pod = cause.pod
    return cause.reason is Reason.KILLED and pod is not None and pod.verdict is None and pod.awaits_last_word(now)


def unfit_nodes(gang: Gang) -> list[str]:
    """Nodes that fell short in preflight, each of which says so itself."""
    found = (pod.node for pod in gang.ended if pod.node and pod.exit_code and _exit_reason(pod) is Reason.NODE_UNFIT)
    return sorted(clean(node, most=253) for node in found)[:MAX_UNFIT]


def next_look(gang: Gang, nodes: Mapping[str, Object], *, now: datetime) -> Iterable[float]:
    """Seconds until what is given some time now counts as a failure."""
    for pod in gang.unsettled:
        if pod.exit_code:
            yield (PEER_SETTLE if pod.exit_code == ExitCode.PEER_LOST else SETTLE).total_seconds()
    if gang.on_lost_nodes(nodes):
        yield VIEW_LAG.total_seconds()
    yield from next_words(gang, now=now)


def next_words(gang: Gang, *, now: datetime) -> Iterable[float]:
    """Seconds until nothing more is awaited of a pod whose trainer has ended."""
    for pod in gang.ended:
        if pod.awaits_last_word(now) and pod.finished is not None:
            yield (pod.finished + LAST_WORD - now).total_seconds()


def _of_pod(pod: Pod, nodes: Mapping[str, Object], *, now: datetime) -> Failure | None:
    return (
        _exceeded(pod, now=now)
        or _taken_away(pod, now=now)
        or _ended_by_node(pod, now=now)
        or _failed(pod, now=now)
        or node_lost(pod, nodes, now=now)
    )  # fmt: skip


def _exceeded(pod: Pod, *, now: datetime) -> Failure | None:
    """Evicted for what the pod itself has used, whatever else is said of it."""
    over = kubelet.exceeded(pod)
    return None if over is None else _of_kubelet(pod, over, now=now)


def _ended_by_node(pod: Pod, *, now: datetime) -> Failure | None:
    ruled = None if pod.ended_unasked else kubelet.ruling(pod)
    return None if ruled is None else _of_kubelet(pod, ruled, now=now)


def _of_kubelet(pod: Pod, ruled: kubelet.Ruling, *, now: datetime) -> Failure:
    reason, said = ruled
    return Failure(reason, f"pod {pod.name}{_on_node(pod)} {said}", pod.finished or now, pod)


def _taken_away(pod: Pod, *, now: datetime) -> Failure | None:
    """Evicted, preempted or deleted: whatever became of the pod after that isn't its own fault."""
    target = pod.disruption
    if pod.ended_unasked:
        return None
    if target:
        since = time(target, "lastTransitionTime")
        said = f"was evicted: {': '.join(filter(None, (text(target, 'reason'), text(target, 'message'))))}"
    elif pod.terminating:
        since, said = pod.deleted, _who_deleted(pod)
    else:
        return None
    return Failure(Reason.EVICTED, f"pod {pod.name}{_on_node(pod)} {said}", since or now, pod)


def _who_deleted(pod: Pod) -> str:
    """Kueue says so before it deletes."""
    target = pod.condition("TerminationTarget")
    if target.get("status") != "True":
        return "was deleted by somebody else"
    return f"was stopped by Kueue: {clean(text(target, 'message'), most=512) or text(target, 'reason')}"


def _failed(pod: Pod, *, now: datetime) -> Failure | None:
    if pod.exit_code:
        reason = _exit_reason(pod)
        return Failure(reason, _exit_message(pod, reason), _exit_time(pod, now=now), pod)
    if pod.phase != "Failed" or pod.exit_code == 0:
        return None
    return _of_kubelet(pod, kubelet.unexplained(pod), now=now)


def _exit_reason(pod: Pod) -> Reason:
    said = text(pod.terminated, "reason")
    if said == "OOMKilled":
        return Reason.OUT_OF_MEMORY
    if said in ("StartError", "ContainerCannotRun"):
        return Reason.CONTAINER_CONFIG
    if said == "ContainerStatusUnknown":
        return Reason.POD_LOST
    if pod.exit_code in _OURS_ALONE and pod.verdict is None:  # a bare command's own
        return Reason.USER_ERROR
    return _EXIT_REASONS.get(pod.exit_code, Reason.USER_ERROR)


def _exit_time(pod: Pod, *, now: datetime) -> datetime:
    """When the pod's first error came, as the trainer said it if that is believable, else as the node saw the end."""
    finished = pod.finished or now
    error = pod.error
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
            f"pod {pod.name} can't start: {_last_line(pod)}; name a program of trainer.image in trainer.command or, "
            "where that is our supervisor's python, an image with footplate[supervisor], for a recipe or an entrypoint "
            "footplate[trainer]; delete the job and create it anew"
        )
    if reason is Reason.POD_LOST:
        return (
            f"pod {pod.name}{_on_node(pod)} is lost: its node was restarted and knows nothing of its trainer any more"
        )
    verdict = pod.verdict
    if (error := pod.error) is not None:
        if reason is Reason.NODE_UNFIT:
            return f"node {pod.node} (node rank {pod.rank}) falls short in preflight: {error.message}"
        return ": ".join(filter(None, (error.type, error.message)))
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
    if pod.ended or pod.node is None or not nodes:
        return None
    node = nodes.get(pod.node)
    if not node_is_lost(node):
        return None
    since, bound = last_ready(node), pod.bound
    if bound is not None and now < bound + VIEW_LAG and (since is None or since <= bound):
        return None
    how = "isn't ready" if node is not None else "is gone"
    message = f"node {pod.node}, which runs rank {pod.rank}, {how}"
    return Failure(
        Reason.NODE_LOST, message, since or now, pod, doubts=(Doubt("Node", pod.node), Doubt("Pod", pod.name))
    )


def _missing(gang: Gang, *, desired: int, now: datetime) -> list[Failure]:
    if gang.is_whole(desired):
        return []
    gone = next(rank for rank in range(desired) if rank not in gang.current and rank not in gang.succeeded)
    message = f"the pod of rank {gone} was deleted by somebody else"
    return [Failure(Reason.POD_LOST, message, now, doubts=(gang.doubt(gone),))]


def _on_node(pod: Pod) -> str:
    return f" on node {pod.node}" if pod.node else ""
