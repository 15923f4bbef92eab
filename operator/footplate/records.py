"""What a run's pods leave in storage to be read when they are gone: where it lies, and how it is read. Pure.

    <uri>/<job>/records-<run>-<first 8 of the UID>/
      pods/attempt-00000000/node-00000.log.gz         what a pod wrote to its log
      metrics/attempt-00000000.jsonl.gz               what node 0 was told of the training, a line for each `Line`
      logs/…, unclaimed/…                             files of the code's own

The URI is that of `output`, else that of `checkpoint`.

Both texts grow while their pod lives, and an object can't be appended to. So every minute what is new is sent as parts,
`node-00000.log.part-000000.gz` and so on, each of whole lines and compressed by itself: the newest part is replaced
until it is large enough, and then never again. At its end the pod sends the whole, which is all of them one after the
other, and removes the parts. A pod that was killed leaves its parts. A reader lists the folder, and reads what
`to_read` says; where parts are missing, text was left out, as of a log only its beginning and its end are kept. A part
that is gone when it is read has been replaced by the whole, or left out: list again.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from footplate.api.reports import MAX_METRIC_NAME, MAX_METRICS
from footplate.api.scalars import MAX_COUNT
from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import UID_DIGITS

POD_LOGS = "pods"
METRICS = "metrics"
ARTIFACT_METRICS = ("metrics.parquet", "metrics.jsonl.gz")
"""The history of a whole run in its artifact, under one of these names: the latter where the image has no pyarrow."""
MAX_LINE_BYTES = 65_536
"""Of a line of metrics; longer ones aren't ours."""


def base_uri(spec: TrainingJobSpec) -> str | None:
    """Where the records of a job's runs go; None where it names no storage for its output or its checkpoints."""
    if spec.output is not None:
        return spec.output.uri
    return spec.checkpoint.uri if spec.checkpoint is not None else None


def records_uri(uri: str, *, job: str, run: int, uid: str) -> str:
    """The folder of one run's records. In a folder of its own, as those of checkpoints are listed as a whole."""
    return f"{uri.rstrip('/')}/{job}/records-{run}-{uid[:UID_DIGITS]}"


def attempt_name(attempt: int) -> str:
    """An attempt, as folders and files are named after it."""
    return f"attempt-{attempt:08d}"


def node_name(node_rank: int) -> str:
    """A pod of the gang, as folders and files are named after it."""
    return f"node-{node_rank:05d}"


def pod_logs_folder(attempt: int) -> str:
    """Of an attempt's pods, below the records."""
    return f"{POD_LOGS}/{attempt_name(attempt)}"


def pod_log(node_rank: int) -> str:
    """Name of a pod's log in that folder, for `whole`, `part` and `to_read`."""
    return f"{node_name(node_rank)}.log"


def metrics(attempt: int) -> str:
    """Name of an attempt's metrics in the folder `METRICS`, for `whole`, `part` and `to_read`."""
    return f"{attempt_name(attempt)}.jsonl"


def whole(name: str) -> str:
    """The object that holds all of a text."""
    return f"{name}.gz"


def part(name: str, number: int) -> str:
    """The object that holds one part of it."""
    return f"{name}.part-{number:06d}.gz"


@dataclass(frozen=True, slots=True)
class Part:
    """An object to be read, and whether text was left out before it."""

    name: str
    follows_gap: bool = False


def to_read(name: str, listed: Iterable[str]) -> list[Part]:
    """The objects of a folder that make up a text, in order; none where it isn't there."""
    listed = set(listed)
    if whole(name) in listed:
        return [Part(whole(name))]
    found = (re.fullmatch(rf"{re.escape(name)}\.part-(\d{{6,9}})\.gz", each) for each in listed)
    numbers = sorted({int(match[1]) for match in found if match})
    return [Part(part(name, number), number != 0 and number - 1 not in numbers) for number in numbers]


def attempts_of(listed: Iterable[str]) -> list[int]:
    """The attempts that names in `METRICS`, or folders in `POD_LOGS`, speak of, ascending."""
    found = (re.match(r"attempt-(\d{8})(?=[./]|\Z)", name) for name in listed)
    return sorted({int(match[1]) for match in found if match})


@dataclass(frozen=True, slots=True)
class Line:
    """What node 0 was told of one step: twice a second what is new, and more seldom where a run is long."""

    time: float
    """Seconds since the epoch."""
    step: int
    """Optimizer steps finished; of code that counts none, its reports."""
    epoch: int | None
    metrics: Mapping[str, float]
    """Those that were reported since the line before."""


def write_line(line: Line) -> bytes:
    """A line of metrics."""
    said = {"time": round(line.time, 3), "step": line.step, "epoch": line.epoch, "metrics": dict(line.metrics)}
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def read_line(text: bytes) -> Line | None:
    """A line of metrics; None of what isn't one, or is only a part, as the last line of a pod that was killed."""
    try:
        said = json.loads(text) if len(text) <= MAX_LINE_BYTES else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not isinstance(said.get("metrics"), dict):
        return None
    time, step, epoch = _number(said.get("time")), _count(said.get("step")), _count(said.get("epoch"))
    if time is None or step is None:
        return None
    values = {name[:MAX_METRIC_NAME]: _number(value) for name, value in list(said["metrics"].items())[:MAX_METRICS]}
    return Line(time, step, epoch, {name: value for name, value in values.items() if value is not None})


def standing(steps: Iterable[tuple[int, int]]) -> list[bool]:
    """Which of a run's lines still hold at its end, in the order they were written in.

    A training that goes back to an earlier step, in its next attempt or within one, has undone what came after it.

    Args:
        steps: of each line its attempt and its step.
    """
    lines = list(steps)
    holds = [True] * len(lines)
    standing: list[int] = []
    for number, (attempt, step) in enumerate(lines):
        while standing and _is_undone(lines[standing[-1]], attempt, step):
            holds[standing.pop()] = False
        standing.append(number)
    return holds


def _is_undone(line: tuple[int, int], attempt: int, step: int) -> bool:
    """Two lines at one step are an evaluation after it, but of another attempt it is the step done again."""
    return line[1] > step or (line[1] == step and line[0] != attempt)


def _number(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return None
    return number if number is not None and math.isfinite(number) else None


def _count(value: Any) -> int | None:
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    return number if number is not None and 0 <= number <= MAX_COUNT else None
