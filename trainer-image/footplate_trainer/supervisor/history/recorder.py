"""What the ranks report over time: a curve for the job's status, and lines for who wants to know it all."""

import time
from collections.abc import Callable, Iterator, Mapping

from footplate.api.reports import CurveStatus
from footplate.curves import curve_of, merge
from footplate.records import Line, write_line
from footplate_trainer.exchange import RankReport
from footplate_trainer.supervisor.history.parts import Parts

LINE_SECONDS = 0.5
"""Between two lines, at first."""
DOUBLING_BYTES = 32 << 20
"""After so many bytes lines come half as often, and so on: weeks of many metrics fill no disk."""


class Recorder:
    """Looks at what is reported. `lines` takes the lines; None where nobody reads them."""

    def __init__(self, report: Callable[[], RankReport], lines: Parts | None) -> None:
        self._report = report
        self._lines = lines
        self.curve: CurveStatus | None = None
        """Of this attempt, so far; None where no metric was reported."""
        self._seen: dict[str, float] = {}
        self._reports = 0
        self._last: tuple[int, Mapping[str, float]] = (-1, {})
        self._unwritten: dict[str, tuple[int, float]] = {}
        """By name the step and the value."""
        self._written_at = float("-inf")

    def look(self, now: float, clock: Callable[[], float] = time.time, *, last: bool = False) -> None:
        """Takes in what was reported since the last look, at `now` by `time.monotonic()`. The `last` one writes it at
        once.
        """
        report = self._report()
        new = {
            name: value
            for name, value in report.progress.metrics.items()
            if report.reported.get(name, 0.0) > self._seen.get(name, 0.0)
        }
        self._seen = dict(report.reported)
        if new:
            self._reports += 1
            for step, values in self._by_step(report, new):
                self._extend(step, values)
        if self._unwritten and (last or now - self._written_at >= self._seconds):
            self._write(clock(), report.progress.epoch, now)

    def _by_step(self, report: RankReport, new: Mapping[str, float]) -> Iterator[tuple[int, Mapping[str, float]]]:
        """What is new at each step: an evaluation may have been some steps ago. Nothing goes before what is known,
        unless training has gone back.
        """
        newest = self._reports if report.progress.step is None else report.progress.step
        least = self._last[0] if self._last[0] <= newest else 0
        steps = {name: max(least, report.reported_at_step.get(name, newest)) for name in new}
        for step in sorted({step for step in steps.values() if step <= newest}):
            yield step, {name: value for name, value in new.items() if steps[name] == step}

    def _extend(self, step: int, new: Mapping[str, float]) -> None:
        """An evaluation after a step says more of the same step."""
        if step < self._last[0]:  # what was yet to be written is undone
            self._unwritten = {}
        self._last = (step, {**self._last[1], **new} if step == self._last[0] else new)
        self.curve = merge(self.curve or CurveStatus(), curve_of([self._last]))
        self._unwritten |= {name: (step, value) for name, value in new.items()}

    def _write(self, time: float, epoch: int | None, now: float) -> None:
        for step in sorted({step for step, _ in self._unwritten.values()}):
            metrics = {name: value for name, (at, value) in self._unwritten.items() if at == step}
            if self._lines is not None:
                self._lines.write(write_line(Line(time, step, epoch, metrics)))
        self._unwritten, self._written_at = {}, now

    @property
    def _seconds(self) -> float:
        written = self._lines.total_bytes if self._lines is not None else 0
        return float(LINE_SECONDS * 2 ** (written // DOUBLING_BYTES))
