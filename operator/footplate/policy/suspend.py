"""Suspend and resume: the gang is stopped after a checkpoint, and goes on from it when the user says so."""

from footplate.api.status import Phase, TrainingJobStatus
from footplate.policy.end import ended, is_stopped, stop
from footplate.policy.plan import Plan
from footplate.policy.reasons import Reason
from footplate.policy.situation import Situation, begin_attempt, move
from footplate.policy.status import publish


def suspend(situation: Situation) -> Plan | None:
    """What is to be done on the way into suspension, in it, or out of it; None where it plays no part.

    A job that is on its way into suspension goes all of it, so that two gangs never share a checkpoint.
    """
    status, wanted = situation.status, situation.spec.run_policy.suspend
    if status.phase is Phase.SUSPENDED:
        return stop(situation) if wanted else _publish(situation, _resumed(situation))
    if status.phase is Phase.SUSPENDING:
        return _publish(situation, _suspended(status, situation)) if is_stopped(situation) else stop(situation)
    if not wanted:
        return None
    status = ended(situation, Reason.SUSPENDED)
    if is_stopped(situation):
        return _publish(situation, _suspended(status, situation))
    text = "the ranks are saving a checkpoint and stopping"
    return _publish(situation, move(status, Phase.SUSPENDING, Reason.SUSPENDED, text, now=situation.now))


def _publish(situation: Situation, status: TrainingJobStatus) -> Plan:
    return publish(situation.observed, status, now=situation.now)


def _suspended(status: TrainingJobStatus, situation: Situation) -> TrainingJobStatus:
    text = "suspended; set runPolicy.suspend to false to go on"
    if status.checkpoint is not None:
        text += f" from step {status.checkpoint.step:,}"
    status = status.model_copy(update={"nodes": None, "restart_time": None, "restart_nodes": None})
    return move(status, Phase.SUSPENDED, Reason.SUSPENDED, text, now=situation.now)


def _resumed(situation: Situation) -> TrainingJobStatus:
    status = begin_attempt(situation.status, nodes=situation.spec.nodes, now=situation.now)
    return move(status, Phase.PENDING, Reason.RESUMED, "resumed; the pods are being created", now=situation.now)
