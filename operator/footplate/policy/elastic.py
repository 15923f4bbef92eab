"""The size of an elastic job's gang: what the next attempt has, and when the present one should give way to it.

The gang runs with anything from `elastic.minNodes` up to `nodes`. It shrinks by the places that it loses, and where too
few nodes are found; it grows when scouts (`footplate.scouts`) run in places for more. An attempt's own size never
changes. Scouts belong to an attempt, have the names of the ranks that it lacks, and are never part of its gang:
whatever becomes of them, training goes on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from footplate.api.status import Phase, TrainingJobStatus
from footplate.api.trainingjob import TrainingJobSpec
from footplate.attempt_spec import AttemptSpec
from footplate.objects import Object, block, text
from footplate.policy import kubelet, scheduling_timeout
from footplate.policy.failure import node_lost
from footplate.policy.job import Job
from footplate.policy.plan import Doubt
from footplate.policy.pod import Pod
from footplate.policy.reasons import Reason
from footplate.scouts import build_scouts
from footplate.text import clean

FEWER_AFTER = timedelta(seconds=30)
"""A gang that found enough nodes, but not all, makes do with them when no further one was found for so long."""

MORE_AFTER = timedelta(seconds=60)
"""A gang grows by the places that scouts have found when no further one was found for so long."""

SCOUTS_EVERY = timedelta(seconds=180)
"""Scouts that were refused, or went, are sent again so much later."""

SENDING = timedelta(seconds=5)
"""How long scouts may take to be created, counted from the second in which the status says that they are sent."""


@dataclass(frozen=True, slots=True)
class Resize:
    """The size that the next attempt should have, and why the present one should end for it."""

    nodes: int
    why: str
    doubts: Sequence[Doubt] = ()
    """What must be confirmed before."""


def next_size(spec: TrainingJobSpec, status: TrainingJobStatus) -> int:
    """Pods of the attempt that begins now."""
    if spec.elastic is None or status.restart_nodes is None:
        return spec.nodes
    return min(max(status.restart_nodes, spec.elastic.min_nodes), spec.nodes)


def size_after_failure(job: Job) -> int:
    """Pods of the attempt that follows the present one's failure: as many fewer as it has lost places."""
    elastic = job.spec.elastic
    if elastic is None:
        return job.desired
    return max(job.desired - _places_lost(job), elastic.min_nodes)


def resize(job: Job) -> Resize | None:
    """Why an attempt that hasn't failed should end for one of another size; None where it should go on."""
    if job.spec.elastic is None:
        return None
    nodes, desired = job.spec.nodes, job.desired
    if nodes < desired:
        return Resize(nodes, f"spec.nodes was lowered from {desired} to {nodes}")
    left = _seconds_until_fewer(job)
    if left is not None and left <= 0:
        found = len(_bound(job)) + job.gang.gone
        why = f"only {found} of {desired} nodes were found, enough for elastic.minNodes"
        return Resize(found, why, scheduling_timeout.doubts(job))
    left = _seconds_until_more(job)
    if left is not None and left <= 0:
        scouts = _in_place(job)
        found = desired + len(scouts)
        why = f"{found} nodes were found of the {nodes} that are wanted; the gang grows from {desired}"
        return Resize(found, why, [job.gang.doubt(scout.rank) for scout in scouts])
    return None


def scouts_are_due(job: Job) -> bool:
    """True where it is time to write into the status that scouts are sent."""
    return bool(_missing(job)) and _seconds_until_sending(job) <= 0


def send_scouts(job: Job, gang: AttemptSpec) -> Sequence[Object]:
    """The scouts to create now, once the status says so."""
    sent = job.status.scout_time
    refused = any((refusal.verb, refusal.kind) == ("create", "Pod") for refusal in job.observed.refusals)
    if sent is None or refused or not timedelta() <= job.now - sent < SENDING:
        return ()
    return build_scouts(gang, _missing(job))


def useful_scouts(job: Job) -> set[Pod]:
    """Scouts that stay: for ranks that are wanted or, between two attempts, in places that the next one takes."""
    if job.between_attempts:
        return set(_in_place(job)) if _is_growing(job) else set()
    wanted, scouts = _wanted(job), job.gang.scouts.items()
    return {scout for rank, scout in scouts if rank in wanted and _may_stay(scout, job)}


def describe(job: Job) -> str:
    """What a running gang's message says of the nodes that it lacks; empty where it lacks none."""
    wanted = len(_wanted(job))
    searching = next((scout for scout in job.gang.scouts.values() if scout.node is None), None)
    said = text(searching.condition("PodScheduled"), "message") if searching else ""
    return f"; {wanted} more wanted" + (f": {clean(said, most=512)}" if said else "") if wanted else ""


def next_looks(job: Job) -> Iterable[float | None]:
    """Seconds until the size is a question again."""
    yield _seconds_until_fewer(job)
    yield _seconds_until_more(job)
    yield _seconds_until_sending(job) if _missing(job) else None


def _places_lost(job: Job) -> int:
    """Pods that couldn't be started again where they ran: their node is lost or being drained, or they had to make
    room. A pod that somebody deleted has lost nothing but itself.
    """
    gang, nodes = job.gang, job.observed.nodes
    evicted = {pod for pod in gang.unsettled if _is_evicted(pod)}
    lost = {pod for pod in gang.on_lost_nodes(nodes) if node_lost(pod, nodes, now=job.now) is not None}
    drained = {pod.node for pod in evicted if block(nodes.get(pod.node or ""), "spec").get("unschedulable") is True}
    return sum(pod in evicted or pod.node in drained or pod in lost for pod in gang.pods)


def _is_evicted(pod: Pod) -> bool:
    """True for a pod that was evicted, preempted, or turned away or thrown out by its node."""
    if pod.ended_unasked or kubelet.exceeded(pod) is not None:
        return False
    return bool(pod.ended_by_node or pod.disruption)


def _bound(job: Job) -> list[Pod]:
    """Pods of the gang that found a node."""
    return [pod for pod in job.gang.pods if pod.node is not None]


def _seconds_until_fewer(job: Job) -> float | None:
    """Seconds until the gang makes do with the nodes that it found; None where it found all, or too few.

    Older pods may be all that is in the way of the rest: they are waited for.
    """
    elastic, attempt = job.spec.elastic, job.attempt
    if elastic is None or attempt is None or attempt.start_time is None:
        return None
    bound, timeout = _bound(job), scheduling_timeout.seconds_left(job)
    if timeout is None or len(bound) + job.gang.gone < elastic.min_nodes:
        return None
    since = max(pod.bound or attempt.start_time for pod in bound)
    in_the_way = [
        pod.seconds_to_stop(job.now)
        for pod in job.gang.older
        if pod.node is not None and node_lost(pod, job.observed.nodes, now=job.now) is None
    ]
    return min(timeout, max([(since + FEWER_AFTER - job.now).total_seconds(), *in_the_way]))


def _wanted(job: Job) -> range:
    """Ranks that the user wants beyond those of a gang that runs and may go on running."""
    gang, none = job.gang, range(0)
    if job.spec.elastic is None or job.between_attempts or job.status.phase is not Phase.RUNNING:
        return none
    if gang.succeeded or any(pod.ended or pod.terminating for pod in gang.unsettled):
        return none
    return range(job.desired, job.spec.nodes)


def _missing(job: Job) -> list[int]:
    """Ranks that are wanted and have no scout."""
    return [rank for rank in _wanted(job) if rank not in job.gang.scouts]


def _may_stay(scout: Pod, job: Job) -> bool:
    """False for a scout that has ended, or whose place is lost."""
    nodes, now = job.observed.nodes, job.now
    return not scout.ended and not scout.terminating and node_lost(scout, nodes, now=now) is None


def _in_place(job: Job) -> list[Pod]:
    """Scouts that run, so that a rank could: the place is there, and the image too."""
    wanted = [scout for rank, scout in job.gang.scouts.items() if rank < job.spec.nodes]
    return [scout for scout in wanted if scout.running and _may_stay(scout, job)]


def _is_growing(job: Job) -> bool:
    """True while the old ranks stop for a larger gang."""
    status, attempt = job.status, job.attempt
    more = (status.restart_nodes or 0) > job.desired
    return more and status.phase is Phase.RESTARTING and attempt is not None and attempt.reason == Reason.RESIZED


def _seconds_until_more(job: Job) -> float | None:
    """Seconds until the gang grows by the places that were found; None where none were."""
    wanted, in_place = _wanted(job), _in_place(job)
    if not wanted or not in_place:
        return None
    if len(in_place) == len(wanted):
        return 0.0
    news = [time for scout in job.gang.scouts.values() for time in (scout.bound, scout.running_since) if time]
    return (max(news, default=job.now) + MORE_AFTER - job.now).total_seconds()


def _seconds_until_sending(job: Job) -> float:
    """Seconds until scouts may be sent (again)."""
    sent = job.status.scout_time
    if sent is None or sent > job.now:
        return 0.0
    return (sent + SCOUTS_EVERY - job.now).total_seconds()
