"""What the trainers say of themselves: progress, checkpoint, artifact, data, notes and stragglers, from what rank 0's
pod serves and from the last words of all.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from footplate.api.reports import CheckpointStatus, CurveStatus, ProgressStatus, Straggler
from footplate.api.status import MAX_NOTES_KEPT, Attempt, TrainingJobStatus
from footplate.api.types import Model
from footplate.contract import ExitCode, Label, Progress, Verdict
from footplate.curves import MAX_BYTES, curve_of, merge, points_of, size_of
from footplate.durations import short
from footplate.policy.pods import Gang
from footplate.text import clean

MAX_ETA_SECONDS = 10 * 365 * 86_400
"""What would take longer isn't known."""

_TRAINED = (ExitCode.OK, ExitCode.GATE_NOT_PASSED)
"""Exit codes of a pod that has no more to train, though it may have stopped before the last step."""

MAX_AHEAD = timedelta(seconds=30)
"""By so much a pod's clock may be ahead of ours for what it says of times to be told."""


def believed(polled: Progress | None, status: TrainingJobStatus, *, uid: str) -> Progress | None:
    """What was polled, if it is of the current attempt: what another job, run or attempt says is not believed."""
    if polled is None or (polled.uid, polled.run, polled.attempt) != (uid, status.run, status.attempt):
        return None
    return polled


def update(status: TrainingJobStatus, *, polled: Progress | None, gang: Gang, now: datetime) -> TrainingJobStatus:
    """The status with the newest that is known; `polled` is `believed`."""
    changes: dict[str, Any] = {}
    known = status.progress
    checkpoint, notes = status.checkpoint, []
    running = bool(status.attempts) and status.attempts[-1].end_time is None
    if running and polled is not None and checkpoint is not None and not _is_new(status, checkpoint.time):
        # What an attempt has found to resume from counts, though others saw newer ones: those are damaged.
        checkpoint = _in_lines(polled.checkpoint) or checkpoint
    for pod in (*gang.older, *gang.ended):
        if pod.verdict is not None and pod.label(Label.RUN) == status.run:
            checkpoint = _newer(checkpoint, _in_lines(pod.verdict.checkpoint))
            notes += pod.verdict.notes
    if polled is not None:
        checkpoint = _newer(checkpoint, _in_lines(polled.checkpoint))
        notes += polled.notes
        if running:  # else rank 0's last words are newer
            known = told(polled, status, now=now)
            changes["stragglers"] = _stragglers(status, polled, gang)
    last_words = _of_rank_0(gang)
    tracked = [said.tracking for said in (last_words, polled) if said is not None and said.tracking]
    if last_words is not None:
        if last_words.progress is not None and _tells(last_words.progress):
            seen = (running and polled is not None) or (known is not None and _is_new(status, known.update_time))
            known = at_rest(_shown(_rest_of(last_words.progress, known, status, seen=seen), known, now=now))
            if last_words.exit_code in _TRAINED and known.percent is not None:
                known = known.model_copy(update={"percent": 100.0})
        changes["artifact"] = _in_lines(last_words.artifact) or status.artifact
        changes["evaluation"] = _in_lines(last_words.evaluation) or status.evaluation
    resumed = [said.resumed_from_step for said in (last_words, polled) if said is not None]
    changes["attempts"] = _attempts(status.attempts, resumed, _steps(gang))
    if running and polled is not None and polled.preflight is not None:
        *before, last = changes["attempts"]
        changes["attempts"] = [*before, last.model_copy(update={"preflight": polled.preflight})]
    changes |= {"tracking": next(map(_in_lines, tracked), status.tracking)}
    data = [_in_lines(said.data) for said in (last_words, polled) if said is not None and said.data is not None]
    changes["data"] = next(iter(data), status.data)
    changes |= {"progress": known, "checkpoint": checkpoint, "notes": _notes(status.notes, notes)}
    return status.model_copy(update=changes)


def told(polled: Progress, status: TrainingJobStatus, *, now: datetime) -> ProgressStatus | None:
    """Progress with what was polled of it; what is known stays until an attempt says how far it is."""
    return _shown(polled.progress, status.progress, now=now) if _tells(polled.progress) else status.progress


def at_rest(progress: ProgressStatus) -> ProgressStatus:
    """The same of an attempt that doesn't train any more: nobody knows when it will be done."""
    return progress.model_copy(update={"eta_seconds": None, "eta": None})


def on_our_clock(said: Progress, *, theirs: datetime, now: datetime) -> Progress:
    """What a pod said when its clock showed `theirs`, with the times of its progress as our clock shows them. Less than
    half a minute is how long an answer may be under way, and none of a clock's.
    """
    minutes = round((now - theirs).total_seconds() / 60)
    if not minutes:
        return said
    times = {"update_time": said.progress.update_time, "last_step_time": said.progress.last_step_time}
    moved = {name: _moved(time, timedelta(minutes=minutes), now=now) for name, time in times.items()}
    return said.model_copy(update={"progress": said.progress.model_copy(update=moved)})


def _moved(time: datetime | None, by: timedelta, *, now: datetime) -> datetime | None:
    """A time as another clock shows it; None where that is none that a pod may speak of."""
    try:
        moved = None if time is None else time + by
    except OverflowError:
        return None
    return moved if moved is not None and moved.year > 1970 and moved <= now + MAX_AHEAD else None


def last_step(status: TrainingJobStatus, gang: Gang) -> int | None:
    """The last step that any rank of the attempt is known to have finished."""
    steps = _steps(gang)
    progress, checkpoint = status.progress, status.checkpoint
    if not steps and progress is not None and progress.step is not None and _is_new(status, progress.update_time):
        steps.append(progress.step)
    if steps and checkpoint is not None and checkpoint.step is not None and _is_new(status, checkpoint.time):
        steps.append(checkpoint.step)  # what was polled is older
    return max(steps, default=None)


def _in_lines(said: Any) -> Any:
    """The same, with each text of the tenant's in one line, as `kubectl describe` shows it, and no longer than it is.
    A map's keys are such texts, too.
    """
    if isinstance(said, str):
        return said if said.isprintable() else clean(said, most=len(said))
    if isinstance(said, list) and isinstance(next(iter(said), None), str | Model):
        return [_in_lines(each) for each in said]
    if isinstance(said, dict):
        return {_in_lines(key): _in_lines(value) for key, value in said.items()}
    if isinstance(said, Model):
        told = {name: _in_lines(getattr(said, name)) for name in type(said).model_fields}
        return said.model_copy(update=told)
    return said


def _tells(progress: ProgressStatus) -> bool:
    """False until an attempt says how far it is."""
    return progress.step is not None or progress.epoch is not None or bool(progress.metrics)


def _shown(said: ProgressStatus, known: ProgressStatus | None, *, now: datetime) -> ProgressStatus:
    """What a pod says, as the status shows it: within reason, and its curve behind that of the attempts before."""
    said = _in_lines(said)
    eta = said.eta_seconds if (said.eta_seconds or 0) <= MAX_ETA_SECONDS else None
    ahead = said.last_step_time is not None and said.last_step_time > now + MAX_AHEAD
    changes: dict[str, Any] = {
        "percent": None if said.percent is None else min(100.0, max(0.0, said.percent)),
        "eta_seconds": eta,
        "eta": None if eta is None else short(eta),
        "history": _continued(known.history if known is not None else None, said.history),
    }
    if ahead:
        changes["last_step_time"] = None
    return said.model_copy(update=changes)


def _continued(known: CurveStatus | None, said: CurveStatus | None) -> CurveStatus | None:
    """The curve with what is said of it now; the same where its newest point is known."""
    if said is None or not said.steps:
        return known
    if known is not None and _newest(known) == _newest(said):
        return known
    if known is not None and known.steps and known.steps[0] < said.steps[0]:
        return merge(known, said)
    return said if _is_sound(said) else merge(CurveStatus(), said)


def _is_sound(curve: CurveStatus) -> bool:
    """False for a curve that no honest pod would send."""
    ascends = all(one < other for one, other in pairwise(curve.steps))
    whole = all(len(values) == len(curve.steps) for values in curve.metrics.values())
    return ascends and whole and size_of(curve) <= MAX_BYTES


def _newest(curve: CurveStatus) -> tuple[list[int], dict[str, list[float | None]]]:
    return curve.steps[-1:], {name: values[-1:] for name, values in curve.metrics.items()}


def _rest_of(
    words: ProgressStatus, known: ProgressStatus | None, status: TrainingJobStatus, *, seen: bool
) -> ProgressStatus:
    """Last words have little room for a curve. Of an attempt whose curve was `seen` they add only what came after, to
    its newest point too, as an evaluation at the end does; and nothing to a run that is over, of which the store has no
    curve.
    """
    history, curve = words.history, known.history if known is not None else None
    if status.phase is not None and status.phase.finished:
        history = None
    elif history is not None and curve is not None and curve.steps and seen:
        history = curve_of(point for point in points_of(history) if point[0] >= curve.steps[-1])
    return words.model_copy(update={"history": history})


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
