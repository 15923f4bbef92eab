"""What the columns of some data hold, part by part, and what is suspicious in them. Pure, on whole columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from footplate.api.data import SPLITS
from footplate_trainer.data.table_files import is_text
from footplate_trainer.preparation.cells import (
    FewValues,
    is_missing,
    is_number,
    is_plain,
    parse_times,
    value_of,
)
from footplate_trainer.preparation.hashing import blocks
from footplate_trainer.preparation.report import MAX_VALUE, ColumnProfile, Histogram, ValueCount

BINS = 20
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST_VALUES = 20
"""That are shown of a column."""
Groups = NDArray[np.int16]


@dataclass(frozen=True)
class Column:
    """A column of the data with the part of each row, and what is worked out of it once."""

    name: str
    cells: pa.ChunkedArray
    splits: NDArray[np.uint8]
    """Of each row the place of its part in SPLITS."""
    counted: FewValues | None
    """Its values, where they are few."""

    @cached_property
    def numbers(self) -> NDArray[np.float64] | None:
        """The cells, NaN where there is none, as numbers to be put into bins: times in microseconds, of texts their
        lengths; None where they are neither.
        """
        kind = self.cells.type
        if pa.types.is_boolean(kind):
            return None
        found = pc.utf8_length(self.cells) if is_text(kind) else parse_times(self.cells)
        return None if found is None else np.asarray(found.cast(pa.float64(), safe=False))

    @cached_property
    def bins(self) -> tuple[float, float, Groups] | None:
        """The bounds of its bins, between the shares 0.01 and 0.99, and of each row its bin, -1 for none."""
        numbers = self.numbers
        if numbers is None or not len(numbers) or (is_text(self.cells.type) and self.counted is not None):
            return None
        low, high = _bounds(numbers)
        if not np.isfinite(low) or not np.isfinite(high) or not low < high:
            return None
        return low, high, _places(numbers, low, high)

    @cached_property
    def counts(self) -> NDArray[np.int64] | None:
        """Rows by part and group, [parts, 1 + groups]; the first are those without a value."""
        if self.groups is None:
            return None
        return count_pairs(self.splits, len(SPLITS), self.groups, self.size)[1:]

    @property
    def size(self) -> int:
        """How many groups there are."""
        return BINS if self.counted is None else len(self.counted[0])

    @property
    def distinct(self) -> int | None:
        """How many different values it has; None where there are too many to be classes."""
        return None if self.counted is None else len(self.counted[0].drop_null())

    @property
    def groups(self) -> Groups | None:
        """Of each row a number for what it holds: its value, where they are few, else its bin; -1 for none."""
        if self.counted is not None:
            return self.counted[1]
        return None if self.bins is None else self.bins[2]


def _places(numbers: NDArray[np.float64], low: float, high: float) -> Groups:
    """The bin of each number; -1 where there is none."""
    places = np.empty(len(numbers), np.int16)
    for rows in blocks(len(numbers)):
        with np.errstate(invalid="ignore"):
            here = np.clip((numbers[rows] - low) * (BINS / (high - low)), 0, BINS - 1)
        here[np.isnan(here)] = -1
        places[rows] = here
    return places


def _bounds(numbers: NDArray[np.float64]) -> tuple[float, float]:
    """Of some rows, evenly taken: bins needn't be exact, but the same for the same data."""
    some = numbers[:: max(1, len(numbers) // 10_000)]
    some = some[np.isfinite(some)]
    if not len(some):
        return np.nan, np.nan
    low, high = np.quantile(some, [0.01, 0.99])
    return (float(low), float(high)) if low < high else (float(some.min()), float(some.max()))


def describe(column: Column) -> ColumnProfile:
    """What a column holds."""
    cells, counted, counts = column.cells, column.counted, column.counts
    return ColumnProfile(
        name=column.name,
        type=str(cells.type),
        missing=_count_missing(column),
        distinct=column.distinct,
        **_range(column),
        histogram=_histogram(column),
        values=None if counted is None or counts is None else most_frequent(counted[0], counts.sum(axis=0)[1:]),
        drift=None if counts is None else drift(counts),
    )


def _count_missing(column: Column) -> int:
    if column.counted is None or column.counts is None:
        return pc.sum(is_missing(column.cells)).as_py() or 0
    rows = column.counts.sum(axis=0)
    values = np.asarray(is_missing(pa.chunked_array([column.counted[0]])), bool)
    return int(rows[0] + rows[1:][values].sum())


def _range(column: Column) -> Mapping[str, Any]:
    cells, kind = column.cells, column.cells.type
    if not is_plain(kind) or is_text(kind) or pa.types.is_boolean(kind):
        return {}
    if not is_number(kind):
        return {name: None if end is None else str(end) for name, end in _ends(cells).items()}
    numbers = column.numbers
    if numbers is None or not (there := np.isfinite(numbers)).any():
        return {}
    finite = numbers if there.all() else numbers[there]
    floats = {"minimum": float(finite.min()), "maximum": float(finite.max())}
    ends = _ends(cells) if pa.types.is_integer(kind) else floats  # not all whole numbers are float64s
    some = finite if len(finite) <= 100_000 else finite[:: len(finite) // 50_000]
    quantiles = np.quantile(some, QUANTILES).tolist()
    named = {f"{share:g}": value for share, value in zip(QUANTILES, quantiles, strict=True)}
    return {**ends, **_moments(finite), "quantiles": named}


def _ends(cells: pa.ChunkedArray) -> Mapping[str, Any]:
    ends = pc.min_max(cells)
    return {"minimum": value_of(ends["min"]), "maximum": value_of(ends["max"])}


def _moments(finite: NDArray[np.float64]) -> Mapping[str, float]:
    """Those that aren't too large for a number."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = {"mean": float(finite.mean()), "std": float(finite.std())}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _histogram(column: Column) -> Histogram | None:
    if column.bins is None:
        return None
    low, high, places = column.bins
    counts = column.counts
    if counts is None or column.counted is not None:
        counts = count_pairs(column.splits, len(SPLITS), places, BINS)[1:]
    named: dict[str, list[int]] = {
        name: counts[part, 1:].tolist() for part, name in enumerate(SPLITS) if counts[part, 1:].any()
    }
    return Histogram(low=low, high=high, counts=named)


def count_pairs(one: NDArray[Any], ones: int, other: NDArray[Any], others: int) -> NDArray[np.int64]:
    """How many rows have each pair of numbers below `ones` and `others`, [1 + ones, 1 + others]; the first of both are
    those of -1.
    """
    height, width = 1 + ones, 1 + others
    counts = np.zeros(height * width, np.int64)
    for rows in blocks(len(one)):
        cells = (one[rows].astype(np.int64) + 1) * width + other[rows] + 1
        counts += np.bincount(cells, minlength=height * width)
    return counts.reshape(height, width)


def drift(counts: NDArray[np.int64]) -> dict[str, float]:
    """Of each part that has rows, besides train: the total variation distance from train."""
    sums = counts.sum(axis=1)
    if not sums[0]:
        return {}
    train = counts[0] / sums[0]
    return {
        SPLITS[part]: round(float(np.abs(counts[part] / sums[part] - train).sum() / 2), 4)
        for part in range(1, len(SPLITS))
        if sums[part]
    }


def expected_drift(counts: NDArray[np.int64], part: int) -> float:
    """What chance alone makes of it, about: half the sum of each group's expected deviation."""
    sums = counts.sum(axis=1)
    shares = counts.sum(axis=0) / max(1, sums.sum())
    deviation = np.sqrt(shares * (1 - shares) * (1 / max(1, sums[0]) + 1 / max(1, sums[part])))
    return float(np.sqrt(2 / np.pi) * deviation.sum() / 2)


def most_frequent(values: pa.Array, counts: NDArray[np.int64]) -> list[ValueCount]:
    """The values that most rows have, those first, from all values [N] and the number of rows [N] of each."""
    first = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    texts = ((value_of(values[place]), int(counts[place])) for place in first.tolist())
    return [ValueCount(value=str(value)[:MAX_VALUE], count=count) for value, count in texts if value is not None]
