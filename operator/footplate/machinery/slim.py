"""What is kept of an object: what the policies read, within bytes, whatever a tenant has put into it.

16,000 whole pods would take 500 MB, of which the policies read a tenth. What is kept of a pod or a node has a fixed
shape, and every text in it a bound. Of our own kinds spec and status are kept whole, but not of any size: what is too
big is known by its name and its size alone, and whoever plans says so to the user.

Keys of the objects built here are constants of this module, one string each for all objects.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from footplate.api.status import FINISHED
from footplate.attempt_spec import job_of_group
from footplate.contract import CONTAINER_NAME, JOB_FILE, Label, TokenEnv
from footplate.gangs import kueue
from footplate.objects import OVERSIZE, TOO_DEEP, Kept, Object, block, blocks, controller_of, number, text
from footplate.policy.quota import held_by
from footplate.policy.rules import MAX_SPEC_BYTES
from footplate.text import MAX_TERMINATION_BYTES
from footplate.tokens import token_of

MAX_BYTES = MAX_SPEC_BYTES
"""Of a TrainingJob's or a runtime's spec and labels, and of a job's status, as JSON."""

MAX_LIVE_BYTES = 16 * 1024
"""Of a job's fields that may change while it lives, and of a runtime's policy: kept where the rest isn't."""

_KEPT_OF_LARGE_JOBS = ("runPolicy", "scheduling", "nodes", "runtimeRef")
_OWN_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
)
_IDENTITY = tuple(key for key in _OWN_METADATA if key != "labels")

_MOST = 16
"""Of each kind of list in a pod or a node."""
_SHORT = 256
_LONG = 1024
_LABELS = tuple(map(str, Label))
_POD_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_OWNER = ("apiVersion", "kind", "name", "uid", "controller")
_POD_SPEC = ("nodeName", "terminationGracePeriodSeconds")
_POD_STATUS = ("phase", "reason", "podIP", "startTime")
_POD_CONDITION = ("type", "status", "reason", "lastTransitionTime")
_CONTAINER_STATUS = ("name", "ready", "restartCount")
_CONTAINER_STATE = ("reason", "exitCode", "signal", "startedAt", "finishedAt")
_STATES = ("waiting", "running", "terminated")
_NODE_METADATA = ("name", "uid", "resourceVersion", "deletionTimestamp")
_NODE_CONDITION = ("type", "status", "reason", "lastTransitionTime")
_TAINT = ("key", "value", "effect", "timeAdded")


def slim_pod(pod: Object) -> Object | None:
    """A pod as far as it matters to the TrainingJob that controls it, or that let it go when it was deleted; None for
    any other pod, which isn't kept.
    """
    owner, labels = controller_of(pod), _pick(block(pod, "metadata", "labels"), _LABELS)
    if str(Label.UID) not in labels if owner is None else owner.get("kind") != "TrainingJob":
        return None
    metadata = _pick(pod["metadata"], _POD_METADATA)
    metadata["labels"] = labels
    metadata["ownerReferences"] = [] if owner is None else [_pick(owner, _OWNER)]
    spec = _pick(block(pod, "spec"), _POD_SPEC)
    if gates := blocks(block(pod, "spec"), "schedulingGates"):
        spec["schedulingGates"] = [_pick(gate, ("name",)) for gate in gates[:_MOST]]
    if held := held_by(pod):
        spec["resources"] = {"limits": held}
    if metadata["name"].endswith("-0") and (token := token_of(pod)):  # rank 0 is asked how far the gang is
        spec["containers"] = [{"env": [{"name": str(TokenEnv.TOKEN), "value": token}]}]
    return Kept(apiVersion="v1", kind="Pod", metadata=metadata, spec=spec, status=_pod_status(pod))


def stub_pod(pod: Object) -> Object:
    """Of a pod for which there is no room: that it is there, whose it is, and how far."""
    status = _pick(block(pod, "status"), ("phase",))
    return Kept({**pod, "spec": _pick(block(pod, "spec"), ("nodeName", "resources")), "status": status})


def slim_node(node: Object) -> Object:
    """A node's name, taints, conditions and whether it takes pods; none of its heartbeats."""
    spec = _pick(block(node, "spec"), ("unschedulable",))
    if taints := blocks(block(node, "spec"), "taints"):
        spec["taints"] = [_pick(taint, _TAINT) for taint in taints[: 4 * _MOST]]
    conditions = blocks(block(node, "status"), "conditions")
    return Kept(
        apiVersion="v1",
        kind="Node",
        metadata=_pick(node["metadata"], _NODE_METADATA),
        spec=spec,
        status={"conditions": [_pick(each, _NODE_CONDITION) for each in conditions[: 4 * _MOST]]},
    )


def slim_job(job: Object) -> Object:
    """A TrainingJob without what nobody reads of its metadata; of one that is too big only what lives."""
    kept = {**_head(job, _OWN_METADATA), "spec": block(job, "spec")}
    size = _bytes(kept)
    if size > MAX_BYTES:
        kept = stub_job(job, size=size)
    status = block(job, "status")
    if status:
        # What isn't the operator's own writing isn't read as no status at all, which would begin the job anew.
        kept["status"] = _without_curve(status) if _bytes(status) <= MAX_BYTES else {"phase": OVERSIZE}
    return kept


def _without_curve(status: Object) -> Object:
    """A finished job's curve, most of its status, is never written again: thousands of them would take the room of
    those that run. What isn't known isn't changed either.
    """
    progress = block(status, "progress")
    if status.get("phase") not in FINISHED or "history" not in progress:
        return status
    return {**status, "progress": {key: value for key, value in progress.items() if key != "history"}}


def stub_job(job: Object, *, size: int = 0) -> dict[str, Any]:
    """Of a job that is too big, or for which there is no room: what may change while it lives, its labels, and
    its status.
    """
    live = _pick(block(job, "spec"), _KEPT_OF_LARGE_JOBS)
    spec = live if _bytes(live) <= MAX_LIVE_BYTES else {}
    labels = _bytes(block(job, "metadata", "labels")) <= MAX_LIVE_BYTES  # by one of them somebody pays
    stub = {**_head(job, _OWN_METADATA if labels else _IDENTITY), "spec": spec, OVERSIZE: _oversize(size)}
    return {**stub, "status": job["status"]} if "status" in job else stub


def slim_runtime(runtime: Object) -> Object:
    """A runtime without what nobody reads of its metadata; of one that is too big only its policy."""
    kept = {**_head(runtime, _IDENTITY), "spec": block(runtime, "spec")}
    size = _bytes(kept)
    return kept if size <= MAX_BYTES else stub_runtime(runtime, size=size)


def stub_runtime(runtime: Object, *, size: int = 0) -> Object:
    """Of a runtime that is too big, or for which there is no room: what it allows, or that it allows nothing."""
    policy = block(runtime, "spec", "policy")
    policy = policy if _bytes(policy) <= MAX_LIVE_BYTES else {"allowed": []}
    return {**_head(runtime, _IDENTITY), "spec": {"policy": policy}, OVERSIZE: _oversize(size)}


def slim_policy(policy: Object) -> Object:
    """A TrainingPolicy without what nobody reads of its metadata; of one that is too big only whom it is for."""
    kept = {**_head(policy, _IDENTITY), "spec": block(policy, "spec")}
    size = _bytes(kept)
    return kept if size <= MAX_BYTES else stub_policy(policy, size=size)


def stub_policy(policy: Object, *, size: int = 0) -> Object:
    """Of a policy that is too big, or for which there is no room: the namespaces that it is for, or that it is for all.
    Whoever reads it allows nothing.
    """
    selector = block(policy, "spec", "namespaceSelector")
    selector = selector if _bytes(selector) <= MAX_LIVE_BYTES else {}
    return {**_head(policy, _IDENTITY), "spec": {"namespaceSelector": selector}, OVERSIZE: _oversize(size)}


def slim_namespace(namespace: Object) -> Object:
    """A namespace's name and labels; which ones isn't known where there are too many to be kept."""
    kept = _head(namespace, _OWN_METADATA)
    size = _bytes(block(namespace, "metadata", "labels"))
    return kept if size <= MAX_LIVE_BYTES else {**_head(namespace, _IDENTITY), OVERSIZE: _oversize(size)}


def slim_pod_group(group: Object) -> Object | None:
    """A PodGroup as far as it tells the TrainingJob that controls it how it is; None for any other."""
    owner = controller_of(group)
    if owner is None or owner.get("kind") != "TrainingJob":
        return None
    metadata = _pick(group["metadata"], _POD_METADATA) | {"ownerReferences": [_pick(owner, _OWNER)]}
    return Kept({**_pick(group, ("apiVersion", "kind")), "metadata": metadata, "status": _group_status(group)})


def slim_workload(workload: Object) -> Object | None:
    """Kueue's Workload as far as it says why a gang waits; None where it isn't that of a group of pods, or its name
    isn't one that we give.
    """
    is_group = block(workload, "metadata", "annotations").get(kueue.IS_GROUP) == "true"
    if not is_group or job_of_group(text(block(workload, "metadata"), "name")) is None:
        return None
    kept = _pick(workload, ("apiVersion", "kind")) | {"metadata": _pick(workload["metadata"], _POD_METADATA)}
    return Kept({**kept, "status": _group_status(workload)})


def stub_group(group: Object) -> Object:
    """Of a gang's object for which there is no room: that it is there, and whose it is."""
    return Kept({**group, "status": {}})


def slim_priority_class(priority_class: Object) -> Object:
    """A PriorityClass's name, value, and whether it is the default."""
    value = {
        "value": number(priority_class, "value") or 0,
        "globalDefault": priority_class.get("globalDefault") is True,
    }
    return {**_head(priority_class, _IDENTITY), **value}


def slim_config_map(config_map: Object) -> Object:
    """A run's ConfigMap as far as it is ours: job.json, and whose it is."""
    owner = controller_of(config_map)
    owners = [_pick(owner, _OWNER)] if owner is not None else []
    data = _pick(block(config_map, "data"), (JOB_FILE,), most=4 * MAX_BYTES)
    head = _head(config_map, _IDENTITY)
    return {**head, "metadata": {**head["metadata"], "ownerReferences": owners}, "data": data}


def weigh(obj: Object) -> int:
    """About how many bytes of memory an object takes: its text, and Python's objects about it."""
    try:
        text = orjson.dumps(obj)
    except TypeError:
        return MAX_BYTES
    return len(text) + 64 * (text.count(b"{") + text.count(b"[") + text.count(b","))


def _head(obj: Object, metadata: tuple[str, ...]) -> dict[str, Any]:
    return {**_pick(obj, ("apiVersion", "kind")), "metadata": _pick(obj["metadata"], metadata)}


def _oversize(size: int) -> dict[str, int]:
    """`bytes` is 0 where the object itself isn't too big, but there is no room for it."""
    return {"bytes": size, "most": MAX_BYTES}


def _bytes(value: Any) -> int:
    try:
        return len(orjson.dumps(value))
    except TypeError:  # what orjson raises 254 levels down
        return TOO_DEEP


def _group_status(group: Object) -> dict[str, Any]:
    raw = block(group, "status")
    status = _pick(raw, ("phase",))
    for field, keys in (("conditions", _POD_CONDITION), ("admissionChecks", ("name", "state"))):
        if found := blocks(raw, field):
            status[field] = [_pick(each, keys) | _pick(each, ("message",), most=_LONG) for each in found[:_MOST]]
    return status


def _pod_status(pod: Object) -> dict[str, Any]:
    raw = block(pod, "status")
    status = _pick(raw, _POD_STATUS)
    status |= _pick(raw, ("message",), most=_LONG)
    if conditions := blocks(raw, "conditions"):
        status["conditions"] = [
            _pick(each, _POD_CONDITION) | _pick(each, ("message",), most=_LONG) for each in conditions[:_MOST]
        ]
    for field in ("containerStatuses", "initContainerStatuses"):
        if containers := blocks(raw, field):
            # The trainer's own first: whatever else is injected, its end is seen.
            containers.sort(key=lambda container: container.get("name") != CONTAINER_NAME)
            status[field] = [
                _container(each, most=MAX_TERMINATION_BYTES if _is_trainer(each, containers) else _SHORT)
                for each in containers[:_MOST]
            ]
    return status


def _is_trainer(container: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]) -> bool:
    """A webhook may have renamed it: an only container is it all the same."""
    return container.get("name") == CONTAINER_NAME or len(containers) == 1


def _container(container: Mapping[str, Any], *, most: int) -> dict[str, Any]:
    kept = _pick(container, _CONTAINER_STATUS)
    for field in ("state", "lastState"):
        if state := block(container, field):
            kept[field] = {
                each: _pick(state[each], _CONTAINER_STATE) | _pick(state[each], ("message",), most=most)
                for each in _STATES
                if isinstance(state.get(each), dict)
            }
    return kept


def _pick(raw: Mapping[str, Any], keys: tuple[str, ...], *, most: int = _SHORT) -> dict[str, Any]:
    return {key: value if type(value := raw[key]) is not str else value[:most] for key in keys if key in raw}
