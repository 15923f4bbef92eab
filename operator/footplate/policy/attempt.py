"""A living attempt: creates the pods that are missing, and shows how far the gang is."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from footplate.api.status import Phase, TrainingJobStatus
from footplate.objects import Object
from footplate.podspec import AttemptSpec, build_pods, build_service, mounted_objects
from footplate.policy import clean_pods, deadline, elastic, failure, phase, scheduling_timeout, writes
from footplate.policy.plan import Plan, Refusal
from footplate.policy.reasons import Reason
from footplate.policy.situation import Situation, move
from footplate.policy.status import publish

AVOID_NODE_FOR = timedelta(hours=1)


def advance(situation: Situation) -> Plan:
    """The next step of an attempt that has no reason to end."""
    failing = writes.failing(situation.refusals, now=situation.now)
    return publish(
        situation.observed,
        _show(situation, failing),
        now=situation.now,
        create=(*_missing(situation), *_scouts(situation)),
        delete=clean_pods.outdated(situation),
        requeue=_next_looks(situation),
        failing=failing,
    )


def _show(situation: Situation, failing: Refusal | None) -> TrainingJobStatus:
    status, gang, now = situation.status, situation.gang, situation.now
    counts = phase.count(gang, desired=situation.desired)
    now_phase, reason = phase.derive(gang, counts, was=status.phase or Phase.PENDING)
    mounts = mounted_objects(situation.spec)
    text = phase.describe(now_phase, gang, counts, status.progress, mounts=mounts, now=now)
    if now_phase is Phase.RUNNING:
        text += elastic.describe(situation)
    if failing is not None:
        reason = Reason.FAILED_CREATE if failing.transient else Reason.PODS_REFUSED
        text = writes.describe(failing)
    stuck = writes.failing((each for each in situation.observed.refusals if each.verb == "delete"), now=now)
    if stuck is not None:
        text += f"; {writes.describe(stuck)}"
    status = status.model_copy(update={"nodes": counts})
    if elastic.scouts_are_due(situation):
        status = status.model_copy(update={"scout_time": now})
    if now_phase is Phase.RUNNING:
        status = _with_running_time(status, situation)
    return move(status, now_phase, reason, text, now=now)


def _with_running_time(status: TrainingJobStatus, situation: Situation) -> TrainingJobStatus:
    *before, attempt = status.attempts
    if attempt.running_time is not None:
        return status
    attempts = [*before, attempt.model_copy(update={"running_time": situation.now})]
    running_time = status.running_time or situation.now
    return status.model_copy(update={"attempts": attempts, "running_time": running_time})


def _missing(situation: Situation) -> tuple[Object, ...]:
    """The Service and pods that the attempt lacks while it is being created; later a missing pod ends it."""
    ranks = [rank for rank in range(situation.desired) if rank not in situation.gang.current]
    if not ranks or situation.all_created:
        return ()
    return (build_service(situation.config), *build_pods(_gang_of(situation), ranks))


def _scouts(situation: Situation) -> Sequence[Object]:
    """The pods that look for places for more ranks, where that is due."""
    return elastic.send_scouts(situation, _gang_of(situation))


def _gang_of(situation: Situation) -> AttemptSpec:
    number = situation.attempt.attempt if situation.attempt is not None else 0
    avoid = _nodes_to_avoid(situation)
    return AttemptSpec(situation.config, situation.spec, attempt=number, nodes=situation.desired, avoid=avoid)


def _nodes_to_avoid(situation: Situation) -> list[str]:
    """Nodes that ended an attempt within the last hour."""
    recent = situation.now - AVOID_NODE_FOR
    attempts = situation.status.attempts
    return sorted({a.node for a in attempts if a.node is not None and a.end_time is not None and a.end_time > recent})


def _next_looks(situation: Situation) -> Iterable[float | None]:
    now, gang = situation.now, situation.gang
    yield from failure.next_look(gang, situation.observed.nodes, now=now)
    yield from (limit.left for limit in deadline.deadlines(situation))
    yield scheduling_timeout.seconds_left(situation)
    yield from elastic.next_looks(situation)
    yield phase.seconds_until_slow(gang, now=now)
