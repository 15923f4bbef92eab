"""Volcano: a batch scheduler with queues. A PodGroup that the pods name by an annotation, in one of its queues."""

from footplate.attempt_spec import AttemptSpec
from footplate.gangs.kinds import VOLCANO_SCHEDULER
from footplate.gangs.scheduler import SILENCE_SECONDS, SO_LONG, Membership, Scheduler, Sight
from footplate.objects import Object, block, blocks, text
from footplate.text import clean

GROUP_NAME = "scheduling.k8s.io/group-name"
DEFAULT_QUEUE = "default"


def _member(gang: AttemptSpec) -> Membership:
    return Membership(annotations={GROUP_NAME: gang.group_name}, spec=_alone(gang).spec)


def _alone(_: AttemptSpec) -> Membership:
    return Membership(spec={"schedulerName": VOLCANO_SCHEDULER})


def _group_spec(gang: AttemptSpec) -> Object:
    scheduling = gang.spec.scheduling
    priority = {"priorityClassName": scheduling.priority_class_name} if scheduling.priority_class_name else {}
    return {"minMember": gang.fewest, "queue": scheduling.queue_name or DEFAULT_QUEUE, **priority}


def _tell(sight: Sight) -> str:
    if sight.group is None:
        return ""
    status, queue = block(sight.group, "status"), sight.queue or DEFAULT_QUEUE
    phase = text(status, "phase")
    said = next((c for c in blocks(status, "conditions") if text(c, "type") == "Unschedulable"), {})
    if said.get("status") == "True" and text(said, "message"):
        return f"Volcano's queue {queue}: {clean(text(said, 'message'), most=512)}"
    if phase == "Pending":
        return (
            f"Volcano's queue {queue} hasn't let it in yet: others use its share, it is closed, or there is no queue "
            "of this name (`kubectl get queues.scheduling.volcano.sh` lists those that are)"
        )
    if not phase and sight.seconds >= SILENCE_SECONDS:
        return f"nobody has looked at its PodGroup for {SO_LONG}: Volcano's scheduler doesn't seem to run"
    return ""


SCHEDULER = Scheduler(
    apis=("scheduling.volcano.sh/v1beta1",),
    plural="podgroups",
    needs="Volcano, whose API scheduling.volcano.sh it doesn't serve",
    member=_member,
    alone=_alone,
    group_spec=_group_spec,
    tell=_tell,
    queues=True,
)
