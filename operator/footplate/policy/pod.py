"""What the policies read of one pod.

The trainer's own container decides: what other containers of a pod do, or that pod's phase, says nothing of training.
Only what no container shows is read from the phase. A view is kept with the raw object and read once a version, since a
gang may have ten thousand pods; what depends on the time is never kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from footplate.causes import Cause, find_cause
from footplate.contract import CONTAINER_NAME, Failure, Label, Verdict, parse_verdict
from footplate.objects import Object, block, blocks, number, place_of_controller, text, time, view_of
from footplate.policy.plan import Target
from footplate.text import MAX_TERMINATION_BYTES, clean_lines

STOP_MARGIN_SECONDS = 5.0
"""A pod that lives on for so long after its grace period is on a node that nobody hears from."""

CLOCKS_DIFFER = timedelta(seconds=5)
"""A node's clock and the API server's may differ by so much: only an earlier end surely came before a request."""

LAST_WORD = timedelta(seconds=10)
"""After its container's end a pod's phase, and why its kubelet ended it, may be so long in coming."""

_TERMINAL = ("Succeeded", "Failed")
PREPARING = ("", "ContainerCreating", "PodInitializing")
"""What a container waits for where all is well. Whatever else a kubelet says, now or in years to come, is trouble."""


def is_in(container: Object, state: str) -> bool:
    """True for a container's status with this state: waiting, running or terminated."""
    return block(container, "state").get(state) is not None


@dataclass(frozen=True, eq=False)
class Pod:
    """What the policies read of one pod."""

    raw: Object

    @classmethod
    def of(cls, raw: Object) -> "Pod":
        """The view of a raw pod: one that a store keeps has a single one."""
        return view_of(raw, cls)

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

    @cached_property
    def controller(self) -> tuple[str, str] | None:
        """Namespace and UID of the pod's controller."""
        return place_of_controller(self.raw)

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

    @cached_property
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

    @cached_property
    def bound(self) -> datetime | None:
        """When the scheduler found the node."""
        return time(self.condition("PodScheduled"), "lastTransitionTime") if self.node else None

    @property
    def gated(self) -> bool:
        """True while somebody's scheduling gate holds the pod back."""
        return bool(block(self.raw, "spec").get("schedulingGates"))

    @cached_property
    def terminal(self) -> bool:
        """True once no container of the pod runs, nor will."""
        return self.phase in _TERMINAL

    @cached_property
    def terminating(self) -> bool:
        """True once somebody deleted the pod."""
        return self.metadata.get("deletionTimestamp") is not None

    @cached_property
    def deleted(self) -> datetime | None:
        """When somebody deleted the pod; its grace period began then."""
        deadline = time(self.metadata, "deletionTimestamp")
        grace = number(self.metadata, "deletionGracePeriodSeconds") or 0
        return deadline and deadline - timedelta(seconds=grace)

    @cached_property
    def disruption(self) -> Mapping[str, Any]:
        """The condition that says who evicts or preempts the pod, empty where nobody does."""
        target = self.condition("DisruptionTarget")
        return target if target.get("status") == "True" else {}

    def seconds_to_stop(self, now: datetime) -> float:
        """Seconds for which the trainer may still be saving its state; 0 where it has ended or is overdue."""
        if self.ended:
            return 0.0
        deadline = time(self.metadata, "deletionTimestamp") or now
        return max(0.0, (deadline - now).total_seconds() + STOP_MARGIN_SECONDS)

    @cached_property
    def started(self) -> datetime | None:
        """When the node took the pod, or was to."""
        return time(self.status, "startTime") or self.bound

    def condition(self, type_: str) -> Mapping[str, Any]:
        """One of the pod's conditions, empty where it has none of that type."""
        return next((c for c in blocks(self.status, "conditions") if c.get("type") == type_), {})

    @cached_property
    def trainer(self) -> Mapping[str, Any]:
        """Status of the trainer's container. A webhook may have renamed it: an only container is it all the same."""
        containers = blocks(self.status, "containerStatuses")
        named = next((c for c in containers if c.get("name") == CONTAINER_NAME), None)
        return named if named is not None else containers[0] if len(containers) == 1 else {}

    @cached_property
    def others(self) -> Sequence[Mapping[str, Any]]:
        """Statuses of the containers that somebody else has put beside the trainer's: init containers first."""
        beside = [c for c in blocks(self.status, "containerStatuses") if c is not self.trainer]
        return [*blocks(self.status, "initContainerStatuses"), *beside]

    @cached_property
    def state(self) -> Mapping[str, Any]:
        """State of the trainer's container: waiting, running or terminated."""
        return block(self.trainer, "state")

    @cached_property
    def running_since(self) -> datetime | None:
        """When the trainer's container started, None where it doesn't run."""
        return time(block(self.state, "running"), "startedAt")

    @cached_property
    def running(self) -> bool:
        """True while the trainer's container runs. A sidecar that can't start keeps a pod's phase at Pending."""
        return self.phase in ("Running", "Pending") and "running" in self.state and not self.ended

    @cached_property
    def waiting(self) -> Mapping[str, Any]:
        """What the trainer's container waits for, empty where it doesn't."""
        return block(self.state, "waiting")

    @cached_property
    def terminated(self) -> Mapping[str, Any]:
        """How the trainer's container ended, empty where it hasn't. Where a changed restartPolicy has started it anew,
        its first end counts: the gang is broken all the same.
        """
        before = block(self.trainer, "lastState", "terminated") if number(self.trainer, "restartCount") else {}
        return block(self.state, "terminated") or before

    @cached_property
    def ended(self) -> bool:
        """True once the trainer's container has ended, whatever others of the pod do; or the pod did without it."""
        return bool(self.terminated) or self.terminal

    @cached_property
    def exit_code(self) -> int | None:
        """Exit code of the trainer's container, None where it hasn't ended, or nothing is known of its end."""
        code = number(self.terminated, "exitCode")
        return 0 if code is None and self.phase == "Succeeded" else code

    @cached_property
    def finished(self) -> datetime | None:
        """When the trainer's container ended."""
        return time(self.terminated, "finishedAt")

    @cached_property
    def verdict(self) -> Verdict | None:
        """What the trainer said at its end."""
        return parse_verdict(text(self.terminated, "message"))

    @cached_property
    def cause(self) -> Cause | None:
        """Of a command without a supervisor, why it failed, by the end of its log. A signal's cause no exception is."""
        code = self.exit_code or 0
        if self.verdict is not None or not 0 < code <= 128:
            return None
        return find_cause(clean_lines(text(self.terminated, "message"), most=MAX_TERMINATION_BYTES, tail=True))

    @property
    def error(self) -> Failure | None:
        """The first error: as a trainer says it, else as a command's log shows it."""
        if self.verdict is not None or self.cause is None:
            return self.verdict.error if self.verdict is not None else None
        said = self.cause
        how = "" if said.type else f"pod {self.name} ended with exit code {self.exit_code}: "
        traceback = said.traceback[-3072:] if said.traceback is not None else None
        return Failure(rank=said.rank, type=said.type[:256], message=f"{how}{said.message}"[:1024], traceback=traceback)

    @cached_property
    def ended_by_node(self) -> str:
        """Why the pod's kubelet refused, evicted or ended it; empty where it didn't."""
        return text(self.status, "reason") if self.phase == "Failed" else ""

    @cached_property
    def ended_unasked(self) -> bool:
        """True for a trainer that surely ended before anybody asked its pod to stop: by a deletion, an eviction, a
        preemption, or a kubelet that makes room or shuts down.
        """
        if not (self.terminating or self.disruption or self.ended_by_node):
            return self.ended
        asked = [time(self.disruption, "lastTransitionTime")] if self.disruption else []
        asked += [self.deleted] if self.terminating else []
        first, finished = min((t for t in asked if t is not None), default=None), self.finished
        return None not in asked and first is not None and finished is not None and finished + CLOCKS_DIFFER < first

    def awaits_last_word(self, now: datetime) -> bool:
        """True for a moment after the trainer's end, in which the kubelet may yet say that it brought it about."""
        if not self.terminated or self.terminal or self.finished is None:
            return False
        return -CLOCKS_DIFFER <= now - self.finished < LAST_WORD

    def succeeded(self, now: datetime) -> bool:
        """True where training is done: by the verdict of a supervisor, which verifies the model first, or by an exit
        code of 0 that nobody asked for. A program that ends with 0 when it is told to stop has not done its work.
        """
        if self.exit_code != 0:
            return False
        said_so = self.verdict is not None and self.verdict.outcome == "succeeded"
        return said_so or (self.ended_unasked and not self.awaits_last_word(now))

    def may_have_succeeded(self, now: datetime) -> bool:
        """True for a moment after an exit with 0 that nobody asked for, as far as is known yet."""
        return self.exit_code == 0 and self.ended_unasked and self.awaits_last_word(now)

    def outlives_trainer(self, now: datetime) -> bool:
        """True where other containers run on after the trainer's end, and hold the node's devices for nothing."""
        return self.ended and not self.terminal and not self.awaits_last_word(now)

    @cached_property
    def at_work(self) -> bool:
        """True while the trainer runs and nobody has asked it to stop: nothing is to be done for such a pod."""
        return self.phase == "Running" and self.running and not self.terminating and not self.disruption

    @cached_property
    def still_running(self) -> list[str]:
        """Names of the other containers that run."""
        return [text(each, "name") for each in self.others if is_in(each, "running")]

    @cached_property
    def held_up_by(self) -> str:
        """Which other container keeps the trainer's from starting, and how; empty where none is known to."""
        for each in self.others:
            waits = block(each, "state", "waiting")
            if text(waits, "reason") not in PREPARING:
                said = text(waits, "message")
                return f"{text(each, 'name')}: {text(waits, 'reason')}" + (f": {said}" if said else "")
        return ""

    @cached_property
    def waits_for(self) -> str:
        """Name of the init container that runs before the trainer may; empty where none does."""
        init = blocks(self.status, "initContainerStatuses")
        unready = (each for each in init if is_in(each, "running") and each.get("ready") is not True)
        return next((text(each, "name") for each in unready), "")
