"""Kueue: a queue of workloads with quotas and preemption. An attempt is a group of plain pods, in one group an attempt.

- The pods are created with Kueue's own gate. Where Kueue is at work its webhook would put it there; where it isn't,
  nothing runs past the queue that the user named.
- `retriable-in-group: false` since deleted pods of a retriable group keep Kueue's finalizer for ever (kueue#5130). The
  finalizer and the gates of a pod that exists are never touched.
- A scout is queued by itself: it shows that there is quota for one more rank, before the gang stops for it.
"""

from collections.abc import Iterator, Mapping

from footplate.attempt_spec import AttemptSpec
from footplate.contract import Label
from footplate.gangs.scheduler import SILENCE_SECONDS, SO_LONG, Membership, Scheduler, Sight
from footplate.objects import Object, block, blocks, text
from footplate.text import clean

QUEUE_NAME = "kueue.x-k8s.io/queue-name"
GROUP_NAME = "kueue.x-k8s.io/pod-group-name"
ADMISSION_GATE = "kueue.x-k8s.io/admission"
IS_GROUP = "kueue.x-k8s.io/is-group-workload"

_TOPOLOGY = ("kueue.x-k8s.io/podset-required-topology", "kueue.x-k8s.io/podset-preferred-topology")
"""A job that has one of these in its podTemplate has chosen; else the second says its topologyKey."""

_MISSING_QUEUE = (
    "the job goes on by itself once the LocalQueue is there (`kubectl get localqueues` lists those that are)"
)
_WAYS_OUT: Mapping[str, str] = {
    "NoMatchingFlavor": "none of the queue's kinds of nodes takes these pods: compare podTemplate.nodeSelector, "
    "affinity and tolerations with the queue's resource flavors",
    "ExceedsMaxQuota": "it asks for more than the queue can ever have: a job of fewer nodes or accelerators fits, or "
    "another queue",
    "TopologyPlacementFailed": "no topology domain has room for all of it: a job without scheduling.topologyKey can be "
    "placed anywhere",
    "Misconfigured": "whoever runs the cluster has to put the queue right",
    "WaitingForQuota": "others use the quota; it starts when they are done",
    "WaitingForPreemptedWorkloads": "others have been told to make room",
    "WaitingForPodsReady": "the queue admits one workload after the other, and waits for the one before to start",
}
"""What the reasons of QuotaReserved mean to a user."""
_OLDER: Mapping[str, str] = {"maximum capacity": "ExceedsMaxQuota", "insufficient unused quota": "WaitingForQuota"}
"""Older versions of Kueue say only Pending: they are read from its messages."""


def _member(gang: AttemptSpec) -> Membership:
    alone = _alone(gang)
    annotations = {
        "kueue.x-k8s.io/pod-group-total-count": str(gang.nodes),
        "kueue.x-k8s.io/pod-group-pod-index-label": str(Label.RANK),
        "kueue.x-k8s.io/retriable-in-group": "false",
        **_topology(gang),
    }
    return Membership({**alone.labels, GROUP_NAME: gang.group_name}, annotations, alone.spec)


def _alone(gang: AttemptSpec) -> Membership:
    labels = {QUEUE_NAME: gang.spec.scheduling.queue_name or ""}
    return Membership(labels, spec={"schedulingGates": [{"name": ADMISSION_GATE}]})


def _topology(gang: AttemptSpec) -> Mapping[str, str]:
    key, own = gang.spec.scheduling.topology_key, gang.spec.pod_template.annotations
    return {_TOPOLOGY[1]: key} if key and not any(each in own for each in _TOPOLOGY) else {}


def _tell(sight: Sight) -> str:
    queue = f"Kueue's queue {sight.queue}"
    if sight.group is None:
        return _tell_of_none(sight)
    said = {text(each, "type"): each for each in blocks(block(sight.group, "status"), "conditions")}
    if _is_true(said, "Admitted"):
        return f"{queue} has admitted it" if sight.is_gated else ""
    if _is_true(said, "QuotaReserved"):
        return f"{queue} has the quota for it" + "".join(_checks(sight.group))
    return f"{queue}: {_why(said)}"


def _tell_of_none(sight: Sight) -> str:
    if not sight.is_gated:
        return ""
    if sight.seconds < SILENCE_SECONDS or not sight.is_certain:
        return f"it waits for Kueue to take it into queue {sight.queue}"
    return (
        f"Kueue has made no Workload of it for {SO_LONG}: its controller doesn't run, or it doesn't manage pods in "
        "this namespace (whoever runs the cluster finds that in Kueue's configuration: integrations.frameworks "
        "must name pod, and managedJobsNamespaceSelector the namespace); a job with scheduling.gang: none and without "
        "queueName needs no Kueue"
    )


def _why(said: Mapping[str, Object]) -> str:
    """What Kueue says of a gang that has no quota. Whom it has thrown out it says first."""
    reserved, evicted = said.get("QuotaReserved", {}), said.get("Evicted", {})
    reason, message = text(reserved, "reason"), clean(text(reserved, "message"), most=512)
    parts = []
    if evicted.get("status") == "True":
        parts.append(f"it was thrown out ({text(evicted, 'reason')}: {clean(text(evicted, 'message'), most=256)})")
    parts.append(message or "it waits for its turn")
    reason = next((new for words, new in _OLDER.items() if words in message), reason)
    way_out = _MISSING_QUEUE if "doesn't exist" in message else _WAYS_OUT.get(reason, "")
    return "; ".join(part for part in (*parts, way_out) if part)


def _checks(group: Object) -> Iterator[str]:
    """The admission checks that haven't let it pass yet."""
    for check in blocks(block(group, "status"), "admissionChecks"):
        if check.get("state") != "Ready":
            said = clean(text(check, "message"), most=256)
            yield f"; admission check {text(check, 'name')} is {text(check, 'state')}" + (f": {said}" if said else "")


def _is_true(said: Mapping[str, Object], type_: str) -> bool:
    return said.get(type_, {}).get("status") == "True"


SCHEDULER = Scheduler(
    apis=("kueue.x-k8s.io/v1beta2", "kueue.x-k8s.io/v1beta1"),
    plural="workloads",
    needs="Kueue, whose API kueue.x-k8s.io it doesn't serve",
    member=_member,
    alone=_alone,
    group_spec=None,
    tell=_tell,
    queues=True,
)
