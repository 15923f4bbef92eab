"""What the page shows of a run's data. Pure.

Profile and problems are read from a bucket: of everything in them only so much is shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from footplate.api.data import SPLITS
from footplate.client import JobData
from footplate.client.untrusted import plain
from footplate.ui.words import number, percent, share
from footplate_trainer.preparation.report import ColumnProfile, Histogram, Profile, Violation

MAX_COLUMNS = 500
"""As many as a profile of ours has."""
MAX_PROBLEMS = 50
MAX_EXAMPLES = 10
MAX_HINTS = 50
MAX_VALUES = 6
MAX_BINS = 60
MAX_TEXT = 120
"""Bytes of a name or a value."""
WIDTH, HEIGHT = 160.0, 40.0
"""Of a column's distribution."""
BAR_WIDTH = 1000.0
"""Of the bar of all parts."""


@dataclass(frozen=True, slots=True)
class PartView:
    """A part of the data. `colour`: number of its line; `x`, `width`: where it is in the bar of all."""

    name: str
    colour: int
    rows: int
    percent: str
    x: float
    width: float
    repeated: int | None
    """Rows that are in an earlier part, too; None where that isn't known, or there is none earlier."""


@dataclass(frozen=True, slots=True)
class ValueView:
    """One of a column's most frequent values. `width`: of its bar, of 100."""

    text: str
    count: int
    width: float


@dataclass(frozen=True, slots=True)
class ColumnView:
    """What is shown of a column. `outlines`: number of a part's line, and its path."""

    name: str
    type: str
    is_label: bool
    hints: Sequence[str]
    missing: str
    range: str
    facts: Sequence[str]
    outlines: Sequence[tuple[int, str]]
    ends: tuple[str, str]
    values: Sequence[ValueView]
    different: str


@dataclass(frozen=True, slots=True)
class ProblemView:
    """A broken check."""

    column: str
    rule: str
    count: int
    examples: Sequence[tuple[str, str]]
    """Value and place of the first cells."""


def view_data(data: JobData) -> dict[str, Any]:
    """What the template of a run's data knows."""
    profile = data.profile
    columns = profile.columns if profile is not None else []
    return {
        "rows": data.rows,
        "parts_of": _parts(data),
        "problems": [_problem(each) for each in data.problems[:MAX_PROBLEMS]],
        "more_problems": max(0, len(data.problems) - MAX_PROBLEMS),
        "hints": [plain(hint, most=512) for hint in data.hints[:MAX_HINTS]],
        "notes": [plain(note, most=512) for note in data.notes[:MAX_HINTS]],
        "profile": profile,
        "columns": [*_columns(profile)] if profile is not None else [],
        "more_columns": max(0, len(columns) - MAX_COLUMNS),
    }


def _parts(data: JobData) -> list[PartView]:
    rows, repeated = data.rows or 0, data.profile.duplicates_across if data.profile is not None else {}
    views: list[PartView] = []
    for colour, name in enumerate(SPLITS, start=1):
        if name in data.splits:
            count = data.splits[name]
            part, x = share(count, rows), sum(view.width for view in views)
            width = min(BAR_WIDTH * part, BAR_WIDTH - x)
            views.append(PartView(name, colour, count, percent(100 * part), x, width, repeated.get(name)))
    return views


def _problem(found: Violation) -> ProblemView:
    examples = [
        (plain(each.value, most=MAX_TEXT), plain(f"row {number(each.row)} of {each.file}", most=2 * MAX_TEXT))
        for each in found.examples[:MAX_EXAMPLES]
    ]
    return ProblemView(plain(found.column, most=MAX_TEXT), plain(found.rule, most=512), found.count, examples)


def _columns(profile: Profile) -> Iterator[ColumnView]:
    told: dict[str, list[str]] = {}
    for hint in profile.hints[:MAX_HINTS]:
        told.setdefault(hint.column, []).append(hint.kind)
    for column in profile.columns[:MAX_COLUMNS]:
        yield _column(column, rows=profile.rows, is_label=column.name == profile.label, hints=told.get(column.name, []))


def _column(column: ColumnProfile, *, rows: int, is_label: bool, hints: Sequence[str]) -> ColumnView:
    histogram = column.histogram
    return ColumnView(
        name=plain(column.name, most=MAX_TEXT),
        type=plain(column.type, most=MAX_TEXT),
        is_label=is_label,
        hints=hints,
        missing=f"{number(column.missing)} ({percent(100 * share(column.missing, rows))})" if column.missing else "",
        range=_between(column.minimum, column.maximum),
        facts=[*_facts(column)],
        outlines=_outlines(histogram) if histogram is not None else [],
        ends=(number(histogram.low), number(histogram.high)) if histogram is not None else ("", ""),
        values=_values(column) if histogram is None else [],
        different=number(column.distinct) if column.distinct is not None else "",
    )


def _between(low: float | str | None, high: float | str | None) -> str:
    return "" if low is None or high is None else f"{_word(low)} … {_word(high)}"


def _word(value: float | str) -> str:
    return plain(value, most=MAX_TEXT) if isinstance(value, str) else number(value)


def _facts(column: ColumnProfile) -> Iterator[str]:
    if column.mean is not None:
        spread = f" ± {number(column.std)}" if column.std is not None else ""
        yield f"mean {number(column.mean)}{spread}"
    median = (column.quantiles or {}).get("0.5")
    if median is not None:
        yield f"median {number(median)}"


def _outlines(histogram: Histogram) -> list[tuple[int, str]]:
    """Each part's distribution as steps, as high as its own highest bin, so that small parts can be compared."""
    return [
        (colour, _outline(histogram.counts[name][:MAX_BINS]))
        for colour, name in enumerate(SPLITS, start=1)
        if histogram.counts.get(name)
    ]


def _outline(counts: Sequence[int]) -> str:
    most, step = max(counts), WIDTH / len(counts)
    heights = (HEIGHT - 1 - (HEIGHT - 3) * share(count, most) for count in counts)
    steps = "".join(
        f"H{place * step:.4g}V{height:.3g}H{(place + 1) * step:.4g}" for place, height in enumerate(heights)
    )
    return f"M0 {HEIGHT - 1:g}{steps}V{HEIGHT - 1:g}"


def _values(column: ColumnProfile) -> list[ValueView]:
    values = (column.values or [])[:MAX_VALUES]
    most = max((each.count for each in values), default=0)
    return [ValueView(plain(each.value, most=40), each.count, 100 * share(each.count, most)) for each in values]
