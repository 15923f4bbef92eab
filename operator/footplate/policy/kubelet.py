"""What a kubelet says of a pod that it refused, evicted or ended, and who pays for it.

Its reason and message come before any exit code: a process that a kubelet killed has none of its own.
"""

import re

from footplate.contract import CONTAINER_NAME
from footplate.objects import block, blocks, number, text
from footplate.policy.pod import Pod, is_in
from footplate.policy.reasons import Reason
from footplate.text import clean

Ruling = tuple[Reason, str]
"""A reason, and what is said of the pod."""

_ENDS_RUNNING_PODS = frozenset(
    {"Evicted", "Terminated", "Preempting", "DeadlineExceeded", "NodeLost", "NodeShutdown", "Shutdown"}
)
"""Reasons for which a kubelet ends a pod that it has taken. With all others it didn't take it."""

_CONTAINER_LIMIT = re.compile(r"Container (\S+) exceeded its local ephemeral storage limit \"?([^\s\".]+)")
_POD_LIMIT = re.compile(r"Pod ephemeral local storage usage exceeds the total limit of containers ([^\s.]+)")
_VOLUME_LIMIT = re.compile(r"Usage of EmptyDir volume \"?([^\s\"]+)\"? exceeds the limit \"?([^\s\".]+)")

_OWN_VOLUMES = {
    "footplate-shm": "raise podTemplate.sharedMemory, or lower the number of data workers",
    "footplate-run": "it holds what ranks report to their supervisor: let the code write elsewhere",
}
_ANEW = "create the job anew"


def exceeded(pod: Pod) -> Ruling | None:
    """The limit of its own that an evicted pod has exceeded; None where that isn't why."""
    said = text(pod.status, "message") if pod.ended_by_node == "Evicted" else ""
    if found := _CONTAINER_LIMIT.search(said):
        name, limit = found.groups()
        if name != CONTAINER_NAME:
            return (
                Reason.EVICTED,
                f"was evicted because container {name}, which isn't Footplate's, used up {limit} of disk",
            )
        return Reason.OUT_OF_DISK, f"was evicted because it {_wrote_too_much(limit)}"
    if found := _POD_LIMIT.search(said):
        return Reason.OUT_OF_DISK, f"was evicted because it {_wrote_too_much(found[1])}"
    if found := _VOLUME_LIMIT.search(said):
        name, limit = found.groups()
        way_out = _OWN_VOLUMES.get(
            name, "raise emptyDir.sizeLimit of that volume in podTemplate.volumes, or write less"
        )
        return (
            Reason.OUT_OF_DISK,
            f"was evicted because it filled volume {name} beyond its limit of {limit}; {way_out}; {_ANEW}",
        )
    return None


def ruling(pod: Pod) -> Ruling | None:
    """Why a kubelet refused or ended a pod; None where it didn't."""
    reason, said = pod.ended_by_node, clean(text(pod.status, "message"), most=512)
    if not reason:
        return None
    why = f"{clean(reason, most=63)}: {said}" if said else clean(reason, most=63)
    if _refused(pod):
        return Reason.NODE_REFUSED, f"was refused by its node: {why}"
    if reason == "DeadlineExceeded":
        why += "; Footplate sets no activeDeadlineSeconds on pods: a webhook or a policy of the cluster does"
    return Reason.EVICTED, f"was ended by its node: {why}"


def unexplained(pod: Pod) -> Ruling:
    """What is known of a pod that failed although its trainer didn't, and its kubelet gives no reason."""
    init = blocks(pod.status, "initContainerStatuses")
    for each in init:
        if number(block(each, "state", "terminated"), "exitCode"):
            return Reason.INIT_FAILED, f"failed before its trainer could start: init container {_how_it_ended(each)}"
    ends = [_how_it_ended(each) for each in pod.others if is_in(each, "terminated")]
    if ends:
        return Reason.EVICTED, f"failed, and nothing is known of its trainer: container {', container '.join(ends)}"
    return Reason.EVICTED, f"failed without a word of its containers; `kubectl describe pod {pod.name}` may say more"


def _refused(pod: Pod) -> bool:
    """True for a pod that its node didn't take: it speaks against the node."""
    if text(pod.status, "message").startswith("Pod was rejected"):
        return True
    containers = [*blocks(pod.status, "containerStatuses"), *pod.others]
    started = any(is_in(each, kind) for each in containers for kind in ("running", "terminated"))
    return not started and pod.ended_by_node not in _ENDS_RUNNING_PODS


def _wrote_too_much(limit: str) -> str:
    return (
        f"wrote more than {limit} to the node's disk, its limit of ephemeral-storage; raise it in resources.limits, or "
        f"write less (checkpoints in the making, outputs, caches and logs count); {_ANEW}"
    )


def _how_it_ended(container: object) -> str:
    status = block(container)
    ended = block(status, "state", "terminated")
    last = clean(text(ended, "message"), most=256, tail=True) or clean(text(ended, "reason"), most=63)
    how = f"{clean(text(status, 'name'), most=63)} ended with exit code {number(ended, 'exitCode')}"
    return f"{how} ({last})" if last else how
