"""The values that training code reports: kept as they are, and made numbers when somebody looks.

`take` and `offer` are called at each step. Whoever looks, in a thread of its own, never asks a GPU: see `readings`.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from footplate.api.reports import MAX_METRIC_NAME, MAX_METRICS
from footplate_trainer.errors import sendable
from footplate_trainer.rank.readings import Readings, is_on_gpu


class Values:
    """The newest value of each metric. Those that aren't finite numbers are left out, with a note."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._values: dict[str, Any] = {}
        self._readings = Readings()
        self._new: dict[str, int] = {}
        """Names that were reported since their values were last read, and at which step."""
        self._reported: dict[str, tuple[float, int]] = {}

    def take(self, step: int, loss: Any, metrics: Mapping[str, Any]) -> None:
        """Takes in what one step reports."""
        if loss is not None:
            self._values["loss"] = loss
            self._new["loss"] = step
        if metrics:
            self._values.update(metrics)
            self._new.update(dict.fromkeys(metrics, step))

    def offer(self) -> None:
        """A moment at which this thread may begin to copy values from a GPU."""
        self._readings.offer(self._values, self._new)

    def read(self) -> None:
        """Waits for the GPU, where a value is still being computed."""
        self._readings.read(self._values, self._new)

    def want(self) -> None:
        """The numbers were shown, and newer ones are wanted."""
        self._readings.want()

    def look(self) -> tuple[dict[str, float], dict[str, tuple[float, int]]]:
        """The numbers by name, and when each was last found to have been reported, by `time.monotonic()`, and at which
        step.
        """
        on_host = [name for name in list(self._new) if not is_on_gpu(self._values[name])]
        # Before the values are read: what is reported meanwhile is found again.
        new = {name: self._new.pop(name) for name in on_host} | self._readings.arrived()
        now, values = time.monotonic(), list(self._values.items())
        if len(values) > MAX_METRICS:
            self._note(f"only the first {MAX_METRICS} of {len(values)} metrics are shown; report fewer")
        numbers: dict[str, float] = {}
        for name, value in values[:MAX_METRICS]:
            if name in new:
                self._reported[name] = now, new[name]
            if is_on_gpu(value) and name not in self._readings.numbers:
                continue  # on its way
            self._show(name, self._readings.numbers[name] if is_on_gpu(value) else number_of(value), numbers)
        reported = {sendable(name)[:MAX_METRIC_NAME]: said for name, said in self._reported.items()}
        return numbers, {name: said for name, said in reported.items() if name in numbers}

    def _show(self, name: str, number: float | None, numbers: dict[str, float]) -> None:
        shown = sendable(name)[:MAX_METRIC_NAME]
        if number is None or not math.isfinite(number):
            self._note(f"metric {name!r} is left out: {number if number is not None else 'it'} is not a number")
        elif shown in numbers:
            self._note(
                f"of the metrics whose names begin with {shown!r} only the first is shown: names count up to "
                f"{MAX_METRIC_NAME} characters; use shorter ones"
            )
        else:
            numbers[shown] = number


def number_of(value: Any) -> float | None:
    """A number, or a tensor of one element, as a number; None of anything else."""
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except Exception:  # a user's object may raise anything
        return None
