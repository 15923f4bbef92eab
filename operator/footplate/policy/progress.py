"""Progress, checkpoint and artifact: from what rank 0's pod serves, and from the trainers' last words."""

from typing import Any

from footplate.api.status import Attempt, CheckpointStatus, TrainingJobStatus
from footplate.contract import Label, Progress, Verdict
from footplate.policy.pods import Gang


def update(status: TrainingJobStatus, *, polled: Progress | None, gang: Gang, uid: str) -> TrainingJobStatus:
    """The status with the newest that is known. What another run or attempt says is not believed."""
    changes: dict[str, Any] = {}
    checkpoint = status.checkpoint
    if polled is not None and (polled.uid, polled.run, polled.attempt) == (uid, status.run, status.attempt):
        checkpoint = _newer(checkpoint, polled.checkpoint)
        if status.attempts and status.attempts[-1].end_time is None:  # else rank 0's last words are newer
            changes["progress"] = polled.progress
        changes["attempts"] = _resumed(status.attempts, polled.resumed_from_step)
    for pod in gang.everyone:
        if pod.verdict is not None and pod.label(Label.RUN) == status.run:
            checkpoint = _newer(checkpoint, pod.verdict.checkpoint)
    last_words = _of_rank_0(gang)
    if last_words is not None:
        changes["progress"] = last_words.progress or changes.get("progress", status.progress)
        changes["artifact"] = last_words.artifact or status.artifact
    return status.model_copy(update={**changes, "checkpoint": checkpoint})


def last_step(status: TrainingJobStatus, gang: Gang) -> int | None:
    """The last step that any rank of the attempt is known to have finished."""
    steps = [pod.verdict.step for pod in gang.pods if pod.verdict is not None and pod.verdict.step is not None]
    if status.progress is not None and status.progress.step is not None and not steps:
        steps.append(status.progress.step)
    return max(steps, default=None)


def _of_rank_0(gang: Gang) -> Verdict | None:
    pod = gang.current.get(0)
    return pod.verdict if pod is not None else None


def _newer(one: CheckpointStatus | None, other: CheckpointStatus | None) -> CheckpointStatus | None:
    if one is None or other is None:
        return one or other
    return other if other.step > one.step else one


def _resumed(attempts: list[Attempt], step: int | None) -> list[Attempt]:
    if step is None or not attempts:
        return attempts
    return [*attempts[:-1], attempts[-1].model_copy(update={"resumed_from_step": step})]
