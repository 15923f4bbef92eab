"""The curve in a job's status: a few metrics over a run's steps, bounded, evenly thinned. Pure, for both sides.

    {"steps": [0, 8, 16], "metrics": {"loss": [2.31, 1.9, null]}}

Thinning keeps no state: of each bucket of `stride` steps the first point stays, with what else was first reported in
that bucket, and the newest point always does; the stride is the smallest power of two for which all buckets from the
first step to the newest fit. What fits is left as it is. So a curve may be thinned by the trainer, by the operator and
again, and one that grows point by point is, but for its newest points, like one that is made of all points at once.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

from footplate.api.reports import MAX_CURVE_METRICS, MAX_CURVE_POINTS, CurveStatus

MAX_BYTES = 8_000
"""Of a curve as JSON."""
LEADING = "loss"
"""The metric that is there whenever it is reported, and comes first."""

Point = tuple[int, Mapping[str, float]]
"""A step, and what was reported at it."""


def curve_of(points: Iterable[Point]) -> CurveStatus:
    """The curve through points, each of which takes the place of those before it that are as far or farther. Metrics
    are `loss`, then those that came first; values have five significant digits.
    """
    return _fitted([(step, _shortened(values)) for step, values in points])


def merge(known: CurveStatus, said: CurveStatus) -> CurveStatus:
    """What is known of a run, continued by what is said of it now: of the former the points before the first of the
    latter, since who begins again at an earlier step undoes what came after it.
    """
    return _fitted([*points_of(known), *points_of(said)])


def thin(curve: CurveStatus, *, most_points: int = MAX_CURVE_POINTS, most_bytes: int = MAX_BYTES) -> CurveStatus:
    """The same in fewer points, where it has more than that, or more bytes of JSON. One point is always left."""
    return _fitted(points_of(curve), most_points=most_points, most_bytes=most_bytes)


def points_of(curve: CurveStatus) -> list[Point]:
    """A curve point by point. Of one whose lists differ in length, as only a liar's do, what there is for a step."""
    rows = zip_longest(*curve.metrics.values())
    values: list[dict[str, float]] = [
        {name: value for name, value in zip(curve.metrics, row, strict=True) if value is not None} for row in rows
    ]
    values += [{}] * (len(curve.steps) - len(values))
    return list(zip(curve.steps, values, strict=False))


def size_of(curve: CurveStatus) -> int:
    """Bytes of JSON."""
    shown = {"steps": curve.steps, "metrics": curve.metrics}
    return len(json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode())


def _fitted(
    points: Iterable[Point], *, most_points: int = MAX_CURVE_POINTS, most_bytes: int = MAX_BYTES
) -> CurveStatus:
    kept = _ascending(points)
    names = _chosen(kept)
    curve = _written(kept, names)
    stride = 1
    while len(kept) > 1 and (len(kept) > most_points or size_of(curve) > most_bytes):
        stride *= 2
        buckets = kept[-1][0] // stride - kept[0][0] // stride + 1
        if buckets < most_points or buckets == 1:
            if len(kept) > 2:
                kept = _thinned(kept, stride)
            else:
                kept = kept[1:]
                names = [name for name in names if name in kept[0][1]]
            curve = _written(kept, names)
    return curve


def _ascending(points: Iterable[Point]) -> list[Point]:
    kept: list[Point] = []
    for step, values in points:
        while kept and kept[-1][0] >= step:
            kept.pop()
        kept.append((step, values))
    return kept


def _shortened(values: Mapping[str, float]) -> dict[str, float]:
    """Finite numbers alone: rounding makes the largest of them infinite."""
    shorter = {name: float(f"{value:.5g}") for name, value in values.items()}
    return {name: value for name, value in shorter.items() if math.isfinite(value)}


def _chosen(points: Sequence[Point]) -> list[str]:
    """The metrics that have a place."""
    reported = dict.fromkeys(name for _, values in points for name in values)
    first = [LEADING] if LEADING in reported else []
    return [*first, *(name for name in reported if name != LEADING)][:MAX_CURVE_METRICS]


def _thinned(points: Sequence[Point], stride: int) -> list[Point]:
    first: dict[int, Point] = {}
    for step, values in points:
        known = first.get(step // stride)
        first[step // stride] = (step, values) if known is None else (known[0], {**values, **known[1]})
    kept = list(first.values())
    return kept if kept[-1][0] == points[-1][0] else [*kept, points[-1]]


def _written(points: Sequence[Point], names: Sequence[str]) -> CurveStatus:
    steps = [step for step, _ in points]
    return CurveStatus.model_construct(
        steps=steps, metrics={name: [values.get(name) for _, values in points] for name in names}
    )
