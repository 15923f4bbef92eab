"""How far training is by what its code says without our library: a file of JSON lines, Kubeflow's endpoint, the log.

Whoever says something is a tenant's program, which may say anything: names and counts are bounded, and what is no
finite number is left out. What `report` says is better known, and goes first.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from threading import Lock
from typing import Any

from footplate.api.reports import MAX_METRIC_NAME, MAX_METRICS, ProgressStatus
from footplate.api.scalars import MAX_COUNT
from footplate_trainer.errors import sendable
from footplate_trainer.exchange import RankReport
from footplate_trainer.rank.progress import RankProgress

_NAMES = {"total_steps": "totalSteps", "eta_seconds": "etaSeconds"}
"""Other spellings of what has a place of its own in `status.progress`."""
_COUNTS = ("step", "totalSteps", "epoch", "epochs", "etaSeconds")


class Heard:
    """What was heard last, of everything. Any thread may `hear`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._progress = RankProgress()
        self._metrics: dict[str, float] = {}
        self._told: dict[str, Any] = {}
        """Fields that the code itself has worked out: percent and eta_seconds."""
        self._reported: dict[str, float] = {}
        """When each metric was last heard of."""
        self._steps: dict[str, int] = {}
        """And at which step, where steps are spoken of."""
        self._counted_at: float | None = None
        self._stepped_at: float | None = None
        self._status: ProgressStatus | None = None

    def hear(self, *said: Mapping[str, Any]) -> None:
        """Takes in numbers by name, said one after the other: `step`, `totalSteps`, `epoch`, `epochs`, `percent` and
        `etaSeconds` are those of `status.progress`, and all others metrics.
        """
        with self._lock:
            now = self._clock()
            heard = [self._take(values, now) for values in said]
            if any(heard):
                self._status = self._shown()

    def _take(self, values: Mapping[str, Any], now: float) -> bool:
        """False where nothing was said."""
        spelt = {_NAMES.get(name, name): finite(value) for name, value in values.items()}
        numbers = {name: number for name, number in spelt.items() if number is not None}
        counts = {name: int(numbers.pop(name)) for name in _COUNTS if 0 <= numbers.get(name, -1) <= MAX_COUNT}
        percent = numbers.pop("percent", None)
        metrics = {sendable(name)[:MAX_METRIC_NAME]: value for name, value in numbers.items() if name not in _COUNTS}
        self._count(counts, now)
        if percent is not None:
            self._told["percent"] = round(min(100.0, max(0.0, percent)), 2)
        for name, number in spelt.items():
            if number is None:  # its newest value is none, and an older one would be taken for it
                self._metrics.pop(name, None)
        for name, value in metrics.items():
            if name in self._metrics or len(self._metrics) < MAX_METRICS:
                self._metrics[name] = value
                self._reported[name] = now
                if self._counted_at is not None:
                    self._steps[name] = self._progress.step
        return bool(counts or metrics or percent is not None)

    def _count(self, counts: Mapping[str, int], now: float) -> None:
        self._progress.expect(total_steps=counts.get("totalSteps"), epochs=counts.get("epochs"))
        self._progress.epoch = counts.get("epoch", self._progress.epoch)
        if "step" in counts:
            if counts["step"] != self._progress.step:
                self._stepped_at = now
            self._progress.step, self._counted_at = counts["step"], now
        if "etaSeconds" in counts:
            self._told["eta_seconds"] = counts["etaSeconds"]

    def _shown(self) -> ProgressStatus:
        status = self._progress.status(self._counted_at, metrics=self._metrics, stepped_at=self._stepped_at)
        return status.model_copy(update={"update_time": datetime.now(UTC), **self._told})

    def complete(self, report: RankReport) -> RankReport:
        """What rank 0 has reported, with what was heard where it says nothing."""
        heard, own = self._status, report.progress
        if heard is None:
            return report
        known = {name: value for name, value in heard if value is not None}
        reported = {name: value for name, value in own if value is not None}
        metrics = dict(islice({**own.metrics, **heard.metrics, **own.metrics}.items(), MAX_METRICS))
        times = [time for time in (heard.update_time, own.update_time) if time is not None]
        fields = {**known, **reported, "metrics": metrics, "update_time": max(times)}
        fields.pop("loss", None)  # which follows from the metrics
        changes: dict[str, Any] = {
            "progress": ProgressStatus(**fields),
            "reported": {**self._reported, **report.reported},
            "reported_at_step": {**self._steps, **report.reported_at_step},
            "step_seconds": report.step_seconds or self._progress.step_seconds,
            "stepped_at": report.stepped_at or self._stepped_at,
        }
        return report.model_copy(update=changes)


def by_step(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What lines say, the newest of each name alone: together what was said at one step, for `Heard.hear`."""
    steps: list[Any] = [None]
    newest: dict[str, tuple[int, Any]] = {}
    for values in lines:
        if "step" in values and values["step"] != steps[-1]:
            steps.append(values["step"])
        newest |= {name: (len(steps) - 1, value) for name, value in values.items()}
    said: dict[int, dict[str, Any]] = {}
    for name, (place, value) in newest.items():
        said.setdefault(place, {} if steps[place] is None else {"step": steps[place]})[name] = value
    return [said[place] for place in sorted(said)]


def finite(value: Any) -> float | None:
    """A finite number, as itself or in decimal digits; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
