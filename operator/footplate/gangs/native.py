"""Kubernetes' own gangs: a PodGroup of the API server that the pods name in their spec. Kubernetes 1.36 has it as
v1alpha2, 1.37 as v1beta1; both are off unless feature gates say otherwise.

What differs between the two, `podGroupTemplateRef` or `workloadRef` and `disruptionMode`, isn't set: a PodGroup may
stand alone, and of a disrupted gang the operator ends the rest itself, after a checkpoint.
"""

from footplate.attempt_spec import AttemptSpec
from footplate.gangs.scheduler import Membership, Scheduler, Sight
from footplate.objects import Object, block, blocks, text
from footplate.text import clean


def _member(gang: AttemptSpec) -> Membership:
    return Membership(spec={"schedulingGroup": {"podGroupName": gang.group_name}})


def _alone(_: AttemptSpec) -> Membership:
    return Membership()


def _group_spec(gang: AttemptSpec) -> Object:
    return {"schedulingPolicy": {"gang": {"minCount": gang.fewest}}}


def _tell(sight: Sight) -> str:
    status = block(sight.group, "status") if sight.group is not None else {}
    said = next((c for c in blocks(status, "conditions") if text(c, "type") == "PodGroupScheduled"), {})
    return clean(text(said, "message"), most=512) if said.get("status") == "False" else ""


SCHEDULER = Scheduler(
    apis=("scheduling.k8s.io/v1beta1", "scheduling.k8s.io/v1alpha2"),
    plural="podgroups",
    needs="Kubernetes' own PodGroups: its API server doesn't serve them (feature gates GenericWorkload and "
    "GangScheduling, Kubernetes 1.36 or later)",
    member=_member,
    alone=_alone,
    group_spec=_group_spec,
    tell=_tell,
)
