"""What is kept of pods and nodes: 16,000 whole pods would take 500 MB, of which the policies read a tenth.

Keys of the objects built here are constants of this module, one string each for all objects.
"""

from typing import Any

from footplate.objects import Kept, Object

_POD_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "finalizers",
    "ownerReferences",
)
_POD_SPEC = ("nodeName", "schedulingGates", "schedulerName", "priorityClassName", "terminationGracePeriodSeconds")
_POD_STATUS = (
    "phase",
    "reason",
    "message",
    "podIP",
    "startTime",
    "conditions",
    "initContainerStatuses",
    "containerStatuses",
)
_POD_CONDITION = ("type", "status", "reason", "message", "lastTransitionTime")
_CONTAINER_STATUS = ("name", "state", "lastState", "ready", "restartCount")
_NODE_METADATA = ("name", "uid", "resourceVersion", "labels", "deletionTimestamp")
_NODE_SPEC = ("unschedulable", "taints")
_NODE_CONDITION = ("type", "status", "reason", "lastTransitionTime")


def slim_pod(pod: Object) -> Object:
    """A pod without its containers' specs, volumes, tolerations, annotations and managed fields."""
    status = _pick(pod.get("status"), _POD_STATUS)
    _pick_each(status, "conditions", _POD_CONDITION)
    _pick_each(status, "containerStatuses", _CONTAINER_STATUS)
    _pick_each(status, "initContainerStatuses", _CONTAINER_STATUS)
    return Kept(
        apiVersion="v1",
        kind="Pod",
        metadata=_pick(pod["metadata"], _POD_METADATA),
        spec=_pick(pod.get("spec"), _POD_SPEC),
        status=status,
    )


def slim_node(node: Object) -> Object:
    """A node's name, labels, taints, conditions and whether it takes pods; none of its heartbeats."""
    status = _pick(node.get("status"), ("conditions",))
    _pick_each(status, "conditions", _NODE_CONDITION)
    return Kept(
        apiVersion="v1",
        kind="Node",
        metadata=_pick(node["metadata"], _NODE_METADATA),
        spec=_pick(node.get("spec"), _NODE_SPEC),
        status=status,
    )


def slim_own(obj: Object) -> Object:
    """One of our own kinds, whole but for what other writers noted in its managed fields."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def _pick(block: Object | None, keys: tuple[str, ...]) -> dict[str, Any]:
    if not block:
        return {}
    return {key: block[key] for key in keys if key in block}


def _pick_each(block: dict[str, Any], field: str, keys: tuple[str, ...]) -> None:
    if field in block:
        block[field] = [_pick(item, keys) for item in block[field] or ()]
