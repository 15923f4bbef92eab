"""The bucketing of a job's pods that all policies share, and what is read of the nodes under them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from footplate.objects import Kept, Object, block, blocks, place_of, text, time
from footplate.policy.pod import Pod


@dataclass(frozen=True)
class Gang:
    """The pods of a job, bucketed once.

    `current` are those of the current attempt, by rank and in its order; `scouts` keep places for more ranks of it;
    `older` are all others that the job owns. `succeeded` are the ranks of the current attempt that are done, also those
    whose pods are gone since.
    """

    current: Mapping[int, Pod]
    older: Sequence[Pod]
    scouts: Mapping[int, Pod] = field(default_factory=dict)
    succeeded: Collection[int] = frozenset()

    @classmethod
    def of(
        cls,
        pods: Sequence[Object],
        job: Object,
        *,
        run: int,
        attempt: int,
        nodes: int,
        now: datetime,
        succeeded: Collection[int] = (),
    ) -> Self:
        """Buckets raw pods. Those that the job doesn't control are left out; one that says it were of the attempt but
        hasn't the name or a rank of its gang is no part of it. `succeeded` are ranks that are known to be done.
        """
        stem = f"{text(block(job, 'metadata'), 'name')}-{run}-{attempt}-"
        current, scouts, older = {}, {}, []
        for pod in owned_pods(pods, job):
            rank = pod.rank
            if pod.name != f"{stem}{rank}" or rank < 0 or (rank >= nodes and not pod.is_scout):
                older.append(pod)
            elif rank < nodes:
                current[rank] = pod
            else:
                scouts[rank] = pod
        in_order = {rank: current[rank] for rank in sorted(current)}
        done = {rank for rank, pod in in_order.items() if pod.ended and pod.succeeded(now)}
        return cls(in_order, older, scouts, done | {rank for rank in succeeded if rank < nodes})

    @cached_property
    def pods(self) -> Sequence[Pod]:
        """Pods of the current attempt, in order of rank."""
        return [*self.current.values()]

    @cached_property
    def everyone(self) -> Sequence[Pod]:
        """Pods of all attempts."""
        return [*self.older, *self.current.values(), *self.scouts.values()]

    @cached_property
    def ended(self) -> Sequence[Pod]:
        """Pods of the current attempt whose trainer has ended."""
        return [pod for pod in self.pods if pod.ended]

    @cached_property
    def unsettled(self) -> Sequence[Pod]:
        """Pods of the current attempt that aren't simply at work, nor done: all that can be said of a gang is in them
        and in its nodes.
        """
        return [pod for pod in self.pods if not pod.at_work and pod.rank not in self.succeeded]

    @cached_property
    def gone(self) -> int:
        """Number of the ranks that are done and have no pod any more."""
        return sum(rank not in self.current for rank in self.succeeded)

    def is_whole(self, desired: int) -> bool:
        """True where each rank has a pod, or is done."""
        return len(self.current) + self.gone == desired

    def on_lost_nodes(self, nodes: Mapping[str, Object]) -> Sequence[Pod]:
        """Living pods of the current attempt whose node is gone or isn't ready; none where nodes aren't watched."""
        names = {pod.node for pod in self.pods} if nodes else set()
        lost = {name for name in names if name is not None and node_is_lost(nodes.get(name))}
        return [pod for pod in self.pods if pod.node in lost and not pod.ended] if lost else []


def owned_pods(pods: Sequence[Object], job: Object) -> list[Pod]:
    """Views of the pods that the job controls."""
    here = place_of(job)
    return [pod for pod in map(Pod.of, pods) if pod.controller == here and here[1]]


def node_is_lost(node: Object | None) -> bool:
    """True for a node that is gone, not ready, or throws its pods out."""
    if node is None:
        return True
    if not isinstance(node, Kept):
        return _is_lost(node)
    known: bool | None = getattr(node, "view", None)
    if known is None:
        known = node.view = _is_lost(node)
    return known


def _is_lost(node: Object) -> bool:
    ready = text(_ready(node), "status") or "True"
    return ready != "True" or any(
        taint.get("effect") == "NoExecute" and text(taint, "key").startswith("node.kubernetes.io/")
        for taint in blocks(block(node, "spec"), "taints")
    )


def last_ready(node: Object | None) -> datetime | None:
    """When a node that isn't ready last was, as far as is known."""
    return time(_ready(node), "lastTransitionTime") if node is not None else None


def _ready(node: Object) -> Mapping[str, Any]:
    conditions = blocks(block(node, "status"), "conditions")
    return next((condition for condition in conditions if condition.get("type") == "Ready"), {})
