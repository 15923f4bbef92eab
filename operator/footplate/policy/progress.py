"""What the trainers say of themselves: progress, checkpoint, artifact, notes and stragglers, from what rank 0's pod
serves and from the last words of all.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from footplate.api.status import MAX_NOTES_KEPT, Attempt, CheckpointStatus, ProgressStatus, Straggler, TrainingJobStatus
from footplate.contract import Label, Progress, Verdict
from footplate.policy.pods import Gang
from footplate.text import clean


def believed(polled: Progress | None, status: TrainingJobStatus, *, uid: str) -> Progress | None:
    """What was polled, if it is of the current attempt: what another job, run or attempt says is not believed."""
    if polled is None or (polled.uid, polled.run, polled.attempt) != (uid, status.run, status.attempt):
        return None
    return polled


def update(status: TrainingJobStatus, *, polled: Progress | None, gang: Gang) -> TrainingJobStatus:
    """The status with the newest that is known; `polled` is `believed`."""
    changes: dict[str, Any] = {}
    checkpoint, notes = status.checkpoint, []
    running = bool(status.attempts) and status.attempts[-1].end_time is None
    if running and polled is not None and checkpoint is not None and not _is_new(status, checkpoint.time):
        # What an attempt has found to resume from counts, though others saw newer ones: those are damaged.
        checkpoint = polled.checkpoint or checkpoint
    for pod in (*gang.older, *gang.ended):
        if pod.verdict is not None and pod.label(Label.RUN) == status.run:
            checkpoint = _newer(checkpoint, pod.verdict.checkpoint)
            notes += pod.verdict.notes
    if polled is not None:
        checkpoint = _newer(checkpoint, polled.checkpoint)
        notes += polled.notes
        if running:  # else rank 0's last words are newer
            if _tells(polled.progress):
                changes["progress"] = polled.progress
            changes["stragglers"] = _stragglers(status, polled, gang)
    last_words = _of_rank_0(gang)
    if last_words is not None:
        if last_words.progress is not None and _tells(last_words.progress):
            changes["progress"] = last_words.progress
        changes["artifact"] = last_words.artifact or status.artifact
    resumed = [said.resumed_from_step for said in (last_words, polled) if said is not None]
    changes["attempts"] = _attempts(status.attempts, resumed, _steps(gang))
    return status.model_copy(update={**changes, "checkpoint": checkpoint, "notes": _notes(status.notes, notes)})


def last_step(status: TrainingJobStatus, gang: Gang) -> int | None:
    """The last step that any rank of the attempt is known to have finished."""
    steps = _steps(gang)
    progress, checkpoint = status.progress, status.checkpoint
    if not steps and progress is not None and progress.step is not None and _is_new(status, progress.update_time):
        steps.append(progress.step)
    if steps and checkpoint is not None and checkpoint.step is not None and _is_new(status, checkpoint.time):
        steps.append(checkpoint.step)  # what was polled is older
    return max(steps, default=None)


def _tells(progress: ProgressStatus) -> bool:
    """False until an attempt says how far it is: what is known stays in the status meanwhile."""
    return progress.step is not None or progress.epoch is not None or bool(progress.metrics)


def _is_new(status: TrainingJobStatus, time: datetime | None) -> bool:
    """False for what an earlier attempt said: it stays in the status until the current one says more."""
    began = status.attempts[-1].start_time if status.attempts else None
    return time is None or began is None or time >= began


def _of_rank_0(gang: Gang) -> Verdict | None:
    pod = gang.current.get(0)
    return pod.verdict if pod is not None else None


def _newer(one: CheckpointStatus | None, other: CheckpointStatus | None) -> CheckpointStatus | None:
    if one is None or other is None:
        return one or other
    if one.step is None or other.step is None:  # a snapshot of the folder is of no step that anybody knows
        return other if one.time is None or (other.time is not None and other.time > one.time) else one
    return other if other.step > one.step else one


def _steps(gang: Gang) -> list[int]:
    """Steps that the attempt's last words speak of."""
    return [pod.verdict.step for pod in gang.ended if pod.verdict is not None and pod.verdict.step is not None]


def _attempts(attempts: list[Attempt], resumed: Iterable[int | None], reached: Iterable[int]) -> list[Attempt]:
    """With where the last one resumed from, and how far it came if it said so after its end: while it was stopping."""
    if not attempts:
        return attempts
    last = attempts[-1]
    changes: dict[str, Any] = {
        "resumed_from_step": next((step for step in resumed if step is not None), last.resumed_from_step)
    }
    if last.end_time is not None:
        known = [last.last_step] if last.last_step is not None else []
        changes["last_step"] = max([*known, *reached], default=None)
    return [*attempts[:-1], last.model_copy(update=changes)]


def _notes(known: list[str], said: Iterable[str]) -> list[str]:
    """The newest notes, each once. What was said before keeps its place: saying it again changes nothing."""
    newest = [*dict.fromkeys(clean(note) for note in said if note)][-MAX_NOTES_KEPT:]
    if all(note in known for note in newest):
        return known
    return [*(note for note in known if note not in newest), *newest][-MAX_NOTES_KEPT:]


def _stragglers(status: TrainingJobStatus, polled: Progress, gang: Gang) -> list[Straggler]:
    """The ranks that hold the others up, with the node that each runs on as the operator sees it. Where they are the
    same as before, a factor alone is no news.
    """
    found = [
        said.model_copy(update={"node": gang.current[said.node_rank].node, "factor": round(said.factor, 1)})
        for said in polled.stragglers
        if said.node_rank in gang.current
    ]
    same = places(found) == places(status.stragglers)
    return status.stragglers if same and polled.progress == status.progress else found


def places(stragglers: Iterable[Straggler]) -> set[tuple[int, str | None]]:
    """Which ranks on which nodes."""
    return {(straggler.rank, straggler.node) for straggler in stragglers}
