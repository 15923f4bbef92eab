"""The pods of a job's present gang, one by one: who runs, who is slow, who is gone. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from footplate.api.status import TrainingJobStatus
from footplate.attempt_spec import pod_name
from footplate.client.untrusted import plain
from footplate.contract import Label
from footplate.objects import Object, is_controlled_by, key_of, text, uid_of
from footplate.policy.facts import parse_ranks
from footplate.policy.pod import Pod

State = Literal["absent", "pending", "starting", "running", "stopping", "succeeded", "failed"]
_REASON_BYTES = 256


@dataclass(frozen=True, slots=True)
class RankView:
    """One pod of the gang."""

    node_rank: int
    pod: str
    """Its name."""
    node: str | None
    """Kubernetes node; None while it has none."""
    state: State
    reason: str
    """Why it isn't running, in words; empty where all is well."""
    exit_code: int | None
    since: datetime | None
    """When it began to run, or ended."""
    slow: float | None
    """Its slowest rank's own work on a step takes so many times the median rank's; None where none holds others up."""


def selector_of(job: Object, status: TrainingJobStatus) -> str:
    """The labels of the present gang's pods."""
    labels = {Label.JOB: key_of(job)[1], Label.UID: uid_of(job), Label.RUN: str(status.run or 1)}
    return ",".join(f"{label}={value}" for label, value in {**labels, Label.ATTEMPT: str(status.attempt or 0)}.items())


def view_ranks(job: Object, status: TrainingJobStatus, pods: Sequence[Object]) -> list[RankView]:
    """All ranks of the gang, those without a pod too."""
    attempt = status.attempts[-1] if status.attempts else None
    nodes = (attempt.nodes if attempt else None) or (status.nodes.desired if status.nodes else 0)
    views = [Pod.of(pod) for pod in pods if is_controlled_by(pod, job)]
    found = {view.rank: view for view in views if not view.is_scout}
    done = parse_ranks((attempt.succeeded_ranks if attempt else None) or "", nodes=nodes)
    slow = _slow(status)
    name = key_of(job)[1]
    return [
        _of_pod(found[rank], slow.get(rank))
        if rank in found
        else RankView(
            node_rank=rank,
            pod=pod_name(name, run=status.run or 1, attempt=status.attempt or 0, rank=rank),
            node=None,
            state="succeeded" if rank in done else "absent",
            reason="" if rank in done else "there is no such pod",
            exit_code=0 if rank in done else None,
            since=None,
            slow=None,
        )
        for rank in range(nodes)
    ]


def _of_pod(pod: Pod, slow: float | None) -> RankView:
    state, reason = _state(pod)
    return RankView(
        node_rank=pod.rank,
        pod=pod.name,
        node=pod.node,
        state=state,
        reason=plain(reason, most=_REASON_BYTES),
        exit_code=pod.exit_code,
        since=pod.finished or pod.running_since,
        slow=slow if state == "running" else None,
    )


def _state(pod: Pod) -> tuple[State, str]:
    if pod.exit_code == 0:
        return "succeeded", ""
    if pod.exit_code is not None or pod.phase == "Failed":
        error = pod.error
        said = (error.message if error else "") or text(pod.terminated, "reason") or text(pod.status, "reason")
        return "failed", said or f"exit code {pod.exit_code}"
    if pod.terminating:
        return "stopping", "somebody deletes it"
    if pod.running:
        return "running", ""
    if pod.node is not None:
        return "starting", text(pod.waiting, "message") or text(pod.waiting, "reason")
    return "pending", text(pod.condition("PodScheduled"), "message")


def _slow(status: TrainingJobStatus) -> Mapping[int, float]:
    """By node rank, the factor of its slowest rank."""
    slow: dict[int, float] = {}
    for each in status.stragglers:
        slow[each.node_rank] = max(each.factor, slow.get(each.node_rank, 0.0))
    return slow
