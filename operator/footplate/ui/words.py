"""Numbers, times and texts as people read them: the filters of all templates.

`shown` is what every expression of a template passes through, before it is escaped: what comes from a cluster is a
tenant's text.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup

from footplate.durations import in_words
from footplate.text import clean_json

LARGEST = 10**15
"""Whole numbers from here on are somebody's joke, of any number of digits."""
MAX_SHOWN = 300_000
"""Characters of one text on a page; a manifest is the longest."""
UNKNOWN = "–"


def shown(value: Any) -> Any:
    """The value without what would turn, break or hide text around it, and of bounded length; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return clean_json(value[:MAX_SHOWN])


def seconds(value: float | None) -> str:
    """A duration in its two largest units: `3 d 4 h`, `12 min 5 s`."""
    return UNKNOWN if value is None else in_words(value)


def brief(value: float | None) -> str:
    """A duration in its largest unit: `3 d`."""
    words = seconds(value).split(" ")
    return " ".join(words[:2])


def ago(time: datetime | None, now: datetime) -> str:
    """How long ago: `5 min ago`; `just now` also where this clock is behind."""
    if time is None:
        return UNKNOWN
    past = (now - time).total_seconds()
    return "just now" if past < 1.5 else f"{brief(past)} ago"


def clock(time: datetime | None) -> str:
    """A time in UTC."""
    return UNKNOWN if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def number(value: float | None) -> str:
    """Four digits, as many as an eye compares."""
    if value is None:
        return UNKNOWN
    if abs(value) >= LARGEST and isinstance(value, int):
        return "10¹⁵ or more" if value > 0 else "-10¹⁵ or less"
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e9):
        return f"{int(value):,}"
    return f"{value:.4g}"


def share(count: float, of: float) -> float:
    """The part that a count is of all, between 0 and 1, whatever they are."""
    return 0.0 if count <= 0 or of <= 0 else 1.0 if count >= of else count / of


def percent(value: float | None) -> str:
    """A share: `12.8 %`."""
    return UNKNOWN if value is None else f"{value:.1f} %"


def size(value: float | None) -> str:
    """Bytes: `1.2 GB`."""
    if value is None:
        return UNKNOWN
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.0f} PB"


def span(start: datetime | None, end: datetime | None) -> str:
    """The time between two moments."""
    return UNKNOWN if start is None or end is None else seconds((end - start) / timedelta(seconds=1))


FILTERS = {
    "seconds": seconds,
    "brief": brief,
    "ago": ago,
    "clock": clock,
    "number": number,
    "percent": percent,
    "size": size,
    "span": span,
}
