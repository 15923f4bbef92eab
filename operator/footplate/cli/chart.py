"""Curves of characters: a line of blocks for a screen of many, and a plot of dots for one that is looked at."""

import math
from collections.abc import Sequence
from typing import TypeGuard

from footplate.cli.words import number

_BLOCKS = "▁▂▃▄▅▆▇█"
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille character by row and column: two points wide, four high."""

Values = Sequence[float | None]


def sparkline(values: Values, *, width: int) -> str:
    """The values in at most `width` blocks, the mean of those that share one; where none is known, as before it."""
    means = _means(values, width=width)
    known = [mean for mean in means if mean is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    return "".join(" " if mean is None else _BLOCKS[_level(mean, low, high, len(_BLOCKS))] for mean in means)


def plot(steps: Sequence[float], values: Values, *, width: int, height: int) -> list[str]:
    """The curve in `height` lines of dots and one of steps below them, `width` characters wide in all.

    Empty where no value is known.
    """
    points = [(step, value) for step, value in zip(steps, values, strict=True) if _is_number(value)]
    if not points:
        return []
    low, high = min(value for _, value in points), max(value for _, value in points)
    labels = [number(high), *[""] * (height - 2), number(low)]
    margin = max(map(len, labels))
    rows = _dots(points, low, high, columns=max(8, width - margin - 2), rows=height)
    lines = [f"{label:>{margin}} ┤{row}" for label, row in zip(labels, rows, strict=True)]
    first, last = f"{points[0][0]:,.0f}", f"{points[-1][0]:,.0f}"
    room = max(1, width - margin - 2 - len(first) - len(last))
    return [*lines, f"{'':>{margin}}  {first}{'':>{room}}{last}"]


def _dots(points: Sequence[tuple[float, float]], low: float, high: float, *, columns: int, rows: int) -> list[str]:
    canvas = [[0] * columns for _ in range(rows)]
    begin, end = points[0][0], points[-1][0]
    places = [(_level(x, begin, end, 2 * columns), _level(y, low, high, 4 * rows)) for x, y in points]
    for (x, y), (next_x, next_y) in zip(places, [*places[1:], places[-1]], strict=True):
        for part in range(length := max(next_x - x, abs(next_y - y), 1)):
            across, up = x + (next_x - x) * part // length, y + (next_y - y) * part // length
            down = 4 * rows - 1 - up
            canvas[down // 4][across // 2] |= _DOTS[down % 4][across % 2]
    return ["".join(chr(0x2800 + bits) for bits in row) for row in canvas]


def _means(values: Values, *, width: int) -> list[float | None]:
    buckets = min(width, len(values))
    means: list[float | None] = []
    for index in range(buckets):
        bucket = values[index * len(values) // buckets : (index + 1) * len(values) // buckets]
        known = [value for value in bucket if _is_number(value)]
        before = means[-1] if means else None
        means.append(math.fsum(each / len(known) for each in known) if known else before)
    return means


def _level(value: float, low: float, high: float, levels: int) -> int:
    """From 0 to levels - 1. Halves are compared, since the span of what a metric may be is more than a float holds."""
    span = high / 2 - low / 2
    return max(0, min(levels - 1, int((value / 2 - low / 2) / span * levels))) if span > 0 else 0


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
