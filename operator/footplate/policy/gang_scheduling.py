"""Who starts an attempt's pods together (`footplate.gangs`): chosen once an attempt and before its first pod, told in
the user's words while it makes the gang wait, and cleaned up after.

A scheduler that the job asks for and the cluster hasn't got is waited for: the pods would else run past the queue or
the guarantee that their user named.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from footplate.api.status import Phase, TrainingJobStatus
from footplate.api.trainingjob import TrainingJobSpec
from footplate.attempt_spec import AttemptSpec, group_name
from footplate.gangs.kinds import DEFAULT_SCHEDULER, GangKind, choose
from footplate.gangs.kueue import ADMISSION_GATE
from footplate.gangs.scheduler import SILENCE_SECONDS, SO_LONG, Sight
from footplate.gangs.state import GangState, name_of
from footplate.gangs.table import SCHEDULERS, membership
from footplate.objects import Object, block, blocks, text, uid_of
from footplate.podspec import build_group
from footplate.policy import phase
from footplate.policy.facts import all_created
from footplate.policy.job import Job, is_finished, move
from footplate.policy.plan import Step, Target
from footplate.policy.reasons import Reason

LOOK_AGAIN_SECONDS = 60.0

_ONE_BY_ONE = (
    "Kueue queues each of its pods by itself, since the namespace has a default LocalQueue or Kueue is set up to take "
    "all pods; create the job anew with scheduling.queueName, so that the gang is admitted as one"
)


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a gang isn't wholly scheduled."""

    reason: Reason
    said: str
    """The end of the message, with what stands before it; empty where nobody has said anything."""


def of_new_attempt(spec: TrainingJobSpec, state: GangState) -> str | None:
    """Whose gang an attempt that begins now is; None where it is nobody's, or must wait for a scheduler first."""
    choice = choose(spec, state.apis)
    return str(choice.kind) if choice.served and choice.kind is not GangKind.NONE else None


def kind_of(job: Job) -> GangKind:
    """Whose gang the newest attempt is."""
    named = job.attempt.gang if job.attempt is not None else None
    return GangKind(named) if named is not None and named in SCHEDULERS else GangKind.NONE


def settle(job: Job) -> Step | None:
    """Chooses the scheduler of an attempt that has no pods yet, or waits for one; None where that is settled."""
    if job.gang.current or all_created(job.attempt):
        return None
    choice, kind = choose(job.spec, job.observed.gang_state.apis), of_new_attempt(job.spec, job.observed.gang_state)
    if choice.served and (job.attempt is None or job.attempt.gang == kind):
        return None
    status = _with_kind(job.status, kind)
    if choice.served:
        return Step(status)
    status = status.model_copy(update={"nodes": phase.count(job.gang, desired=job.desired)})
    message = _not_served(job.spec, choice.kind)
    return Step(
        move(status, Phase.PENDING, Reason.WAITING_FOR_GANG, message, now=job.now),
        requeue=(LOOK_AGAIN_SECONDS,),
        stalled=True,
    )


def explain(job: Job, reason: Reason) -> Wait:
    """Why a gang isn't wholly scheduled; `reason` is what its pods alone say."""
    kind = kind_of(job)
    if kind is GangKind.NONE:
        one_by_one = any(_has_gate(each.raw, ADMISSION_GATE) for each in job.gang.pods)
        return Wait(reason, f"; {_ONE_BY_ONE}" if one_by_one else phase.because(job.gang) + _silence(job, kind))
    scheduler, sight = SCHEDULERS[kind], _sight(job, kind)
    told = scheduler.tell(sight)
    if told and scheduler.queues:
        reason = Reason.WAITING_FOR_QUEUE
    elif kind is not GangKind.KUEUE:
        reason = Reason.WAITING_FOR_GANG
    of_pods = "" if sight.is_gated else phase.because(job.gang) + _silence(job, kind)
    return Wait(reason, (f"; {told}" if told else "") + of_pods)


def is_held_by_queue(job: Job) -> bool:
    """True while Kueue holds any pod of the gang back: that others have nodes already is its own doing."""
    return kind_of(job) is GangKind.KUEUE and any(pod.gated for pod in job.gang.pods)


def group_to_create(job: Job, gang: AttemptSpec) -> tuple[Object, ...]:
    """The PodGroup of an attempt that isn't wholly scheduled and lacks it."""
    state, kind = job.observed.gang_state, gang.gang
    if kind not in state.apis or state.group(kind, gang.group_name) is not None:
        return ()
    is_scheduled = all_created(job.attempt) and all(pod.node or pod.ended for pod in job.gang.pods)
    made = None if is_scheduled else build_group(gang, state.apis[kind])
    return () if made is None else (made,)


def outdated_groups(job: Job) -> tuple[Target, ...]:
    """PodGroups of attempts that have ended."""
    over = job.between_attempts or is_finished(job.status)
    kept = "" if over else _group_name(job)
    old = (each for each in job.observed.gang_state.groups if each["kind"] == "PodGroup" and name_of(each) != kept)
    return tuple(
        Target("PodGroup", text(metadata, "namespace"), text(metadata, "name"), uid_of(each), api=each["apiVersion"])
        for each in old
        if not (metadata := block(each, "metadata")).get("deletionTimestamp")
    )


def next_looks(job: Job) -> Iterator[float | None]:
    """Seconds until a scheduler that has said nothing counts as silent."""
    if job.status.phase is Phase.QUEUED and (kind_of(job) is not GangKind.NONE or _scheduler_name(job, GangKind.NONE)):
        yield SILENCE_SECONDS - _seconds_created(job)


def _not_served(spec: TrainingJobSpec, kind: GangKind) -> str:
    asked = f"scheduling.gang: {kind}" if (spec.scheduling.gang or "auto") != "auto" else "scheduling.queueName"
    return (
        f"{asked} needs {SCHEDULERS[kind].needs}; the job starts by itself once it does. To run without, delete the "
        "job and create it anew with scheduling.gang: none and without queueName"
    )


def _with_kind(status: TrainingJobStatus, kind: str | None) -> TrainingJobStatus:
    *before, attempt = status.attempts
    return status.model_copy(update={"attempts": [*before, attempt.model_copy(update={"gang": kind})]})


def _group_name(job: Job) -> str:
    metadata, number = job.config.metadata, job.attempt.attempt if job.attempt is not None else 0
    return group_name(metadata.name, run=job.config.run, attempt=number, uid=metadata.uid)


def _sight(job: Job, kind: GangKind) -> Sight:
    state = job.observed.gang_state
    return Sight(
        group=state.group(kind, _group_name(job)),
        is_certain=kind in state.watched,
        seconds=_seconds_created(job),
        is_gated=any(pod.gated for pod in job.gang.pods),
        queue=job.spec.scheduling.queue_name or "",
    )


def _seconds_created(job: Job) -> float:
    created = job.attempt.created_time if job.attempt is not None else None
    return (job.now - created).total_seconds() if created is not None else 0.0


def _silence(job: Job, kind: GangKind) -> str:
    """That a scheduler which isn't the cluster's own has said nothing of the pods, where that is so."""
    name, waiting = _scheduler_name(job, kind), [pod for pod in job.gang.pods if pod.node is None]
    if not name or _seconds_created(job) < SILENCE_SECONDS or any(pod.condition("PodScheduled") for pod in waiting):
        return ""
    return (
        f"; scheduler {name} has said nothing of the pods for {SO_LONG}: it places all of them at once, "
        "or none of that name runs here (then create the job anew with another podTemplate.schedulerName or "
        "scheduling.gang)"
    )


def _scheduler_name(job: Job, kind: GangKind) -> str:
    """The scheduler's name, empty where it is the cluster's own."""
    own = job.spec.pod_template.scheduler_name
    if kind in SCHEDULERS:
        gang = AttemptSpec(job.config, job.spec, job.run_name, attempt=0, nodes=job.desired, gang=kind)
        own = str(membership(gang).spec.get("schedulerName", own))
    return "" if own == DEFAULT_SCHEDULER else own


def _has_gate(pod: Object, name: str) -> bool:
    return any(text(gate, "name") == name for gate in blocks(block(pod, "spec"), "schedulingGates"))
