"""Which row is in which part: a function of the data, their order and the seed alone. Pure.

Random numbers are SplitMix64 of the row's number: the same in every version of every library.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from footplate.api.data import SPLITS, Split
from footplate_trainer.data.splits import CHANNELS, SPLIT_OF_NAME
from footplate_trainer.data.table_files import is_text
from footplate_trainer.errors import DataError
from footplate_trainer.preparation.cells import (
    as_texts,
    dictionary_encode,
    has_zones,
    is_missing,
    parse_times,
    rows_where,
    show,
)
from footplate_trainer.preparation.hashing import scramble

Codes = NDArray[np.uint8]
"""Of each row the place of its part in SPLITS."""
Place = Callable[[int], str]
"""Where a row is, for people."""
OF_WORD = {word: CHANNELS.index(split) for word, split in SPLIT_OF_NAME.items()}
WAY_OUT = "bring more rows, or leave a part out of data.split"


def divide(split: Split, rows: int, column: pa.ChunkedArray | None, place: Place) -> Codes:
    """The part of each row.

    Args:
        split: how they are divided, by anything but what is given without a column.
        rows: how many there are.
        column: the values [rows] that the split goes by; None for random.
        place: tells a row in a message.

    Raises:
        DataError: the rows can't be divided so.
    """
    shares = np.array([getattr(split, name) or 0.0 for name in SPLITS])
    if split.by == "random" or column is None:
        return _stratify(np.zeros(rows, np.int64), shares, split.seed)
    if pa.types.is_nested(column.type):
        raise DataError(
            f"data.split.column: the cells of {split.column!r} are of type {column.type}, which can't be compared; "
            "name a column of texts, numbers, dates or times"
        )
    if split.by == "given":
        return _as_said(column, str(split.column), place)
    _check_whole(column, split, place)
    if split.by == "time":
        return _by_time(column, shares, str(split.column), place)
    values = dictionary_encode(column)[1].astype(np.int64)
    if split.by == "group":
        return _by_group(values, shares, split)
    _check_classes(values, column, shares, str(split.column), place)
    return _stratify(values, shares, split.seed)


def _stratify(classes: NDArray[np.int64], shares: NDArray[np.float64], seed: int) -> Codes:
    """Each class has its share in each part; of one that has enough rows, at least one."""
    keys = _mix(np.arange(len(classes), dtype=np.uint64), seed)
    order = np.argsort(keys)  # no two are equal
    counts = np.bincount(classes, minlength=1)
    if len(counts) > 1:
        narrow = classes.astype(np.uint16) if len(counts) <= 2**16 else classes  # numpy sorts 16 bits by radix
        order = order[np.argsort(narrow[order], kind="stable")]
    return _cut(order, counts, shares)


def _cut(order: NDArray[np.int64], counts: NDArray[np.int64], shares: NDArray[np.float64]) -> Codes:
    """The rows in this order, class after class, each class cut into the parts one after the other."""
    parts = np.tile(np.arange(len(shares), dtype=np.uint8), len(counts))
    codes = np.empty(len(order), np.uint8)
    codes[order] = np.repeat(parts, _sizes(counts, shares).ravel())
    return codes


def _sizes(counts: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of each class in each part, [classes, parts]: rounded, but none without any where there are enough."""
    rounded = np.rint(np.outer(counts, shares.cumsum() / shares.sum())).astype(np.int64)
    sizes = np.diff(rounded, axis=1, prepend=0)
    enough = counts >= (shares > 0).sum()
    for part in np.flatnonzero(shares):
        empty = np.flatnonzero(enough & (sizes[:, part] == 0))
        sizes[empty, sizes[empty].argmax(axis=1)] -= 1
        sizes[empty, part] += 1
    if (sizes.sum(axis=0)[shares > 0] == 0).any():
        raise DataError(f"data.split: {int(counts.sum()):,} rows can't fill {(shares > 0).sum()} parts; {WAY_OUT}")
    return sizes


def _by_time(column: pa.ChunkedArray, shares: NDArray[np.float64], name: str, place: Place) -> Codes:
    times = parse_times(column)
    if times is None:
        raise DataError(
            f"data.split: column {name!r} holds {column.type}, which has no order in time; name a column of times, "
            "dates or numbers"
        )
    if bad := rows_where(pc.is_null(times)):
        raise DataError(
            f"data.split: {len(bad):,} values of column {name!r} are no times: {_examples(column, bad, place)}; "
            "write all as 2026-01-31 or 2026-01-31T12:00:00, or as numbers"
        )
    if is_text(column.type):
        _check_zones(column, name, place)
    order = np.argsort(times.to_numpy(), kind="stable")
    return _cut(order, np.array([len(order)]), shares)


def _check_zones(column: pa.ChunkedArray, name: str, place: Place) -> None:
    says = has_zones(column)
    zoned, bare = rows_where(says), rows_where(pc.invert(says))
    if zoned and bare:
        raise DataError(
            f"data.split: {len(zoned):,} values of column {name!r} say a time's zone, such as "
            f"{_examples(column, zoned[:1], place)}, and {len(bare):,} don't, such as "
            f"{_examples(column, bare[:1], place)}: it can't be told which is earlier; write all with Z or an offset, "
            "or all without"
        )


def _by_group(groups: NDArray[np.int64], shares: NDArray[np.float64], split: Split) -> Codes:
    """Groups in random order fill one part after the other; a part that got none takes the smallest group of the one
    that has most.
    """
    counts = np.bincount(groups)
    parts = np.flatnonzero(shares)
    if len(counts) < len(parts):
        raise DataError(
            f"data.split: column {split.column!r} has {len(counts)} different values, which can't fill {len(parts)} "
            f"parts; name another column, or {WAY_OUT}"
        )
    order = np.argsort(_mix(np.arange(len(counts), dtype=np.uint64), split.seed), kind="stable")
    middles = counts[order].cumsum() - counts[order] / 2
    ends = (shares.cumsum() / shares.sum() * len(groups))[:-1]
    of_group = np.zeros(len(counts), np.uint8)
    of_group[order] = np.searchsorted(ends, middles, side="right")
    for part in parts:
        if not (of_group == part).any():
            fullest = np.bincount(of_group, minlength=len(SPLITS)).argmax()
            members = np.flatnonzero(of_group == fullest)
            of_group[members[counts[members].argmin()]] = part
    return of_group[groups]


def _as_said(column: pa.ChunkedArray, name: str, place: Place) -> Codes:
    texts = as_texts(column)
    said = pc.utf8_lower(pc.utf8_trim_whitespace(texts))
    known = pc.index_in(said, value_set=pa.array(list(OF_WORD)))
    if bad := rows_where(pc.is_null(known)):
        raise DataError(
            f"data.split: {len(bad):,} values of column {name!r} name no part: {_examples(column, bad, place)}; "
            f"write {', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
        )
    codes: Codes = np.array(list(OF_WORD.values()), np.uint8)[known.to_numpy()]
    return codes


def _check_whole(column: pa.ChunkedArray, split: Split, place: Place) -> None:
    if bad := rows_where(is_missing(column)):
        raise DataError(
            f"data.split: {len(bad):,} rows have no value in column {split.column!r}, by which they are divided: "
            f"{', '.join(map(place, bad[:3]))}; fill them, or take them out"
        )


def _check_classes(
    classes: NDArray[np.int64], column: pa.ChunkedArray, shares: NDArray[np.float64], name: str, place: Place
) -> None:
    counts, parts = np.bincount(classes), int((shares > 0).sum())
    if not len(rare := np.flatnonzero(counts < parts)):
        return
    rows = np.flatnonzero(np.isin(classes, rare[:1000]))[:3].tolist()
    many = "" if 2 * len(rare) < len(counts) or len(counts) < 10 else "; it seems to name no classes"
    raise DataError(
        f"data.split: {len(rare):,} of {len(counts):,} classes of column {name!r} have fewer than {parts} rows, so "
        f"they can't be in {parts} parts: {_examples(column, rows, place)}{many}; bring more of them, take them out, "
        "or say by: random"
    )


def _examples(column: pa.ChunkedArray, rows: Sequence[int], place: Place) -> str:
    return ", ".join(f"{show(column[row])} in {place(row)}" for row in rows[:3])


def _mix(numbers: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """SplitMix64's output for its states `seed` hashed, plus each number."""
    with np.errstate(over="ignore"):
        mixed = (numbers + scramble(np.full(1, seed, np.uint64))) * np.uint64(0x9E3779B97F4A7C15)
        return scramble(mixed)
