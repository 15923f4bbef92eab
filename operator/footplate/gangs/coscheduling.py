"""The coscheduling plugin of kubernetes-sigs/scheduler-plugins: a PodGroup that the pods name by a label."""

from footplate.attempt_spec import AttemptSpec
from footplate.gangs.kinds import COSCHEDULING_SCHEDULER
from footplate.gangs.scheduler import SILENCE_SECONDS, SO_LONG, Membership, Scheduler, Sight
from footplate.objects import Object, block, text

GROUP_NAME = "scheduling.x-k8s.io/pod-group"


def _member(gang: AttemptSpec) -> Membership:
    return Membership({GROUP_NAME: gang.group_name}, spec=_alone(gang).spec)


def _alone(gang: AttemptSpec) -> Membership:
    return Membership(spec={"schedulerName": gang.spec.pod_template.scheduler_name or COSCHEDULING_SCHEDULER})


def _group_spec(gang: AttemptSpec) -> Object:
    return {"minMember": gang.fewest}


def _tell(sight: Sight) -> str:
    if sight.group is None or text(block(sight.group, "status"), "phase") or sight.seconds < SILENCE_SECONDS:
        return ""
    return (
        f"nobody has looked at its PodGroup for {SO_LONG}: the PodGroup controller of scheduler-plugins doesn't seem "
        "to run"
    )


SCHEDULER = Scheduler(
    apis=("scheduling.x-k8s.io/v1alpha1",),
    plural="podgroups",
    needs="the coscheduling plugin of scheduler-plugins, whose API scheduling.x-k8s.io it doesn't serve",
    member=_member,
    alone=_alone,
    group_spec=_group_spec,
    tell=_tell,
)
