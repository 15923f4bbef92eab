"""Views of raw pods and nodes, and the bucketing of a job's pods that all policies share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Self

from footplate.contract import CONTAINER_NAME, Label, Verdict, parse_verdict
from footplate.objects import Object, block, blocks, is_controlled_by, number, text, time
from footplate.podspec import attempt_name
from footplate.policy.plan import Doubt, Target

STOP_MARGIN_SECONDS = 5.0
"""A pod that lives on for so long after its grace period is on a node that nobody hears from."""


@dataclass(frozen=True, eq=False)
class Pod:
    """What the policies read of one pod."""

    raw: Object

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """The raw metadata."""
        return block(self.raw, "metadata")

    @cached_property
    def status(self) -> Mapping[str, Any]:
        """The raw status."""
        return block(self.raw, "status")

    @cached_property
    def name(self) -> str:
        """The pod's name."""
        return text(self.metadata, "name")

    @property
    def target(self) -> Target:
        """The pod as something to delete."""
        return Target("Pod", text(self.metadata, "namespace"), self.name, text(self.metadata, "uid"))

    def label(self, label: Label) -> int:
        """The number in one of the operator's labels, -1 where there is none."""
        number = text(block(self.metadata, "labels"), label)
        return int(number) if number.isascii() and number.isdigit() and len(number) < 12 else -1

    @cached_property
    def rank(self) -> int:
        """Node rank in the gang."""
        return self.label(Label.RANK)

    @property
    def is_scout(self) -> bool:
        """True for a pod that only keeps a place: it has no state to save."""
        return str(Label.SCOUT) in block(self.metadata, "labels")

    @cached_property
    def phase(self) -> str:
        """Kubernetes' phase of the pod."""
        return text(self.status, "phase") or "Pending"

    @cached_property
    def node(self) -> str | None:
        """Name of the node that the pod is bound to."""
        return text(block(self.raw, "spec"), "nodeName") or None

    @property
    def bound(self) -> datetime | None:
        """When the scheduler found the node."""
        return time(self.condition("PodScheduled"), "lastTransitionTime") if self.node else None

    @property
    def gated(self) -> bool:
        """True while somebody's scheduling gate holds the pod back."""
        return bool(block(self.raw, "spec").get("schedulingGates"))

    @property
    def terminal(self) -> bool:
        """True once no container runs, nor will."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def terminating(self) -> bool:
        """True once somebody deleted the pod."""
        return self.metadata.get("deletionTimestamp") is not None

    @property
    def deleted(self) -> datetime | None:
        """When somebody deleted the pod; its grace period began then."""
        deadline = time(self.metadata, "deletionTimestamp")
        grace = number(self.metadata, "deletionGracePeriodSeconds") or 0
        return deadline and deadline - timedelta(seconds=grace)

    def seconds_to_stop(self, now: datetime) -> float:
        """Seconds for which the pod may still be saving its state; 0 where it has ended or is overdue."""
        if self.terminal:
            return 0.0
        deadline = time(self.metadata, "deletionTimestamp") or now
        return max(0.0, (deadline - now).total_seconds() + STOP_MARGIN_SECONDS)

    @property
    def started(self) -> datetime | None:
        """When the node took the pod, or was to."""
        return time(self.status, "startTime") or self.bound

    def condition(self, type_: str) -> Mapping[str, Any]:
        """One of the pod's conditions, empty where it has none of that type."""
        return next((c for c in blocks(self.status, "conditions") if c.get("type") == type_), {})

    @cached_property
    def state(self) -> Mapping[str, Any]:
        """State of the trainer's container: waiting, running or terminated."""
        containers = blocks(self.status, "containerStatuses")
        return block(next((c for c in containers if c.get("name") == CONTAINER_NAME), None), "state")

    @property
    def running_since(self) -> datetime | None:
        """When the trainer's container started, None where it doesn't run."""
        return time(block(self.state, "running"), "startedAt")

    @property
    def running(self) -> bool:
        """True while the trainer's container runs."""
        return self.phase == "Running" and "running" in self.state

    @property
    def waiting(self) -> Mapping[str, Any]:
        """What the trainer's container waits for, empty where it doesn't."""
        return block(self.state, "waiting")

    @property
    def terminated(self) -> Mapping[str, Any]:
        """How the trainer's container ended, empty where it hasn't."""
        return block(self.state, "terminated")

    @property
    def exit_code(self) -> int | None:
        """Exit code of the trainer's container, None where it hasn't ended."""
        return number(self.terminated, "exitCode")

    @property
    def finished(self) -> datetime | None:
        """When the trainer's container ended."""
        return time(self.terminated, "finishedAt")

    @cached_property
    def verdict(self) -> Verdict | None:
        """What the trainer said at its end."""
        return parse_verdict(text(self.terminated, "message"))


@dataclass(frozen=True)
class Gang:
    """The pods of a job, bucketed once.

    `current` are those of the current attempt, by rank and in its order; `scouts` keep places for more ranks of it;
    `older` are all others that the job owns.
    """

    current: Mapping[int, Pod]
    older: Sequence[Pod]
    scouts: Mapping[int, Pod] = field(default_factory=dict)
    name: str = ""
    """What the names of the current attempt's pods have in common."""

    @classmethod
    def of(cls, pods: Sequence[Object], job: Object, *, run: int, attempt: int, nodes: int) -> Self:
        """Buckets raw pods. Those that the job doesn't control are left out; one that says it were of the attempt but
        hasn't the name or a rank of its gang is no part of it.
        """
        owned = owned_pods(pods, job)
        name = attempt_name(text(block(job, "metadata"), "name"), run=run, attempt=attempt)
        mine = sorted((pod for pod in owned if pod.name == f"{name}-{pod.rank}"), key=lambda pod: pod.rank)
        current = {pod.rank: pod for pod in mine if 0 <= pod.rank < nodes}
        scouts = {pod.rank: pod for pod in mine if pod.rank >= nodes and pod.is_scout}
        known = current | scouts
        return cls(current, [pod for pod in owned if known.get(pod.rank) is not pod], scouts, name)

    def doubt(self, rank: int) -> Doubt:
        """That the pod of a rank is as it is seen, or gone."""
        return Doubt("Pod", f"{self.name}-{rank}")

    @property
    def pods(self) -> Sequence[Pod]:
        """Pods of the current attempt, in order of rank."""
        return [*self.current.values()]

    @property
    def everyone(self) -> Sequence[Pod]:
        """Pods of all attempts."""
        return [*self.older, *self.current.values(), *self.scouts.values()]


def owned_pods(pods: Sequence[Object], job: Object) -> list[Pod]:
    """Views of the pods that the job controls."""
    return [Pod(raw) for raw in pods if is_controlled_by(raw, job)]


def node_is_lost(node: Object | None) -> bool:
    """True for a node that is gone, not ready, or throws its pods out."""
    if node is None:
        return True
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
