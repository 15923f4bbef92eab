"""How the command writes durations, ages and counts: short, and the same everywhere."""

import math
from datetime import datetime

UNKNOWN = "-"
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def duration(seconds: float | None) -> str:
    """At most two units, as kubectl writes an age: 45s, 12m, 3h20m, 5d2h."""
    if seconds is None:
        return UNKNOWN
    left = max(0, int(seconds))
    for index, (unit, size) in enumerate(_UNITS):
        if left >= size:
            smaller = left % size // _UNITS[index + 1][1] if size > 60 or (size == 60 and left < 600) else 0
            return f"{left // size}{unit}" + (f"{smaller}{_UNITS[index + 1][0]}" if smaller else "")
    return "0s"


def age(time: datetime | None, *, now: datetime) -> str:
    """How long ago that was; a clock that is off makes it 0s, never negative."""
    return UNKNOWN if time is None else duration((now - time).total_seconds())


def share(done: int | None, total: int | None) -> str:
    """`1,200/9,380`, as far as it is known."""
    if done is None:
        return UNKNOWN
    return f"{done:,}/{total:,}" if total else f"{done:,}"


def number(value: float | None) -> str:
    """A metric's value to four significant digits."""
    return UNKNOWN if value is None else f"{value:.4g}"


def count(many: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{many:,} {noun}" if many == 1 else f"{many:,} {noun}s"


def read_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `10m`, `2h` or `1d`; raises ValueError."""
    unit = dict(_UNITS).get(text[-1:])
    seconds = float(text[:-1]) * unit if unit else float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError(text)
    return seconds
