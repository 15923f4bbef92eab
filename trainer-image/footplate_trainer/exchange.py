"""The files by which rank processes and their supervisor meet in `FOOTPLATE_RUN_DIR` (tmpfs, one folder a pod).

`rank-<n>.beat`    each rank's heartbeat: one fixed-size record, overwritten in place by one pwrite, and after it, once
                   the rank is done, that it is
`rank-<n>.stack`   where rank n writes its Python stacks on SIGUSR1; a process that isn't ours has none
`report.json`      what rank 0 knows of the run, replaced as a whole
`error-<n>.json`   why rank n failed, written once

A reader never waits for a writer and never trusts what it reads: files are bounded, and one that isn't what it
should be counts as absent. Times that are compared are CLOCK_MONOTONIC, which all processes of a pod share and which no
change of the clock moves; those of the clock are only shown.
"""

import os
import struct
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar, get_args

from pydantic import Field, ValidationError

from footplate.api.reports import MAX_METRICS, CheckpointStatus, Ended, Metrics, ProgressStatus, Straggler
from footplate.api.scalars import Count
from footplate.api.types import Model
from footplate.causes import way_out
from footplate.contract import Activity, ExitCode, Failure
from footplate_trainer.errors import TrainerError, chain_of, sendable, words_of

ACTIVITIES: tuple[Activity, ...] = get_args(Activity)
METRICS_FILE = "FOOTPLATE_METRICS_FILE"
"""Variable that names the file of JSON lines. The supervisor sets it: without one nobody reads what is reported."""
MAX_FILE_BYTES = 131_072
STAGING = ".footplate"
"""Folder in `FOOTPLATE_CHECKPOINT_DIR` of what is ours there and on its way; the rest of it is the user's."""
GENEROUS_SECONDS = 3600.0
"""How long a rank may do something that finishes no steps, at least, before it counts as a hang."""

_RECORD = struct.Struct("<qdBid")
_DONE = b"done"
"""What follows the record of a rank that is done."""
_CODES: Mapping[str, int] = {activity: code for code, activity in enumerate(ACTIVITIES)}
M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Beat:
    """A rank's last sign of life: optimizer steps finished, what it does, when (`time.monotonic()`) it said so, the id
    of its process, and the seconds of its own work on a step (0: not known).
    """

    step: int
    activity: Activity
    time: float
    pid: int
    work_seconds: float = 0.0


class Heartbeat:
    """A rank's side of its heartbeat file. `beat` costs about a microsecond and never blocks."""

    def __init__(self, run_dir: Path, rank: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(run_dir / f"rank-{rank}.beat", flags, 0o644)
        self._pid = os.getpid()
        self.beat(0, "starting")

    def beat(self, step: int, activity: Activity, work_seconds: float = 0.0) -> None:
        """Says that this rank lives: `step` optimizer steps are finished, and `activity` is what it does now."""
        os.pwrite(self._fd, _RECORD.pack(step, time.monotonic(), _CODES[activity], self._pid, work_seconds), 0)

    def finish(self) -> None:
        """Says that this rank is done: its program has come to its end, and so have its peers'. Needs no space on the
        disk, and no file that isn't open yet.
        """
        os.pwrite(self._fd, _DONE, _RECORD.size)


def read_heartbeats(run_dir: Path) -> dict[int, Beat]:
    """The last beat of every rank of this pod that has one, by rank."""
    beats = {rank: _read_beat(path) for path in run_dir.glob("rank-*.beat") if (rank := _rank_of(path)) is not None}
    return {rank: beat for rank, beat in sorted(beats.items()) if beat is not None}


def _read_beat(path: Path) -> Beat | None:
    record = _read_bounded(path, _RECORD.size)
    if record is None or len(record) != _RECORD.size:
        return None
    step, seconds, code, pid, work_seconds = _RECORD.unpack(record)
    return Beat(step, ACTIVITIES[code], seconds, pid, work_seconds) if code < len(ACTIVITIES) else None


def has_finished(run_dir: Path, rank: int) -> bool:
    """True if a rank has said that it was done, as opposed to one that only ended with 0."""
    record = _read_bounded(run_dir / f"rank-{rank}.beat", _RECORD.size + len(_DONE))
    return record is not None and record[_RECORD.size :] == _DONE


def open_stacks(run_dir: Path, rank: int) -> BinaryIO:
    """A rank's own file for its stacks, for `faulthandler.register`. It is appended to, so a reader may empty it."""
    return _stacks_path(run_dir, rank).open("ab", buffering=0)


def clear_stacks(run_dir: Path, rank: int) -> bool:
    """Empties a rank's stacks; False where the process isn't one that writes them on SIGUSR1, and would die of it."""
    try:
        os.truncate(_stacks_path(run_dir, rank), 0)
    except OSError:
        return False
    return True


def read_stacks(run_dir: Path, rank: int) -> str:
    """The stacks that a rank has written since they were cleared; empty where it wrote none."""
    return (_read_bounded(_stacks_path(run_dir, rank), MAX_FILE_BYTES) or b"").decode(errors="replace")


def _stacks_path(run_dir: Path, rank: int) -> Path:
    return run_dir / f"rank-{rank}.stack"


class DurationCounts(Model):
    """A `Durations`: how many were how long, by its bounds, and all seconds together."""

    counts: Annotated[list[Count], Field(max_length=32)]
    seconds: Annotated[float, Field(ge=0)]


class ModelReport(Model):
    """Which state of the training the model is, where it isn't the last one."""

    step: Count
    epoch: Count
    """Epochs finished."""
    metrics: Metrics
    without: Annotated[list[str], Field(max_length=MAX_METRICS)] = Field(default=[])
    """Metrics of other epochs that this one has no number for."""
    told_at: float = 0.0
    """When that was said, by `time.monotonic()`: what is reported later is newer."""


class RankReport(Model):
    """What rank 0 says of the whole gang: how far it is, and what the model's manifest will want to know."""

    progress: ProgressStatus = ProgressStatus()
    checkpoint: CheckpointStatus | None = None
    """The newest complete checkpoint."""
    checkpointed_at: float | None = None
    """When it was committed, by `time.monotonic()`."""
    step_seconds: float | None = None
    """A step's recent duration, waiting for data and for other ranks included."""
    stepped_at: float | None = None
    """When the newest step was finished, by `time.monotonic()`."""
    reported: Annotated[dict[str, float], Field(max_length=MAX_METRICS)] = Field(default={})
    """When each metric was last seen to have been reported, by `time.monotonic()`."""
    reported_at_step: Annotated[dict[str, Count], Field(max_length=MAX_METRICS)] = Field(default={})
    """At which step that was, where it is known."""
    steps_took: DurationCounts | None = None
    """Of the steps that count as productive, by `STEP_BOUNDS`."""
    saves_took: DurationCounts | None = None
    """Of this process's saves, by `SAVE_BOUNDS`."""
    data_wait_ratio: float | None = None
    tokens_per_second: float | None = None
    mfu_ratio: float | None = None
    """What the ranks compute of what their devices could."""
    resumed_from_step: int | None = None
    resumed_from: str | None = None
    """URI of the checkpoint that this attempt started from."""
    productive_node_seconds: float | None = None
    """See `speed.ProductiveTime`."""
    stragglers: Annotated[tuple[Straggler, ...], Field(strict=False)] = ()
    ended: Ended | None = None
    """Why `Trainer.fit` has come to its end."""
    model: ModelReport | None = None
    seed: int | None = None
    device: str | None = None
    """What the ranks compute on, such as `NVIDIA H100 80GB HBM3` or `cpu`."""
    notes: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """What the user should know, such as a checkpoint that was found damaged. The last 16 are shown."""

    @property
    def final_metrics(self) -> dict[str, float]:
        """The latest values, but those of the model where it isn't the last state, and none of another epoch's."""
        latest, model = self.progress.metrics, self.model
        if model is None:
            return dict(latest)
        newer = {name: value for name, value in latest.items() if self.reported.get(name, 0.0) > model.told_at}
        others = {name: value for name, value in latest.items() if name not in model.without}
        return {**others, **model.metrics, **newer}


def write_report(run_dir: Path, report: RankReport) -> None:
    """Replaces rank 0's report; a reader sees the old one or the new one."""
    _replace(run_dir / "report.json", report)


def read_report(run_dir: Path) -> RankReport | None:
    """Rank 0's last report; None where there is none."""
    return _read_model(run_dir / "report.json", RankReport)


class RankError(Model):
    """Why a rank failed, the code that says who pays, and when it was, by `time.monotonic()`."""

    failure: Failure
    exit_code: Annotated[int, Field(ge=1, le=255)]
    failed_at: float = 0.0


def describe_error(error: BaseException, *, rank: int | None) -> Failure:
    """An exception as the verdict shows it, cut to the verdict's bounds.

    One of ours says all in its message: its type and what it was raised from are no news, nor is a traceback without
    frames.
    """
    ours = isinstance(error, TrainerError)
    text = sendable("".join(traceback.format_exception(error, chain=not ours)))
    return Failure(
        rank=rank,
        type="" if ours else sendable(type(error).__qualname__)[:256],
        message=(words_of(error) if ours else f"{words_of(error)}{_way_out(error)}{_notes_of(error)}")[:1024],
        traceback=None if ours and error.__traceback__ is None else text[-3072:],
        time=time.time(),
    )


def _way_out(error: BaseException) -> str:
    """What to change, if that is known: libraries wrap what the kernel or a device says in errors of their own."""
    said = (way_out(f"{type(link).__name__}: {words_of(link)}") for link in chain_of(error))
    return next((f"; {advice}" for advice in said if advice), "")


def _notes_of(error: BaseException) -> str:
    """What was added to another's error, such as the shapes of the batch that it came of."""
    return "".join(f"; {sendable(str(note))}" for note in getattr(error, "__notes__", ()))


def exit_code_of(error: BaseException) -> int:
    """The exit code that an exception stands for; anything but a `TrainerError` is the user's. Never 0, though user
    code may derive one of ours that says so.
    """
    code = error.exit_code if isinstance(error, TrainerError) else ExitCode.USER_ERROR
    return code if isinstance(code, ExitCode) and code is not ExitCode.OK else ExitCode.USER_ERROR


def write_error(run_dir: Path, *, rank: int, error: BaseException, exit_code: int | None = None) -> int:
    """Leaves word of why this rank fails, and returns the code to exit with."""
    code = exit_code_of(error) if exit_code is None else exit_code
    try:
        failure = describe_error(error, rank=rank)
    except Exception as problem:  # user code has a say in how its exceptions look
        text = f"it failed, and what of can't be told: {type(problem).__name__}"
        failure = Failure(rank=rank, message=text, time=time.time())
    said = RankError(failure=failure, exit_code=code, failed_at=time.monotonic())
    _replace(run_dir / f"error-{rank}.json", said)
    return int(code)


def read_error(run_dir: Path, rank: int) -> RankError | None:
    """Why a rank failed; None where it left no word."""
    return _read_model(run_dir / f"error-{rank}.json", RankError)


def clear(run_dir: Path) -> None:
    """Removes what an earlier gang left, so that nothing of it is taken for news."""
    for pattern in ("rank-*.beat", "rank-*.stack", "error-*.json", "report.json", "*.answered", "preflight-*.json"):
        for path in run_dir.glob(pattern):
            path.unlink(missing_ok=True)


def _rank_of(path: Path) -> int | None:
    text = path.stem.removeprefix("rank-")
    return int(text) if text.isdecimal() else None


def _replace(path: Path, model: Model) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(model.model_dump_json(by_alias=True).encode())  # UTF-8, whatever the locale is
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)  # the next one may need its place
        raise


def _read_model(path: Path, model: type[M]) -> M | None:
    text = _read_bounded(path, MAX_FILE_BYTES)
    if text is None:
        return None
    try:
        return model.model_validate_json(text)
    except ValidationError:
        return None


def _read_bounded(path: Path, limit: int) -> bytes | None:
    try:
        # A pipe that user code has put there would else be waited for, and with it the pod.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            return file.read(limit)
    except OSError:
        return None
