"""A job's share of its namespace's quota: how it takes its place in the line, begins when it is its turn, and gives
back. `queue` decides who; here is what that means for one job.

All that the line knows of a job is `status.queue`. A job holds from the write that gives it nodes to the one that takes
them away, so whoever leads, and whenever it has begun to, sees the same. A gang that restarts keeps its share, in its
backoff too, unless it is asked for it; one that gives its nodes back, since it found too few or its image isn't there,
goes to the end of the line.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from footplate.api.quantities import amount
from footplate.api.status import NodeCounts, Phase, QueueStatus, TrainingJobStatus
from footplate.api.trainingjob import TrainingJobSpec
from footplate.gangs.kinds import choose
from footplate.gangs.table import SCHEDULERS
from footplate.policy.data_stage import is_preparing
from footplate.policy.job import Job, move
from footplate.policy.plan import Observed
from footplate.policy.quota import held_without_line
from footplate.policy.reasons import Reason
from footplate.text import clean

TAKES_ITS_PLACE = "takes its place in the queue of its namespace"

_AT_REST = (Phase.SUSPENDED, Phase.SUCCEEDED, Phase.FAILED)
"""Phases in which a job holds nothing, and asks for nothing."""


def asked(spec: TrainingJobSpec, observed: Observed) -> Mapping[str, int]:
    """What each node takes of a quota, by resource; empty where the job isn't in the line: its namespace has no quota,
    it asks for nothing that the quota names, or a scheduler with queues of its own looks after it.
    """
    if observed.admission is None:
        return {}
    kind = choose(spec, observed.gang_state.apis).kind
    if kind in SCHEDULERS and SCHEDULERS[kind].queues:
        return {}
    limits = {name: int(amount(count)) for name, count in spec.resources.limits.items() if "/" in name}
    counted = {name: count for name, count in limits.items() if count}
    return counted if observed.admission.limited & counted.keys() else {}


def enter(
    status: TrainingJobStatus, spec: TrainingJobSpec, observed: Observed, *, now: datetime
) -> TrainingJobStatus | None:
    """The status of a job that takes its place at the end of the line; None where it may begin without."""
    each = asked(spec, observed)
    if not each:
        return None
    place = QueueStatus(accelerators={**each}, since=now, changed_time=now)
    return _waiting(status, _as_asked(place, spec), observed, now=now)


def keep_up(job: Job) -> Job:
    """The job with its place in the line as it must be by now, and with a spec that asks for no more nodes than it
    holds. One that ran already when its namespace was given a quota holds what it has.
    """
    place, each = job.status.queue, asked(job.spec, job.observed)
    if job.status.phase in _AT_REST or (not each and place is None):
        return job
    if not each:
        return _with_place(job, None)
    if place is None:
        if job.attempt is None or is_preparing(job.attempt):
            return job
        since = job.status.start_time or job.now
        held = held_without_line(job.attempt.nodes, job.spec.nodes)
        place = QueueStatus(
            accelerators={**each}, nodes=held, since=since, changed_time=job.attempt.start_time or since
        )
    place = _as_asked(place, job.spec)
    more = job.observed.admission.nodes if job.observed.admission is not None else 0
    if place.nodes and place.leaves is None and not job.between_attempts:
        place = place.model_copy(update={"nodes": max(place.nodes, more)})
    return _with_place(job, place)


def before_attempt(job: Job) -> tuple[TrainingJobStatus, bool]:
    """The status of a job whose next attempt is due, and whether it may begin."""
    status, place, admission = job.status, job.status.queue, job.observed.admission
    if place is None or admission is None:
        waiting = enter(status, job.spec, job.observed, now=job.now)
        return (status, True) if waiting is None else (waiting, False)
    if not place.nodes and not admission.nodes:
        return _waiting(status, place, job.observed, now=job.now), False
    if not place.nodes:
        return _given(status, place, admission.nodes, now=job.now), True
    left = place.leaves if place.leaves is not None else admission.keeps
    if left is None:
        kept = place.model_copy(update={"nodes": min(place.nodes, place.wanted)})
        return status.model_copy(update={"queue": kept}), True
    if left:
        return _given(status, place, left, now=job.now), True
    return _without_nodes(status, place, job), False


def given_in_pause(job: Job) -> TrainingJobStatus | None:
    """The status of a job that waits out a backoff, and gives back at once what it is asked for: its ranks have nothing
    to save. With what it keeps it waits on; with nothing, in the line. None where nobody asks it.
    """
    left, place = nodes_to_give(job), job.status.queue
    if left is None or place is None:
        return None
    if left:
        return _given(job.status, place, left, now=job.now)
    return _without_nodes(job.status.model_copy(update={"restart_time": None}), place, job)


def nodes_to_give(job: Job) -> int | None:
    """Nodes that a living gang keeps, being asked to give back the rest; None where nobody asks it."""
    place, admission = job.status.queue, job.observed.admission
    if place is None or admission is None or place.leaves is not None or admission.keeps is None:
        return None
    return admission.keeps if admission.keeps < place.nodes else None


def leaving(status: TrainingJobStatus, nodes: int) -> TrainingJobStatus:
    """The status of a job that will hold so many nodes once its gang has stopped."""
    place = status.queue and status.queue.model_copy(update={"leaves": nodes})
    return status.model_copy(update={"queue": place})


def without_pods(status: TrainingJobStatus) -> TrainingJobStatus:
    """The status of a job that waits for leave to begin: of its last gang no pod runs any more."""
    nodes = status.nodes and NodeCounts(desired=status.nodes.desired)
    return status.model_copy(update={"nodes": nodes})


def given_up(status: TrainingJobStatus, *, now: datetime) -> TrainingJobStatus:
    """The status of a job that holds nothing any more, and asks again behind all others."""
    if status.queue is None or not status.queue.nodes:
        return status
    gone = {"nodes": 0, "leaves": None, "since": now, "changed_time": now}
    return status.model_copy(update={"queue": status.queue.model_copy(update=gone)})


def seconds_waited(job: Job) -> float | None:
    """Seconds since a run that has never run takes part in the line; None where it holds what it needs, or has run."""
    place = job.status.queue
    if place is None or place.nodes or job.status.running_time is not None:
        return None
    return (job.now - place.since).total_seconds()


def _waiting(status: TrainingJobStatus, place: QueueStatus, observed: Observed, *, now: datetime) -> TrainingJobStatus:
    admission = observed.admission
    hopeless = admission is not None and admission.hopeless
    reason = Reason.EXCEEDS_QUOTA if hopeless else Reason.WAITING_FOR_QUOTA
    why = clean(admission.why) if admission is not None else ""
    if not why:
        told = status.reason == reason and status.phase is Phase.QUEUED
        why = status.message if told and status.message else TAKES_ITS_PLACE
    return move(without_pods(status.model_copy(update={"queue": place})), Phase.QUEUED, reason, why, now=now)


def _without_nodes(status: TrainingJobStatus, place: QueueStatus, job: Job) -> TrainingJobStatus:
    gone = place.model_copy(update={"nodes": 0, "leaves": None, "changed_time": job.now})
    return _waiting(status, gone, job.observed, now=job.now)


def _given(status: TrainingJobStatus, place: QueueStatus, nodes: int, *, now: datetime) -> TrainingJobStatus:
    held = place.model_copy(update={"nodes": min(nodes, place.wanted), "leaves": None, "changed_time": now})
    return status.model_copy(update={"queue": held})


def _as_asked(place: QueueStatus, spec: TrainingJobSpec) -> QueueStatus:
    """With what the job asks for now: some of it may be changed while it lives."""
    return place.model_copy(
        update={
            "wanted": spec.nodes,
            "least": spec.elastic.min_nodes if spec.elastic is not None else spec.nodes,
            "saves": spec.checkpoint is not None,
            "priority_class_name": spec.scheduling.priority_class_name,
        }
    )


def _with_place(job: Job, place: QueueStatus | None) -> Job:
    spec = job.spec
    if place is not None and place.nodes and spec.elastic is not None:
        spec = spec.model_copy(update={"nodes": min(spec.nodes, place.nodes)})
    return replace(job, spec=spec, status=job.status.model_copy(update={"queue": place}))
