"""The pod's last word: a `contract.Verdict` in the termination message, whatever happened.

Kubernetes cuts a termination message at 4,096 bytes, and cut JSON is none: what is long is shortened here, least
important first, until it fits.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from footplate.api.reports import ArtifactStatus, CurveStatus, DataStatus, EvaluationStatus, TrackedRun
from footplate.contract import MAX_NOTE_LENGTH, MAX_NOTES, MAX_VERDICT_BYTES, ExitCode, Failure, Verdict
from footplate.curves import thin
from footplate_trainer.errors import sendable
from footplate_trainer.exchange import RankReport

Outcome = Literal["succeeded", "failed", "stopped", "peer_lost", "hang"]

_OUTCOMES: dict[int, Outcome] = {
    ExitCode.OK: "succeeded",
    ExitCode.STOPPED: "stopped",
    ExitCode.PEER_LOST: "peer_lost",
    ExitCode.HANG: "hang",
}


def judge(
    exit_code: int,
    *,
    report: RankReport | None = None,
    error: Failure | None = None,
    artifact: ArtifactStatus | None = None,
    evaluation: EvaluationStatus | None = None,
    data: DataStatus | None = None,
    already_complete: bool = False,
    tracking: Sequence[TrackedRun] = (),
) -> Verdict:
    """What there is to say about a pod that ends with `exit_code`; `already_complete` where it has found the artifact,
    and trained nothing.
    """
    report = report or RankReport()
    outcome = _OUTCOMES.get(exit_code, "failed")
    if already_complete:  # no rank has ever run
        return Verdict(
            outcome=outcome,
            exit_code=exit_code,
            artifact=artifact,
            evaluation=evaluation,
            already_complete=True,
            tracking=[*tracking],
        )
    try:
        said = _with_report(outcome, exit_code, report=report, error=error, artifact=artifact)
        return said.model_copy(update={"evaluation": evaluation, "data": data, "tracking": [*tracking]})
    except ValidationError as problem:  # it lies in a folder that user code may write to
        return Verdict(
            outcome=outcome,
            exit_code=exit_code,
            error=error,
            artifact=artifact,
            evaluation=evaluation,
            data=data,
            notes=[describe_lie(problem)],
        )


def describe_lie(problem: ValidationError) -> str:
    """A note in the place of what rank 0 has reported."""
    return f"what rank 0 has reported can't be told: {problem.errors()[0]['msg']}"[:MAX_NOTE_LENGTH]


def _with_report(
    outcome: Outcome, exit_code: int, *, report: RankReport, error: Failure | None, artifact: ArtifactStatus | None
) -> Verdict:
    return Verdict(
        outcome=outcome,
        exit_code=exit_code,
        step=report.progress.step,
        progress=report.progress,
        checkpoint=report.checkpoint,
        artifact=artifact,
        metrics=report.progress.metrics,
        error=error,
        resumed_from_step=report.resumed_from_step,
        productive_node_seconds=report.productive_node_seconds,
        notes=[sendable(note)[:MAX_NOTE_LENGTH] for note in report.notes[-MAX_NOTES:]],
    )


def write_verdict(path: Path, verdict: Verdict) -> None:
    """Writes the termination message. The file is a mount of its own, so it is written in place, in one go.

    Raises:
        OSError: it isn't there as a whole.
        ValueError: it can't be encoded, or can't hold the model that it tells of.
    """
    path.write_bytes(encode(verdict))


def encode(verdict: Verdict) -> bytes:
    """A verdict in at most `MAX_VERDICT_BYTES` of JSON.

    Raises:
        ValueError: it can't be encoded, or not without leaving out the model.
    """
    for smaller in _shrinking(verdict):
        text = _text_of(smaller)
        if len(text) <= MAX_VERDICT_BYTES:
            return text
    raise ValueError(f"a verdict of success with the model's address takes more than {MAX_VERDICT_BYTES} bytes")


def _text_of(verdict: Verdict) -> bytes:
    return verdict.model_dump_json(by_alias=True, exclude_none=True).encode()


def _shrinking(verdict: Verdict) -> Iterator[Verdict]:
    yield verdict
    if verdict.progress is not None and verdict.progress.history is not None:
        bare = _with_history(verdict, None)
        room = MAX_VERDICT_BYTES - len(_text_of(bare)) - len(',"history":')
        yield _with_history(verdict, thin(verdict.progress.history, most_bytes=max(0, room)))
        yield (verdict := bare)
    for notes, length in ((8, 512), (4, 256), (2, 128), (0, 0)):
        last = [note[:length] for note in verdict.notes[-notes:]] if notes else []
        yield (verdict := verdict.model_copy(update={"notes": last}))
    for length in (2048, 1024, 512):
        yield (verdict := _shorten_error(verdict, message=1024, traceback=length))
    yield (verdict := _with_missed_gates(verdict))
    if verdict.data is not None:
        short = verdict.data.model_copy(update={"classes": [], "broken": verdict.data.broken[:1]})
        yield (verdict := verdict.model_copy(update={"data": short}))
    yield (verdict := verdict.model_copy(update={"progress": None}))
    if verdict.artifact is not None:
        artifact = verdict.artifact.model_copy(update={"metrics": {}})
        yield (verdict := verdict.model_copy(update={"artifact": artifact}))
    yield (verdict := verdict.model_copy(update={"metrics": {}}))
    yield (verdict := _shorten_error(verdict, message=256, traceback=0))
    yield (verdict := verdict.model_copy(update={"tracking": []}))
    yield (verdict := verdict.model_copy(update={"data": None}))
    yield (verdict := verdict.model_copy(update={"evaluation": None}))
    yield verdict.model_copy(update={"checkpoint": None})
    yield Verdict(
        outcome=verdict.outcome,
        exit_code=verdict.exit_code,
        step=verdict.step,
        artifact=verdict.artifact,
        already_complete=verdict.already_complete,
    )
    if verdict.artifact is None:
        yield Verdict(outcome=verdict.outcome, exit_code=verdict.exit_code)


def _with_missed_gates(verdict: Verdict) -> Verdict:
    """Of the gates those that say why the model isn't accepted; the manifest has all."""
    if verdict.evaluation is None:
        return verdict
    missed = [gate.model_copy(update={"why": None}) for gate in verdict.evaluation.gates if not gate.passed]
    return verdict.model_copy(update={"evaluation": verdict.evaluation.model_copy(update={"gates": missed})})


def _with_history(verdict: Verdict, history: CurveStatus | None) -> Verdict:
    progress = verdict.progress.model_copy(update={"history": history}) if verdict.progress is not None else None
    return verdict.model_copy(update={"progress": progress})


def _shorten_error(verdict: Verdict, *, message: int, traceback: int) -> Verdict:
    """Keeps the start of the message and the end of the traceback: they say most."""
    error = verdict.error
    if error is None:
        return verdict
    rest = error.traceback[-traceback:] if error.traceback and traceback else None
    shorter = error.model_copy(update={"message": error.message[:message], "traceback": rest})
    return verdict.model_copy(update={"error": shorter})
