"""Curves as charts and small pictures of them. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from footplate.text import clean

MAX_SPARK_POINTS = 30
MAX_POINTS = 2_000
"""Of one line: more than a screen has columns."""
MAX_METRICS = 64
Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Line:
    """The curves of one run. `name`: what the legend calls it."""

    name: str
    steps: Sequence[int]
    metrics: Mapping[str, Values]


def charts(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """One chart a metric, with a line for each run that knows it, as JSON for the script: metrics in the order in
    which they were first reported.
    """
    return [
        {
            "metric": clean(name),
            "lines": [{"name": line.name, **_points(line, name)} for line in lines if name in line.metrics],
        }
        for name in _names(lines)
    ]


@dataclass(frozen=True, slots=True)
class Extent:
    """What a table says of a curve."""

    first: float | None
    lowest: float | None
    highest: float | None
    last: float | None


def extent(values: Values) -> Extent:
    """Its first, lowest, highest and last value; None each where nothing is known."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return Extent(None, None, None, None)
    return Extent(known[0], min(known), max(known), known[-1])


def sparkline(values: Values, *, width: float = 100.0, height: float = 24.0) -> str:
    """The path of an SVG: first value at the left, last at the right, lowest at the bottom; empty below two values."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return ""
    known = _thin(known, MAX_SPARK_POINTS)
    low, high = min(known), max(known)
    room = (high - low) or 1.0
    xs = (index * width / (len(known) - 1) for index in range(len(known)))
    ys = (height - 1 - (value - low) / room * (height - 2) for value in known)
    return "M" + "L".join(f"{x:.4g},{y:.3g}" for x, y in zip(xs, ys, strict=True))


def _points(line: Line, metric: str) -> dict[str, Any]:
    known = [
        (step, value)
        for step, value in zip(line.steps, line.metrics[metric], strict=False)
        if value is not None and math.isfinite(value)
    ]
    known = _thin(_rising(known), MAX_POINTS)
    return {"steps": [step for step, _ in known], "values": [value for _, value in known]}


def _rising(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The points in the order of their steps, the last word on each: charts need that, and a curve from storage holds
    every attempt's.
    """
    if all(before < after for (before, _), (after, _) in pairwise(points)):
        return list(points)
    return sorted(dict(points).items())


def _thin(points: Sequence[Any], most: int) -> list[Any]:
    """Evenly many of them, always with the first and the last."""
    if len(points) <= most:
        return list(points)
    return [points[round(index * (len(points) - 1) / (most - 1))] for index in range(most)]


def metrics_table(lines: Sequence[Line]) -> list[tuple[str, str, Extent]]:
    """Metric, run, and what is known of the curve: what the charts say, for who can't see them."""
    return [
        (metric, line.name, extent(line.metrics[metric]))
        for metric in _names(lines)
        for line in lines
        if metric in line.metrics
    ]


def _names(lines: Sequence[Line]) -> list[str]:
    """The metrics in the order in which they were first reported."""
    return list(dict.fromkeys(metric for line in lines for metric in line.metrics))[:MAX_METRICS]
