"""What the columns of some data hold, part by part, and what is suspicious in them. Pure, on whole columns."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from footplate.api.data import SPLITS
from footplate_trainer.preparation.cells import is_missing, is_number, is_plain, is_text, parse_times
from footplate_trainer.preparation.report import MAX_VALUE, ColumnProfile, Histogram, ValueCount

BINS = 20
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MOST_VALUES = 20
"""That are shown of a column."""
FEW_VALUES = 1_000
"""More than so many different texts or whole numbers are no classes."""
Groups = NDArray[np.int64]


@dataclass(frozen=True)
class Column:
    """A column of the data with the part of each row, and what is worked out of it once."""

    name: str
    cells: pa.ChunkedArray
    splits: NDArray[np.uint8]
    """Of each row the place of its part in SPLITS."""

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
    def counted(self) -> tuple[pa.Array, Groups] | None:
        """Its different values, and of each row the place of its value, -1 for none; None where there are too many to
        be classes.
        """
        if (
            not is_plain(self.cells.type)
            or pa.types.is_floating(self.cells.type)
            or pa.types.is_decimal(self.cells.type)
        ):
            return None
        head = self.cells.slice(0, 10 * FEW_VALUES)
        if pc.count_distinct(head).as_py() > FEW_VALUES:
            return None
        encoded = pc.dictionary_encode(
            self.cells.combine_chunks() if self.cells.num_chunks != 1 else self.cells.chunk(0)
        )
        if len(encoded.dictionary) > FEW_VALUES:
            return None
        return encoded.dictionary, np.asarray(pc.fill_null(encoded.indices, -1), np.int64)

    @cached_property
    def bins(self) -> tuple[float, float, Groups] | None:
        """The bounds of its bins, between the shares 0.01 and 0.99, and of each row its bin, -1 for none."""
        numbers = self.numbers
        if numbers is None or not len(numbers) or (is_text(self.cells.type) and self.counted is not None):
            return None
        low, high = _bounds(numbers)
        if not np.isfinite(low) or not np.isfinite(high) or not low < high:
            return None
        with np.errstate(invalid="ignore"):
            places = np.clip((numbers - low) * (BINS / (high - low)), 0, BINS - 1)
        missing = np.isnan(places)
        if missing.any():
            places[missing] = -1
        return low, high, places.astype(np.int64)

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
    cells = column.cells
    missing = pc.sum(is_missing(cells)).as_py() or 0
    counted = column.counted
    by_part = None if column.groups is None else shares_by_part(column.groups, column.splits)
    return ColumnProfile(
        name=column.name,
        type=str(cells.type),
        missing=missing,
        distinct=column.distinct,
        **_range(column),
        histogram=_histogram(column),
        values=most_frequent(*counted) if counted is not None else None,
        drift=None if by_part is None else drift(by_part),
    )


def _range(column: Column) -> Mapping[str, Any]:
    cells, kind = column.cells, column.cells.type
    if not is_plain(kind) or is_text(kind) or pa.types.is_boolean(kind):
        return {}
    if not is_number(kind):
        ends = pc.min_max(cells)
        return {name: None if ends[part].as_py() is None else str(ends[part].as_py()) for name, part in
                (("minimum", "min"), ("maximum", "max"))}  # fmt: skip
    numbers = column.numbers
    finite = numbers[np.isfinite(numbers)] if numbers is not None else np.zeros(0)
    if not len(finite):
        return {}
    whole = pa.types.is_integer(kind)
    low, high = finite.min(), finite.max()
    some = finite if len(finite) <= 100_000 else finite[:: len(finite) // 50_000]
    return {
        "minimum": int(low) if whole else float(low),
        "maximum": int(high) if whole else float(high),
        **_moments(finite),
        "quantiles": {f"{share:g}": float(np.quantile(some, share)) for share in QUANTILES},
    }


def _moments(finite: NDArray[np.float64]) -> Mapping[str, float]:
    """Those that aren't too large for a number."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = {"mean": float(finite.mean()), "std": float(finite.std())}
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _histogram(column: Column) -> Histogram | None:
    if column.bins is None:
        return None
    low, high, places = column.bins
    counts = count_by_part(places, column.splits, BINS)
    named: dict[str, list[int]] = {
        name: counts[part].tolist() for part, name in enumerate(SPLITS) if counts[part].any()
    }
    return Histogram(low=low, high=high, counts=named)


def count_by_part(groups: Groups, splits: NDArray[np.uint8], size: int) -> NDArray[np.int64]:
    """Rows by part and group, [parts, groups]; those without a value don't count."""
    cells = splits.astype(np.int64) * (size + 1) + groups + 1
    return np.bincount(cells, minlength=len(SPLITS) * (size + 1)).reshape(len(SPLITS), size + 1)[:, 1:]


def shares_by_part(groups: Groups, splits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Rows by part and group, those without a value being a group, too."""
    return count_by_part(groups + 1, splits, int(groups.max(initial=-1)) + 2)


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


def most_frequent(values: pa.Array, groups: Groups) -> list[ValueCount]:
    """The values that most rows have, those first."""
    counts = np.bincount(groups[groups >= 0], minlength=len(values))
    first = np.argsort(-counts, kind="stable")[:MOST_VALUES]
    texts = ((values[place].as_py(), int(counts[place])) for place in first.tolist())
    return [ValueCount(value=str(value)[:MAX_VALUE], count=count) for value, count in texts if value is not None]


def row_hashes(table: pa.Table) -> NDArray[np.uint64]:
    """A 64-bit hash of each row, of the same for the same values."""
    hashes = np.zeros(table.num_rows, np.uint64)
    with np.errstate(over="ignore"):
        for column in table.columns:
            hashes = (hashes ^ _cell_hashes(column)) * np.uint64(0x9E3779B97F4A7C15)
            hashes ^= hashes >> np.uint64(29)
    return hashes


def _cell_hashes(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    if is_number(column.type) and not pa.types.is_decimal(column.type):
        numbers = np.ascontiguousarray(np.asarray(column.cast(pa.float64(), safe=False)))
        bits: NDArray[np.uint64] = numbers.view(np.uint64)
        return bits
    if not is_plain(column.type):  # lists and objects
        column = pa.chunked_array([pa.array([repr(each) for each in column.to_pylist()], pa.string())])
    encoded = pc.dictionary_encode(column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))
    hashed = np.fromiter(
        (_text_hash(value) for value in _texts(encoded.dictionary)), np.uint64, len(encoded.dictionary)
    )
    hashed = np.append(hashed, np.uint64(1))
    places: NDArray[np.int64] = np.asarray(pc.fill_null(encoded.indices, len(hashed) - 1))
    return hashed[places]


def _texts(values: pa.Array) -> Iterator[str]:
    yield from (str(value) for value in values.to_pylist())


def _text_hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest(), "little")


def count_doubles(hashes: NDArray[np.uint64], splits: NDArray[np.uint8]) -> tuple[int, dict[str, int]]:
    """Rows that repeat an earlier one; and those of each part that has rows, but the first, that are in an earlier
    part, too.
    """
    if not len(hashes):
        return 0, {}
    order = np.argsort(hashes)
    ordered, parts = hashes[order], splits[order]
    begins = np.append(True, ordered[1:] != ordered[:-1])
    firsts = np.minimum.reduceat(parts, np.flatnonzero(begins))[begins.cumsum() - 1]
    across = np.bincount(parts[parts > firsts], minlength=len(SPLITS))
    there = np.flatnonzero(np.bincount(splits, minlength=len(SPLITS)))
    return int((~begins).sum()), {SPLITS[part]: int(across[part]) for part in there[1:]}
