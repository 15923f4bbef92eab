"""Phase, node counts and message of a living attempt, from its pods."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from footplate.api.reports import ProgressStatus
from footplate.api.scalars import format_time
from footplate.api.status import NodeCounts, Phase
from footplate.objects import text
from footplate.policy.pod import PREPARING, Pod
from footplate.policy.pods import Gang
from footplate.policy.reasons import Reason
from footplate.text import clean

_NO_NODE = "nodes are available"
"""In kube-scheduler's words for a pod that fits nowhere."""

SLOW_START = timedelta(seconds=90)
"""A pod that the node has prepared for so long may lack a volume, which only its events say."""


def count(gang: Gang, *, desired: int) -> NodeCounts:
    """Pods of the attempt, by how far they got."""
    at_work, others = len(gang.pods) - len(gang.not_at_work), gang.not_at_work
    return NodeCounts(
        desired=desired,
        created=len(gang.pods) + gang.gone,
        scheduled=at_work + sum(pod.node is not None for pod in others) + gang.gone,
        ready=at_work + sum(pod.running for pod in others),
        succeeded=len(gang.succeeded),
        failed=sum(
            pod.phase == "Failed" or bool(pod.exit_code) for pod in gang.ended if pod.rank not in gang.succeeded
        ),
    )


def derive(gang: Gang, counts: NodeCounts, *, was: Phase) -> tuple[Phase, Reason]:
    """Where a living attempt is. Once it runs it stays Running to its end: ranks may finish one after the other."""
    if was is Phase.RUNNING or counts.ready + counts.succeeded == counts.desired:
        return Phase.RUNNING, Reason.ALL_PODS_RUNNING
    if counts.created < counts.desired:
        return (Phase.RESTARTING if was is Phase.RESTARTING else Phase.PENDING), Reason.CREATING_PODS
    if counts.scheduled < counts.desired:
        gated = any(pod.gated for pod in gang.pods)
        return Phase.QUEUED, Reason.GATED if gated else Reason.WAITING_FOR_NODES
    return Phase.STARTING, Reason.STARTING_PODS


def describe(
    phase: Phase,
    gang: Gang,
    counts: NodeCounts,
    progress: ProgressStatus | None,
    *,
    mounts: Sequence[str] = (),
    said: str | None = None,
    since: datetime,
    now: datetime,
) -> str:
    """The message for a living attempt: what is there, what is awaited, since when, and why. `mounts` is what its
    volumes need, `said` why it has no nodes, where that isn't what its pods say.
    """
    waiting = f", waiting since {format_time(since)}"
    nodes = f"of {counts.desired} nodes"
    if phase is Phase.RUNNING:
        return f"{counts.ready + counts.succeeded} {nodes} running{_steps(progress)}"
    if phase is Phase.QUEUED:
        return f"{counts.scheduled} {nodes} scheduled{waiting}{because(gang) if said is None else said}"
    if phase is Phase.STARTING:
        return f"{counts.ready} {nodes} started{waiting}{_waiting(gang.unsettled, mounts=mounts, now=now)}"
    return f"{counts.created} {nodes} created"


def seconds_until_slow(gang: Gang, *, now: datetime) -> float | None:
    """Seconds until the message says that a pod is slow to start; None where none may be."""
    since = [pod.started or now for pod in gang.unsettled if _prepares(pod)]
    left = (min(since) + SLOW_START - now).total_seconds() if since else 0.0
    return left if left > 0 else None


def _steps(progress: ProgressStatus | None) -> str:
    if progress is None or progress.step is None:
        return ""
    of = f" of {progress.total_steps:,}" if progress.total_steps is not None else ""
    share = f" ({progress.percent:.1f} %)" if progress.percent is not None else ""
    left = f", {progress.eta} left" if progress.eta is not None else ""
    return f", step {progress.step:,}{of}{share}{left}"


def because(gang: Gang) -> str:
    """What the scheduler, or whoever gates the pods, says of those that have no node: of the first, or of one that
    finds none, since those that would find one wait for it.
    """
    waiting = [pod for pod in gang.pods if pod.node is None]
    if not waiting:
        return ""
    gate = "held back by a scheduling gate" if waiting[0].gated else ""
    words = (text(pod.condition("PodScheduled"), "message") for pod in waiting)
    first = next(words) or gate
    said = first if _NO_NODE in first else next((each for each in words if _NO_NODE in each), first)
    return f"; {clean(said, most=512)}" if said else ""


def _waiting(pods: Sequence[Pod], *, mounts: Sequence[str], now: datetime) -> str:
    """What the node says of the first pod that it can't start, or where to read of one that takes long."""
    for pod in pods:
        said = text(pod.waiting, "message") or text(pod.waiting, "reason")
        if said and not _prepares(pod):
            return f"; {clean(said, most=512)}"
        if _prepares(pod) and pod.held_up_by:
            return f"; pod {pod.name} can't start its trainer because of container {clean(pod.held_up_by, most=512)}"
        if _prepares(pod) and now >= (pod.started or now) + SLOW_START:
            needs = f" (it mounts {clean(', '.join(mounts), most=512)})" if mounts else ""
            if pod.waits_for:
                needs = f" (its init container {clean(pod.waits_for, most=63)} has not ended yet)"
            return f"; pod {pod.name} takes long{needs}: `kubectl describe pod {pod.name}` says why"
    return ""


def _prepares(pod: Pod) -> bool:
    """True while the node fetches the image and the volumes, of which the pod's status says nothing."""
    reason = text(pod.waiting, "reason")
    return bool(reason) and reason in PREPARING
