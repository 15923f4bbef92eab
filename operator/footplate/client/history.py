"""The curves of a run: those in the job's status, or all that its pods have written beside it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from footplate import records
from footplate.api.reports import MAX_METRICS, CurveStatus
from footplate.client.errors import ClientError
from footplate.client.stored import Records
from footplate.records import Line

if TYPE_CHECKING:
    import pandas

MAX_NAMES = 2 * MAX_METRICS
"""Metrics of one history; more come from a name that has a number in it."""


MAX_LINES = 1_000_000
"""Of one history, that are held, an even number: of more two are one, or four, …: the newest, with what the others say
besides.
"""


@dataclass(frozen=True, slots=True)
class History:
    """Metrics over the steps of a run."""

    steps: list[int] = field(default_factory=list)
    """Optimizer steps finished, ascending; of code that counts none, its reports."""
    metrics: Mapping[str, list[float | None]] = field(default_factory=dict)
    """By name a value for each of `steps`; None where none was reported."""
    times: list[float] | None = None
    """Seconds since the epoch, for each of `steps`; None in what the status keeps."""

    def to_pandas(self) -> "pandas.DataFrame":
        """A row for each step, which is the index, and a column for each metric; first `time`, where times are known.

        Raises:
            ClientError: pandas isn't installed.
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise ClientError("pandas isn't installed; run: pip install pandas") from None
        frame = pandas.DataFrame(dict(self.metrics), index=pandas.Index(self.steps, name="step"), dtype="float64")
        if self.times is not None:
            frame.insert(0, "time", pandas.to_datetime(self.times, unit="s", utc=True), allow_duplicates=True)
        return frame


def of_status(curve: CurveStatus | None) -> History:
    """The thinned curve that the status keeps; empty where there is none."""
    if curve is None:
        return History()
    length = len(curve.steps)
    metrics = {name: [*values[:length], *[None] * (length - len(values))] for name, values in curve.metrics.items()}
    return History(list(curve.steps), metrics)


def of_records(stored: Records) -> History:
    """Every report that the run's pods have written down, without what a later attempt has undone.

    Raises:
        StorageUnreadable: it can't be read.
    """
    attempts = records.attempts_of(stored.names(records.METRICS))
    return of_lines(
        (attempt, line)
        for attempt in attempts
        for line in _lines(stored.text(records.METRICS, records.metrics(attempt)))
    )


def of_lines(lines: Iterable[tuple[int, Line]]) -> History:
    """The curves through what was written down, each line with its attempt."""
    all_lines = _thinned(lines)
    stand = records.standing([(attempt, line.step) for attempt, line in all_lines])
    kept = [line for (_, line), stands in zip(all_lines, stand, strict=True) if stands]
    steps: list[int] = []
    times: list[float] = []
    metrics: dict[str, list[float | None]] = {}
    for line in kept:
        if not steps or steps[-1] != line.step:
            steps.append(line.step)
            times.append(line.time)
        for name, value in line.metrics.items():
            if name not in metrics and len(metrics) == MAX_NAMES:
                continue
            values = metrics.setdefault(name, [])
            values += [None] * (len(steps) - len(values))
            values[-1] = value
    length = len(steps)
    padded = {name: [*values, *[None] * (length - len(values))] for name, values in metrics.items()}
    return History(steps, padded, times)


def _thinned(lines: Iterable[tuple[int, Line]]) -> list[tuple[int, Line]]:
    """As many as are held at once: what a bucket holds may be more than there is memory."""
    kept: list[tuple[int, Line]] = []
    together = 1
    for number, each in enumerate(lines):
        if number % together:
            kept[-1] = _joined(kept[-1], each)
            continue
        if len(kept) == MAX_LINES:
            kept, together = [_joined(*pair) for pair in zip(kept[::2], kept[1::2], strict=True)], 2 * together
        kept.append(each)
    return kept


def _joined(one: tuple[int, Line], other: tuple[int, Line]) -> tuple[int, Line]:
    """The newer, with what the older says besides; unless that may be undone."""
    if one[0] != other[0] or one[1].step > other[1].step:
        return other
    return other[0], replace(other[1], metrics={**one[1].metrics, **other[1].metrics})


def _lines(pieces: Iterable[bytes]) -> Iterator[Line]:
    rest = b""
    for piece in pieces:
        *ended, rest = (rest + piece).split(b"\n")
        for text in ended:
            if (line := records.read_line(text)) is not None:
                yield line
        rest = rest[: 2 * records.MAX_LINE_BYTES]  # longer ones aren't ours
    if (line := records.read_line(rest)) is not None:
        yield line
