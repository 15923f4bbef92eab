"""How an attempt ends, and what follows: success, another attempt, or the end of the run."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from footplate.api.status import FailureClass, Phase, Restarts, TrainingJobStatus
from footplate.policy import clean_pods, elastic, phase, progress, restart, scheduling_timeout, usage
from footplate.policy.failure import Failure
from footplate.policy.plan import Plan, once_confirmed
from footplate.policy.reasons import Reason
from footplate.policy.run import reject
from footplate.policy.situation import Situation, begin_attempt, end_attempt, move
from footplate.policy.status import publish
from footplate.text import clean

_GRACEFUL = (Reason.EVICTED, Reason.STOPPED, Reason.RESIZED)
"""Ends after which the ranks may still be saving a checkpoint that the next attempt wants."""

_SUSPECT_NODE = (Reason.NODE_LOST, Reason.HANG)
"""Ends that speak against the node they came from."""


def has_succeeded(situation: Situation) -> bool:
    """True once every pod of the attempt ended well; even where it was to be stopped meanwhile."""
    pods = situation.gang.pods
    return bool(situation.attempt) and len(pods) == situation.desired and all(p.phase == "Succeeded" for p in pods)


def succeed(situation: Situation) -> Plan:
    """The run ends as Succeeded."""
    status, now = ended(situation, Reason.COMPLETED), situation.now
    status = status.model_copy(update={"completion_time": now, "failure": None})
    return publish(
        situation.observed, move(status, Phase.SUCCEEDED, Reason.COMPLETED, _what_came_out(situation), now=now), now=now
    )


def _what_came_out(situation: Situation) -> str:
    artifact, output = situation.status.artifact, situation.spec.output
    if artifact is not None:
        return f"training finished; the verified model is at {clean(artifact.uri, most=512)}"
    if output is not None:
        return f"training finished, but rank 0 left no word of the model; look below {output.uri}"
    return "training finished"


def fail(situation: Situation, reason: Reason, text: str) -> Plan:
    """The run ends as Failed, whatever the pods do."""
    return reject(situation.observed, ended(situation, reason), reason, text, now=situation.now)


def ended(situation: Situation, reason: Reason, cause: Failure | None = None) -> TrainingJobStatus:
    """The status with its attempt ended, for the cause if there is one."""
    node = cause.pod.node if cause and cause.pod and reason in _SUSPECT_NODE else None
    step = progress.last_step(situation.status, situation.gang)
    status = end_attempt(situation.status, reason, now=situation.now, node=node, last_step=step)
    update: dict[str, Any] = {"nodes": phase.count(situation.gang, desired=situation.desired)}
    if not situation.between_attempts:
        update |= {"usage": usage.close(situation, reason), "stragglers": []}
    if cause is not None:
        update["failure"] = cause.to_status()
    return status.model_copy(update=update)


def resize(situation: Situation) -> Plan | None:
    """Ends an elastic job's attempt that should give way to one of another size; None where it shouldn't."""
    change = elastic.resize(situation)
    if change is None:
        return None
    status = ended(situation, Reason.RESIZED)
    plan = _restart(situation, status, Reason.RESIZED, change.why, nodes=change.nodes)
    return once_confirmed(plan, observed=situation.observed, doubts=change.doubts)


def end(situation: Situation, cause: Failure) -> Plan:
    """Ends the attempt for a failure: another one follows, or the run fails."""
    return once_confirmed(_end(situation, cause), observed=situation.observed, doubts=cause.doubts)


def _end(situation: Situation, cause: Failure) -> Plan:
    status = ended(situation, cause.reason, cause)
    next_ = restart.decide(
        cause,
        policy=situation.spec.run_policy,
        restarts=status.restarts or Restarts(),
        attempts=status.attempts,
        before=situation.status.failure,
    )
    if next_.delay is not None:
        charged = status.model_copy(update={"restarts": next_.restarts})
        nodes = elastic.size_after_failure(situation)
        delay = 0.0 if nodes < situation.desired else next_.delay
        return _restart(situation, charged, next_.reason, next_.message, nodes=nodes, delay=delay)
    if next_.reason is Reason.REPEATED_ERROR and status.failure is not None:
        permanent = status.failure.model_copy(update={"class_": FailureClass.PERMANENT})
        status = status.model_copy(update={"failure": permanent})
    return reject(situation.observed, status, next_.reason, next_.message, now=situation.now)


def release(situation: Situation) -> Plan:
    """Gives the nodes of a half-scheduled gang back."""
    counts = phase.count(situation.gang, desired=situation.desired)
    why = (
        f"only {counts.scheduled} of {counts.desired} nodes were scheduled within "
        f"{situation.spec.run_policy.scheduling_timeout_seconds} s (runPolicy.schedulingTimeoutSeconds); "
        "they are given back"
    )
    status, delay = ended(situation, Reason.SCHEDULING_TIMEOUT), scheduling_timeout.backoff(situation)
    plan = _restart(situation, status, Reason.SCHEDULING_TIMEOUT, why, nodes=situation.desired, delay=delay)
    return once_confirmed(plan, observed=situation.observed, doubts=scheduling_timeout.doubts(situation))


def _restart(
    situation: Situation, status: TrainingJobStatus, reason: Reason, why: str, *, nodes: int, delay: float = 0.0
) -> Plan:
    when = f"in {delay:.0f} s" if delay else "now"
    size = f" on {nodes} node{'s' * (nodes > 1)}" if nodes != situation.desired else ""
    text = f"{clean(why, most=800)}; attempt {status.attempts[-1].attempt + 1} starts {when}{size}"
    next_: dict[str, Any] = {"restart_time": situation.now + timedelta(seconds=delay)}
    if situation.spec.elastic is not None:
        next_["restart_nodes"] = nodes
    status = status.model_copy(update=next_)
    return publish(
        situation.observed, move(status, Phase.RESTARTING, reason, text, now=situation.now), now=situation.now
    )


def between(situation: Situation) -> Plan:
    """Between two attempts: the old pods go, and the next gang begins when it is due."""
    status, now = situation.status, situation.now
    wait = restart.seconds_left(status, now=now)
    if situation.attempt is not None and situation.attempt.reason in _GRACEFUL:
        wait = max(wait, _seconds_to_stop(situation))
    if wait > 0:
        return stop(situation, requeue=[wait])
    nodes = elastic.next_size(situation.spec, status)
    return publish(situation.observed, begin_attempt(status, nodes=nodes, now=now), now=now)


def stop(situation: Situation, requeue: Iterable[float] = ()) -> Plan:
    """Deletes the pods of attempts that have ended, and looks again when the last of them must be gone."""
    return publish(
        situation.observed,
        situation.status,
        now=situation.now,
        delete=clean_pods.outdated(situation),
        requeue=[*requeue, _seconds_to_stop(situation)],
    )


def is_stopped(situation: Situation) -> bool:
    """True once no pod can be saving its state any more."""
    return _seconds_to_stop(situation) <= 0


def _seconds_to_stop(situation: Situation) -> float:
    pods = (pod for pod in situation.gang.everyone if not pod.is_scout)
    return max((pod.seconds_to_stop(situation.now) for pod in pods), default=0.0)
