"""Reads raw pods and nodes: one view of each, and the bucketing that all policies share.

Everything a pod says is a tenant's text: what can't be read is taken as absent, never as an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Self

from footplate.contract import CONTAINER_NAME, Label, Verdict, parse_verdict
from footplate.policy.plan import Manifest, Target

STOP_MARGIN_SECONDS = 5.0
"""A pod that lives on for so long after its grace period is on a node that nobody hears from."""


def parse_time(text: object) -> datetime | None:
    """A Kubernetes timestamp; None where it isn't one."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def parse_int(text: object) -> int:
    """A number in a label; -1 where it isn't one."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 12 else -1


@dataclass(frozen=True)
class Pod:
    """What the policies read of one pod."""

    raw: Manifest

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The raw metadata."""
        return self.raw.get("metadata") or {}

    @property
    def status(self) -> Mapping[str, Any]:
        """The raw status."""
        return self.raw.get("status") or {}

    @property
    def name(self) -> str:
        """The pod's name."""
        return str(self.metadata.get("name", ""))

    @property
    def target(self) -> Target:
        """The pod as something to delete."""
        return Target("Pod", str(self.metadata.get("namespace", "")), self.name, str(self.metadata.get("uid", "")))

    def label(self, label: Label) -> int:
        """The number in one of the operator's labels, -1 where there is none."""
        return parse_int((self.metadata.get("labels") or {}).get(label))

    @property
    def rank(self) -> int:
        """Node rank in the gang."""
        return self.label(Label.RANK)

    @property
    def phase(self) -> str:
        """Kubernetes' phase of the pod."""
        return str(self.status.get("phase") or "Pending")

    @property
    def node(self) -> str | None:
        """Name of the node that the pod is bound to."""
        return (self.raw.get("spec") or {}).get("nodeName") or None

    @property
    def gated(self) -> bool:
        """True while somebody's scheduling gate holds the pod back."""
        return bool((self.raw.get("spec") or {}).get("schedulingGates"))

    @property
    def terminal(self) -> bool:
        """True once no container runs, nor will."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def deletion_deadline(self) -> datetime | None:
        """When the pod's grace period ends, None where nobody deletes it."""
        return parse_time(self.metadata.get("deletionTimestamp"))

    @property
    def terminating(self) -> bool:
        """True once somebody deleted the pod."""
        return self.metadata.get("deletionTimestamp") is not None

    def seconds_to_stop(self, now: datetime) -> float:
        """Seconds for which a pod that isn't terminal may still be saving its state; 0 where it is overdue."""
        if self.deletion_deadline is None:
            return STOP_MARGIN_SECONDS
        return max(0.0, (self.deletion_deadline - now).total_seconds() + STOP_MARGIN_SECONDS)

    @property
    def started(self) -> datetime | None:
        """When the node took the pod."""
        return parse_time(self.status.get("startTime"))

    def condition(self, type_: str) -> Mapping[str, Any]:
        """One of the pod's conditions, empty where it has none of that type."""
        return next((c for c in self.status.get("conditions") or () if c.get("type") == type_), {})

    @cached_property
    def container(self) -> Mapping[str, Any]:
        """Status of the trainer's container, empty before it has one."""
        statuses = self.status.get("containerStatuses") or ()
        return next((c for c in statuses if c.get("name") == CONTAINER_NAME), {})

    @property
    def state(self) -> Mapping[str, Any]:
        """State of the trainer's container: waiting, running or terminated."""
        return self.container.get("state") or {}

    @property
    def running(self) -> bool:
        """True while the trainer's container runs."""
        return self.phase == "Running" and "running" in self.state

    @property
    def terminated(self) -> Mapping[str, Any]:
        """How the trainer's container ended, empty where it hasn't."""
        return self.state.get("terminated") or {}

    @property
    def waiting(self) -> Mapping[str, Any]:
        """What the trainer's container waits for, empty where it doesn't."""
        return self.state.get("waiting") or {}

    @property
    def finished(self) -> datetime | None:
        """When the trainer's container ended."""
        return parse_time(self.terminated.get("finishedAt"))

    @cached_property
    def verdict(self) -> Verdict | None:
        """What the trainer said at its end."""
        return parse_verdict(self.terminated.get("message"))


@dataclass(frozen=True)
class Gang:
    """The pods of a job, bucketed once.

    `current` are those of the attempt in the status, by rank; `older` all others that the job owns.
    """

    current: Mapping[int, Pod]
    older: Sequence[Pod]

    @classmethod
    def of(cls, pods: Sequence[Manifest], *, uid: str, run: int, attempt: int) -> Self:
        """Buckets raw pods; pods that another controller owns are left out."""
        owned = [Pod(raw) for raw in pods if controller_uid(raw) == uid]
        current = {p.rank: p for p in owned if (p.label(Label.RUN), p.label(Label.ATTEMPT)) == (run, attempt)}
        return cls(current, [p for p in owned if current.get(p.rank) is not p])

    @property
    def pods(self) -> Sequence[Pod]:
        """Pods of the current attempt, in order of rank."""
        return [self.current[rank] for rank in sorted(self.current)]


def controller_uid(raw: Manifest) -> str | None:
    """UID of the object's controller, None where it has none."""
    owners = (raw.get("metadata") or {}).get("ownerReferences") or ()
    return next((owner.get("uid") for owner in owners if owner.get("controller")), None)


def node_is_lost(node: Manifest | None) -> bool:
    """True for a node that is gone, not ready, or throws its pods out."""
    if node is None:
        return True
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = next((c.get("status") for c in conditions if c.get("type") == "Ready"), "True")
    taints = (node.get("spec") or {}).get("taints") or ()
    return ready != "True" or any(
        t.get("effect") == "NoExecute" and str(t.get("key", "")).startswith("node.kubernetes.io/") for t in taints
    )
