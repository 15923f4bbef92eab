"""The bucketing of a job's pods that all policies share, and what is read of the nodes under them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from footplate.attempt_spec import attempt_name
from footplate.objects import Object, block, blocks, place_of, text, time, view_of
from footplate.policy.plan import Doubt
from footplate.policy.pod import Pod


@dataclass(frozen=True)
class Gang:
    """The pods of a job at one moment, bucketed once.

    `current` are those of the current attempt, by rank and in its order; `scouts` keep places for more ranks of it;
    `older` are all others that the job owns. `remembered` are ranks of the attempt that were seen to be done.

    Most pods of a large gang are at work, and nothing is to be said of them: they are gone through as seldom as can be.
    """

    current: Mapping[int, Pod]
    older: Sequence[Pod]
    now: datetime
    scouts: Mapping[int, Pod] = field(default_factory=dict)
    remembered: Collection[int] = frozenset()
    name: str = ""
    """What the names of the current attempt's pods have in common."""

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
        remembered: Collection[int] = (),
    ) -> Self:
        """Buckets raw pods. Those that the job doesn't control are left out; one that says it were of the attempt but
        hasn't the name or a rank of its gang is no part of it.
        """
        name = attempt_name(text(block(job, "metadata"), "name"), run=run, attempt=attempt)
        current: dict[int, Pod] = {}
        scouts: dict[int, Pod] = {}
        older: list[Pod] = []
        for pod in owned_pods(pods, job):
            rank = pod.rank
            if rank < 0 or pod.name != f"{name}-{rank}" or (rank >= nodes and not pod.is_scout):
                older.append(pod)
            elif rank < nodes:
                current[rank] = pod
            else:
                scouts[rank] = pod
        ranks = sorted(current)
        return cls({rank: current[rank] for rank in ranks}, older, now, scouts, remembered, name)

    def doubt(self, rank: int) -> Doubt:
        """That the pod of a rank is as it is seen, or gone."""
        return Doubt("Pod", f"{self.name}-{rank}")

    @cached_property
    def pods(self) -> Sequence[Pod]:
        """Pods of the current attempt, in order of rank."""
        return [*self.current.values()]

    @property
    def everyone(self) -> Sequence[Pod]:
        """Pods of all attempts."""
        return [*self.older, *self.current.values(), *self.scouts.values()]

    @cached_property
    def not_at_work(self) -> Sequence[Pod]:
        """Pods of the current attempt that don't simply run."""
        return [pod for pod in self.pods if not pod.at_work]

    @cached_property
    def ended(self) -> Sequence[Pod]:
        """Pods of the current attempt whose trainer has ended."""
        return [pod for pod in self.not_at_work if pod.ended]

    @cached_property
    def succeeded(self) -> frozenset[int]:
        """Ranks of the current attempt that are done, also those whose pods are gone since."""
        return frozenset(self.remembered).union(pod.rank for pod in self.ended if pod.succeeded(self.now))

    @cached_property
    def unsettled(self) -> Sequence[Pod]:
        """Pods of the current attempt that are neither at work nor done: what is to be said of a gang is in them, and
        in its nodes.
        """
        return [pod for pod in self.not_at_work if pod.rank not in self.succeeded]

    @property
    def is_already_complete(self) -> bool:
        """True where rank 0 has found the model that the run was to make, and so trained nothing: the others wait for
        it in vain.
        """
        pod = self.current.get(0)
        said = pod.verdict if pod is not None and pod.succeeded(self.now) else None
        return said is not None and said.already_complete and said.artifact is not None

    def may_have_succeeded(self, desired: int) -> bool:
        """True while nothing but the kubelets' last words is awaited of the ranks that aren't done."""
        open_ = [pod for pod in self.unsettled if pod.may_have_succeeded(self.now)]
        return bool(open_) and len(open_) + len(self.succeeded) == desired

    @cached_property
    def gone(self) -> int:
        """Number of the ranks that are done and have no pod any more."""
        return sum(rank not in self.current for rank in self.succeeded)

    def is_whole(self, desired: int) -> bool:
        """True where each rank has a pod, or is done."""
        return len(self.current) + self.gone == desired

    def on_lost_nodes(self, nodes: Mapping[str, Object]) -> Sequence[Pod]:
        """Living pods of the current attempt whose node is gone or isn't ready; none where nodes aren't watched."""
        names = self._node_names if nodes else ()
        lost = {name for name in names if name is not None and node_is_lost(nodes.get(name))}
        return [pod for pod in self.pods if pod.node in lost and not pod.ended] if lost else []

    @cached_property
    def _node_names(self) -> Collection[str | None]:
        return {pod.node for pod in self.pods}


def owned_pods(pods: Sequence[Object], job: Object) -> list[Pod]:
    """Views of the pods that the job controls."""
    here = place_of(job)
    return [pod for pod in map(Pod.of, pods) if pod.controller == here and here[1]]


def node_is_lost(node: Object | None) -> bool:
    """True for a node that is gone, not ready, or throws its pods out."""
    return node is None or view_of(node, _is_lost)


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
