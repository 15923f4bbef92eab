"""A pod's status as a kubelet writes it, from the states of its containers. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

State = dict[str, dict[str, Any]]


@dataclass
class ContainerStatus:
    """A container's name, image and state, which is a core/v1 ContainerState."""

    name: str
    image: str
    state: State = field(default_factory=lambda: waiting("ContainerCreating"))

    @property
    def exit_code(self) -> int | None:
        """None before the end."""
        return self.state.get("terminated", {}).get("exitCode")

    def render(self) -> dict[str, Any]:
        """The core/v1 ContainerStatus."""
        running = "running" in self.state
        return {
            "name": self.name,
            "image": self.image,
            "imageID": self.image if "waiting" not in self.state else "",
            "state": self.state,
            "lastState": {},
            "ready": running,
            "started": running,
            "restartCount": 0,
        }


def timestamp() -> str:
    """Now, as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def waiting(reason: str, message: str = "") -> State:
    """The state of a container before its start."""
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def running() -> State:
    """The state of a container that starts now."""
    return {"running": {"startedAt": timestamp()}}


def terminated(before: State, code: int, *, reason: str = "", message: str = "") -> State:
    """The state of a container that ends now; `code` is negative for a signal, which becomes 128 + its number."""
    code = 128 - code if code < 0 else code
    ended: dict[str, Any] = {"exitCode": code, "reason": reason or ("Error" if code else "Completed")}
    ended |= {"startedAt": before.get("running", {}).get("startedAt"), "finishedAt": timestamp()}
    return {"terminated": ended | ({"message": message} if message else {})}


def pod_phase(containers: Sequence[ContainerStatus], init_containers: Sequence[ContainerStatus]) -> str:
    """The phase of a pod whose containers are never restarted."""
    if any(each.exit_code for each in init_containers):
        return "Failed"
    codes = [each.exit_code for each in containers]
    if None not in codes:
        return "Failed" if any(codes) else "Succeeded"
    return "Pending" if any("waiting" in each.state for each in containers) else "Running"


def pod_status(
    containers: Sequence[ContainerStatus],
    init_containers: Sequence[ContainerStatus],
    *,
    address: str,
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """The status to report after `before`, whose times stay where nothing changed."""
    phase = pod_phase(containers, init_containers)
    status: dict[str, Any] = {
        "phase": phase,
        "hostIP": "127.0.0.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": before.get("startTime") or timestamp(),
        "containerStatuses": [each.render() for each in containers],
    }
    if init_containers:
        status["initContainerStatuses"] = [each.render() for each in init_containers]
    known = {each["type"]: each for each in before.get("conditions") or ()}
    status["conditions"] = [
        _dated(each, known.get(each["type"])) for each in _conditions(phase, containers, init_containers)
    ]
    return status


def event(
    pod: Mapping[str, Any], reason: str, message: str, *, container: str, kind: str = "Warning"
) -> dict[str, Any]:
    """What a kubelet posts about one of a pod's containers; `kind` is Warning or Normal."""
    metadata, now = pod["metadata"], timestamp()
    about = {key: metadata[key] for key in ("name", "namespace", "uid")}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", **about, "fieldPath": f"spec.containers{{{container}}}"},
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": "kubelet", "host": pod["spec"].get("nodeName", "")},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _conditions(
    phase: str, containers: Sequence[ContainerStatus], init_containers: Sequence[ContainerStatus]
) -> Iterator[dict[str, str]]:
    initialized = all(each.exit_code == 0 for each in init_containers)
    yield {"type": "PodScheduled", "status": "True"}
    yield {"type": "Initialized", "status": "True" if initialized else "False"}
    unready = [each.name for each in containers if "running" not in each.state]
    why = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "ContainersNotReady")
    reason = {"reason": why, "message": f"containers with unready status: [{' '.join(unready)}]"}
    for kind in ("ContainersReady", "Ready"):
        yield {"type": kind, "status": "False", **reason} if unready else {"type": kind, "status": "True"}


def _dated(condition: dict[str, str], before: Mapping[str, str] | None) -> dict[str, str]:
    same = before is not None and before["status"] == condition["status"]
    return condition | {"lastTransitionTime": before["lastTransitionTime"] if before and same else timestamp()}
