"""How the command writes durations, ages and counts: short, and the same everywhere."""

import math
from datetime import datetime

from footplate.durations import short

UNKNOWN = "-"
_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def duration(seconds: float | None) -> str:
    """As far as it is known: 45s, 12m, 3h20m, 5d2h."""
    return UNKNOWN if seconds is None else short(seconds)


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
    unit = _SECONDS.get(text[-1:])
    seconds = float(text[:-1]) * unit if unit else float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError(text)
    return seconds
