"""Phase, node counts and message of a living attempt, from its pods."""

from collections.abc import Sequence

from footplate.api.status import NodeCounts, Phase, ProgressStatus
from footplate.policy.failure import clean
from footplate.policy.pods import Gang, Pod
from footplate.policy.reasons import Reason


def count(gang: Gang, *, desired: int) -> NodeCounts:
    """Pods of the attempt, by how far they got."""
    pods = gang.pods
    ready = sum(pod.running for pod in pods)
    return NodeCounts(
        desired=desired,
        created=len(pods),
        scheduled=sum(pod.node is not None for pod in pods),
        ready=ready,
        succeeded=sum(pod.phase == "Succeeded" for pod in pods),
        failed=sum(pod.phase == "Failed" for pod in pods),
        summary=f"{ready}/{desired}",
    )


def of_gang(gang: Gang, counts: NodeCounts, *, was: Phase) -> tuple[Phase, Reason]:
    """Where a living attempt is. Once it runs it stays Running to its end: ranks may finish one after the other."""
    if was is Phase.RUNNING or counts.ready + counts.succeeded == counts.desired:
        return Phase.RUNNING, Reason.ALL_PODS_RUNNING
    if counts.created < counts.desired:
        return (Phase.RESTARTING if was is Phase.RESTARTING else Phase.PENDING), Reason.CREATING_PODS
    if counts.scheduled < counts.desired:
        gated = any(pod.gated for pod in gang.pods)
        return Phase.QUEUED, Reason.GATED if gated else Reason.WAITING_FOR_NODES
    return Phase.STARTING, Reason.STARTING_PODS


def describe(phase: Phase, gang: Gang, counts: NodeCounts, progress: ProgressStatus | None) -> str:
    """The message for a living attempt: what is there, what is awaited, and why."""
    nodes = f"of {counts.desired} nodes"
    if phase is Phase.RUNNING:
        return f"{counts.ready + counts.succeeded} {nodes} running{_steps(progress)}"
    if phase is Phase.QUEUED:
        return f"{counts.scheduled} {nodes} scheduled{_because(gang)}"
    if phase is Phase.STARTING:
        return f"{counts.ready} {nodes} started{_waiting(gang.pods)}"
    return f"{counts.created} {nodes} created"


def _steps(progress: ProgressStatus | None) -> str:
    if progress is None or progress.step is None:
        return ""
    of = f" of {progress.total_steps:,}" if progress.total_steps is not None else ""
    return f", step {progress.step:,}{of}"


def _because(gang: Gang) -> str:
    """What the scheduler, or whoever gates the pods, says of the first pod that has no node."""
    for pod in gang.pods:
        if pod.node is None:
            said = pod.condition("PodScheduled").get("message")
            gate = "held back by a scheduling gate" if pod.gated else ""
            return f"; {clean(str(said or gate), most=512)}" if said or gate else ""
    return ""


def _waiting(pods: Sequence[Pod]) -> str:
    for pod in pods:
        said = pod.waiting.get("message") or pod.waiting.get("reason")
        if said and said not in ("ContainerCreating", "PodInitializing"):
            return f"; {clean(str(said), most=512)}"
    return ""
