"""Suspend and resume: the gang is stopped after a checkpoint, and goes on from it when the user says so."""

from footplate.api.status import Phase, TrainingJobStatus
from footplate.policy.reasons import Reason
from footplate.policy.situation import Situation, begin_attempt, end_attempt, move


def suspend(situation: Situation) -> TrainingJobStatus | None:
    """The status on the way into suspension, in it, or out of it; None where suspension plays no part."""
    status, now = situation.status, situation.now
    wanted = situation.spec.run_policy.suspend
    if status.phase is Phase.SUSPENDED:
        return None if wanted else _resume(situation)
    if status.phase is Phase.SUSPENDING:
        return None if _live(situation) else _suspended(status, situation)
    if not wanted:
        return None
    ended = end_attempt(status, Reason.SUSPENDED, now=now)
    if not _live(situation):
        return _suspended(ended, situation)
    return move(ended, Phase.SUSPENDING, Reason.SUSPENDED, "the ranks are saving a checkpoint and stopping", now=now)


def _live(situation: Situation) -> bool:
    pods = (*situation.gang.pods, *situation.gang.older)
    return any(not pod.terminal and pod.seconds_to_stop(situation.now) > 0 for pod in pods)


def _suspended(status: TrainingJobStatus, situation: Situation) -> TrainingJobStatus:
    text = "suspended; set runPolicy.suspend to false to go on"
    if status.checkpoint is not None:
        text += f" from step {status.checkpoint.step:,}"
    status = status.model_copy(update={"nodes": None})
    return move(status, Phase.SUSPENDED, Reason.SUSPENDED, text, now=situation.now)


def _resume(situation: Situation) -> TrainingJobStatus:
    status = begin_attempt(situation.status, nodes=situation.spec.nodes, now=situation.now)
    return move(status, Phase.PENDING, Reason.RESUMED, "resumed; the pods are being created", now=situation.now)
