"""One look at a job: what is observed goes in, what is to be done comes out. Pure, and never surprised.

Each step either settles the matter or passes it on; their order is the order of `reconcile`. A change of the status is
written before anything that depends on it is done: a crash between the two finds the decision made.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from footplate.api.status import FailureClass, Phase, Restarts, TrainingJobStatus
from footplate.podspec import GangOf, build_config_map, build_pod, build_service
from footplate.policy import cleanup, deadline, failure, phase, progress, restart, scheduling
from footplate.policy.begin import begin_run, name_conflict, reject
from footplate.policy.failure import Failure, clean
from footplate.policy.plan import Manifest, Observed, Plan, Refusal
from footplate.policy.pods import Gang, Pod, controller_uid, node_is_lost
from footplate.policy.publish import publish
from footplate.policy.reasons import Reason
from footplate.policy.resolve import InvalidJob, RuntimeRefuses, decode, digest, encode, resolve, with_live_fields
from footplate.policy.situation import Situation, begin_attempt, due_run, end_attempt, move, read_status
from footplate.policy.suspend import suspend

AVOID_NODE_FOR = timedelta(hours=1)
SETTLE = timedelta(seconds=3)
"""How long the cause is awaited where ranks only saw a peer go."""
RETRY_REFUSED_SECONDS = 10.0

_GRACEFUL = (Reason.EVICTED, Reason.STOPPED, Reason.RESIZED, Reason.SUSPENDED)
"""Ends after which the ranks may still be saving a checkpoint that the next attempt wants."""


def reconcile(observed: Observed, *, now: datetime) -> Plan:
    """Decides what is to be done for a job.

    Args:
        observed: the job, its pods, and all else that matters; nothing is remembered from look to look.
        now: the time, with a time zone.
    """
    if (observed.job.get("metadata") or {}).get("deletionTimestamp"):
        return Plan()
    status = read_status(observed.job)
    if status.run is None or due_run(observed.job, status) != status.run:
        return begin_run(observed, status, now=now)
    if status.resolved is None:
        return Plan()
    situation = _situate(observed, status, now=now)
    if isinstance(situation, Plan):
        return situation
    if status.phase is not None and status.phase.finished:
        return _finished(situation)
    return _live(situation)


def _situate(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> Situation | Plan:
    """Reads what the run was started with. Its ConfigMap is put back if somebody deleted it."""
    assert status.resolved is not None and status.run is not None  # noqa: S101, PT018
    found, config = observed.run_config, None
    metadata = observed.job["metadata"]
    if found is not None and controller_uid(found) == metadata.get("uid"):
        config = decode(found, sha256=status.resolved.sha256)
    if config is None:
        return _restore_config(observed, status, now=now)
    gang = Gang.of(
        observed.pods,
        uid=config.metadata.uid,
        run=status.run,
        attempt=-1 if status.attempt is None else status.attempt,
    )
    status = progress.update(status, polled=observed.progress, gang=gang, uid=config.metadata.uid)
    return Situation(observed, now, status, config, with_live_fields(config, observed.job), gang)


def _restore_config(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> Plan:
    assert status.resolved is not None and status.run is not None  # noqa: S101, PT018
    if status.phase is not None and status.phase.finished:
        owned = [Pod(raw) for raw in observed.pods if controller_uid(raw) == observed.job["metadata"].get("uid")]
        return Plan(delete=tuple(pod.target for pod in owned if not pod.terminal and not pod.terminating))
    try:
        config = resolve(observed.job, observed.runtime, run=status.run)
    except (InvalidJob, RuntimeRefuses):
        config = None
    if observed.run_config is None and config is not None and digest(encode(config)) == status.resolved.sha256:
        return Plan(create=(build_config_map(config, encode(config)),))
    text = (
        f"ConfigMap {status.resolved.config_map!r}, which holds what this run was started with, is gone or was "
        "replaced, and the job or its runtime have changed since; set runPolicy.restartNonce to start a new run"
    )
    return reject(observed, status, Reason.RUN_CONFIG_LOST, text, now=now)


def _finished(situation: Situation) -> Plan:
    status = situation.status
    if cleanup.expired(situation):
        status = status.model_copy(update={"resolved": None})
    return publish(
        situation.observed,
        status,
        now=situation.now,
        delete=cleanup.finished(situation),
        requeue=[cleanup.seconds_to_live(situation) if status.resolved else None],
    )


def _live(situation: Situation) -> Plan:
    refused = _refused_for_good(situation.observed.refusals)
    if refused is not None:
        reason, text = refused
        return _fail(situation, reason, text)
    if _succeeded(situation):
        return _succeed(situation)
    suspended = suspend(situation)
    if suspended is not None:
        return publish(situation.observed, suspended, now=situation.now)
    if situation.status.phase in (Phase.SUSPENDED, Phase.SUSPENDING):
        return _stop(situation)
    over = next((limit for limit in deadline.deadlines(situation) if limit.left <= 0), None)
    if over is not None:
        return _fail(situation, over.reason, over.message)
    if situation.between_attempts:
        return _between(situation)
    cause = _cause(situation)
    if cause is not None and not _unsettled(cause, situation):
        return _end(situation, cause)
    if (left := scheduling.seconds_left(situation)) is not None and left <= 0:
        return _release(situation)
    return _advance(situation)


def _refused_for_good(refusals: Iterable[Refusal]) -> tuple[Reason, str] | None:
    """The first refusal that trying again can't change, as reason and message."""
    for refusal in refusals:
        if refusal.reason == "NameConflict":
            return Reason.NAME_CONFLICT, name_conflict(refusal.kind, refusal.name)
        if refusal.code in (400, 422):
            text = f"the API server says of {refusal.kind} {refusal.name}: {refusal.message}; correct the spec"
            return Reason.INVALID_POD, text
    return None


def _succeeded(situation: Situation) -> bool:
    pods = situation.gang.pods
    return bool(situation.attempt) and len(pods) == situation.desired and all(p.phase == "Succeeded" for p in pods)


def _succeed(situation: Situation) -> Plan:
    status = situation.status
    step = progress.last_step(status, situation.gang)
    status = end_attempt(status, Reason.COMPLETED, now=situation.now, last_step=step)
    counts = phase.count(situation.gang, desired=situation.desired)
    done = "training finished"
    if status.artifact is not None:
        done += f"; the verified model is at {clean(status.artifact.uri, most=512)}"
    status = status.model_copy(update={"nodes": counts, "completion_time": situation.now, "failure": None})
    return publish(
        situation.observed,
        move(status, Phase.SUCCEEDED, Reason.COMPLETED, done, now=situation.now),
        now=situation.now,
    )


def _fail(situation: Situation, reason: Reason, text: str, cause: Failure | None = None) -> Plan:
    status = _ended(situation, reason, cause)
    return reject(situation.observed, status, reason, text, now=situation.now)


def _ended(situation: Situation, reason: Reason, cause: Failure | None) -> TrainingJobStatus:
    """The status with its attempt ended, for the cause if there is one."""
    node = cause.pod.node if cause and cause.pod and reason in (Reason.NODE_LOST, Reason.HANG) else None
    step = progress.last_step(situation.status, situation.gang)
    status = end_attempt(situation.status, reason, now=situation.now, node=node, last_step=step)
    update: dict[str, Any] = {"nodes": phase.count(situation.gang, desired=situation.desired)}
    if cause is not None:
        update["failure"] = cause.to_status()
    return status.model_copy(update=update)


def _cause(situation: Situation) -> Failure | None:
    attempt = situation.attempt
    if situation.spec.elastic and attempt and attempt.nodes != situation.spec.nodes:
        text = f"spec.nodes changed from {attempt.nodes} to {situation.spec.nodes}"
        return Failure(Reason.RESIZED, text, situation.now)
    return failure.find(
        situation.gang,
        situation.observed.nodes,
        desired=situation.desired,
        all_created=situation.all_created,
        now=situation.now,
    )


def _unsettled(cause: Failure, situation: Situation) -> bool:
    """True while a pod that saw only its peer go may soon be followed by the one that knows why."""
    alive = any(not pod.terminal for pod in situation.gang.pods)
    return cause.reason is Reason.PEER_LOST and alive and situation.now < cause.time + SETTLE


def _end(situation: Situation, cause: Failure) -> Plan:
    """Ends the attempt: another one follows, or the run fails."""
    status = _ended(situation, cause.reason, cause if cause.reason is not Reason.RESIZED else None)
    if cause.reason is Reason.RESIZED:
        return _restart(situation, status, cause.message, delay=0.0)
    next_ = restart.decide(
        cause,
        policy=situation.spec.run_policy,
        restarts=status.restarts or Restarts(),
        attempts=status.attempts,
        before=situation.status.failure,
    )
    if next_.delay is None:
        if status.failure is not None and next_.reason is Reason.REPEATED_ERROR:
            permanent = status.failure.model_copy(update={"class_": FailureClass.PERMANENT})
            status = status.model_copy(update={"failure": permanent})
        return reject(situation.observed, status, next_.reason, next_.message, now=situation.now)
    charged = status.model_copy(update={"restarts": next_.restarts})
    return _restart(situation, charged, next_.message, delay=next_.delay)


def _release(situation: Situation) -> Plan:
    """Gives the nodes of a half-scheduled gang back."""
    counts = phase.count(situation.gang, desired=situation.desired)
    text = (
        f"only {counts.scheduled} of {counts.desired} nodes were scheduled within "
        f"{situation.spec.run_policy.scheduling_timeout_seconds} s (runPolicy.schedulingTimeoutSeconds); "
        "they are given back"
    )
    delay = scheduling.backoff(situation)
    return _restart(situation, _ended(situation, Reason.SCHEDULING_TIMEOUT, None), text, delay=delay)


def _restart(situation: Situation, status: TrainingJobStatus, why: str, *, delay: float) -> Plan:
    reason = Reason(status.attempts[-1].reason or Reason.POD_LOST)
    when = f"in {delay:.0f} s" if delay else "now"
    text = f"{clean(why, most=800)}; attempt {status.attempts[-1].attempt + 1} starts {when}"
    status = status.model_copy(update={"restart_time": situation.now + timedelta(seconds=delay)})
    moved = move(status, Phase.RESTARTING, reason, text, now=situation.now)
    return publish(situation.observed, moved, now=situation.now, requeue=[0.0])


def _between(situation: Situation) -> Plan:
    """Between two attempts: the old pods go, and the next gang begins when it is due."""
    status, now = situation.status, situation.now
    waits = [(status.restart_time - now).total_seconds()] if status.restart_time else []
    if situation.attempt is not None and situation.attempt.reason in _GRACEFUL:
        pods = (*situation.gang.pods, *situation.gang.older)
        waits += [pod.seconds_to_stop(now) for pod in pods if not pod.terminal]
    wait = max(waits, default=0.0)
    if wait > 0:
        return _stop(situation, requeue=[wait])
    begun = begin_attempt(status, nodes=situation.spec.nodes, now=now)
    return publish(situation.observed, begun, now=now, requeue=[0.0])


def _stop(situation: Situation, requeue: Iterable[float] = ()) -> Plan:
    """Deletes the pods of attempts that have ended, and changes nothing else."""
    pods = (*situation.gang.pods, *situation.gang.older)
    looks = [*requeue, *(pod.seconds_to_stop(situation.now) for pod in pods if pod.terminating and not pod.terminal)]
    return publish(
        situation.observed,
        situation.status,
        now=situation.now,
        delete=cleanup.outdated(situation),
        requeue=[look for look in looks if look > 0],
    )


def _advance(situation: Situation) -> Plan:
    """A living attempt: creates the pods that are missing, and shows how far the gang is."""
    status, gang, now = situation.status, situation.gang, situation.now
    counts = phase.count(gang, desired=situation.desired)
    now_phase, reason = phase.of_gang(gang, counts, was=status.phase or Phase.PENDING)
    text = phase.describe(now_phase, gang, counts, status.progress)
    refused = next(iter(situation.observed.refusals), None)
    if refused is not None:
        reason, text = Reason.PODS_REFUSED, f"{refused.kind} {refused.name} was refused: {clean(refused.message)}"
    status = status.model_copy(update={"nodes": counts})
    if now_phase is Phase.RUNNING:
        status = _running(status, now=now)
    return publish(
        situation.observed,
        move(status, now_phase, reason, text, now=now),
        now=now,
        create=() if refused else _missing(situation),
        delete=cleanup.outdated(situation),
        requeue=_next_looks(situation, refused=refused is not None),
    )


def _running(status: TrainingJobStatus, *, now: datetime) -> TrainingJobStatus:
    *before, attempt = status.attempts
    if attempt.running_time is not None:
        return status
    update = {"attempts": [*before, attempt.model_copy(update={"running_time": now})]}
    return status.model_copy(update={**update, "running_time": status.running_time or now})


def _missing(situation: Situation) -> tuple[Manifest, ...]:
    """The Service and pods that the attempt lacks while it is being created; later a missing pod ends it."""
    ranks = [rank for rank in range(situation.desired) if rank not in situation.gang.current]
    if not ranks or situation.all_created or situation.status.attempt is None:
        return ()
    gang = GangOf(
        situation.config,
        situation.spec,
        attempt=situation.status.attempt,
        nodes=situation.desired,
        avoid=_nodes_to_avoid(situation),
    )
    return (build_service(situation.config), *(build_pod(gang, rank) for rank in ranks))


def _nodes_to_avoid(situation: Situation) -> list[str]:
    """Nodes that ended an attempt within the last hour, as long as enough others are left for the gang."""
    recent = situation.now - AVOID_NODE_FOR
    attempts = situation.status.attempts
    bad = {a.node for a in attempts if a.node is not None and a.end_time is not None and a.end_time > recent}
    nodes = situation.observed.nodes
    good = [name for name, node in nodes.items() if name not in bad and not node_is_lost(node)]
    return sorted(bad) if len(good) >= situation.desired else []


def _next_looks(situation: Situation, *, refused: bool) -> Iterable[float | None]:
    yield from failure.next_look(situation.gang, now=situation.now)
    yield from (limit.left for limit in deadline.deadlines(situation))
    yield scheduling.seconds_left(situation)
    yield RETRY_REFUSED_SECONDS if refused else None
    yield SETTLE.total_seconds() if any(pod.terminated.get("exitCode") for pod in situation.gang.pods) else None
