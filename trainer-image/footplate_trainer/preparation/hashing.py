"""Numbers that tell rows apart, and those that are drawn for them. Pure, on whole columns."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from footplate.api.data import SPLITS
from footplate_trainer.data.table_files import is_text
from footplate_trainer.preparation.cells import FewValues, as_texts, dictionary_encode, is_number, is_plain

BLOCK = 2**16
"""Rows that are worked on at once: what is made of them on the way stays in a processor's cache."""
WORKERS = min(4, pa.cpu_count())
"""Columns that are worked on at once: each takes some 24 bytes of memory a row."""
MISSING = np.uint64(0x5851F42D4C957F2D)


def blocks(rows: int) -> Iterator[slice]:
    """All rows, some at a time."""
    return (slice(start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK))


def scramble(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output for these states: as if drawn, and different where they are."""
    with np.errstate(over="ignore"):
        numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return numbers ^ (numbers >> np.uint64(31))


def row_hashes(table: pa.Table, few: Callable[[str], FewValues | None]) -> NDArray[np.uint64]:
    """A 64-bit hash of each row, the same for the same values, within one process.

    Args:
        table: the rows.
        few: tells the values of a column, where they are few.
    """
    hashes, lock = np.zeros(table.num_rows, np.uint64), Lock()

    def add(name: str, salt: np.uint64) -> None:
        bits = _bits(table.column(name), few(name))
        for rows in blocks(len(bits)):
            drawn = scramble(bits[rows] ^ salt)
            with lock:
                hashes[rows] += drawn

    salts = scramble(np.arange(1, table.num_columns + 1, dtype=np.uint64))
    with ThreadPoolExecutor(WORKERS) as pool, np.errstate(over="ignore"):
        list(pool.map(add, table.column_names, salts))
    return hashes


def _bits(column: pa.ChunkedArray, few: FewValues | None) -> NDArray[np.uint64]:
    """64 bits that say what each cell holds; 0 and -0 are the same, and so are NaN and nothing."""
    kind = column.type
    if few is not None:
        return np.append(_bits(pa.chunked_array([few[0]]), None), MISSING)[few[1]]
    if pa.types.is_floating(kind):
        numbers = np.asarray(column.cast(pa.float64())) + 0.0
        bits: NDArray[np.uint64] = numbers.view(np.uint64)
        bits[np.isnan(numbers)] = MISSING
        return bits
    if not is_plain(kind) or is_text(kind) or pa.types.is_decimal(kind):
        return _bits_of_values(column)
    if not is_number(kind):  # dates, times, true and false
        stored = pa.int64() if kind.bit_width == 64 else pa.int32() if kind.bit_width == 32 else pa.int8()
        column = column.cast(stored)
    whole = np.asarray(pc.fill_null(column, 0)).astype(np.int64 if kind != pa.uint64() else np.uint64, copy=False)
    bits = whole.view(np.uint64)
    return np.where(np.asarray(column.is_null()), MISSING, bits) if column.null_count else bits


def _bits_of_values(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    if not is_plain(column.type):  # lists and objects
        column = pa.chunked_array([pa.array([repr(each) for each in column.to_pylist()], pa.string())])
    values, places = dictionary_encode(column)
    texts = as_texts(pa.chunked_array([values])).cast(pa.large_binary())
    hashes = np.fromiter(map(hash, texts.to_pylist()), np.int64, len(texts))  # of numbers not all differ: -1 and -2
    return np.append(hashes.view(np.uint64), MISSING)[places]


def count_doubles(hashes: NDArray[np.uint64], splits: NDArray[np.uint8]) -> tuple[int, dict[str, int]]:
    """Rows that repeat an earlier one; and those of each part that has rows, but the first, that are in an earlier
    part, too.
    """
    ordered = np.sort(hashes)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    across = _count_across(hashes, splits, np.unique(repeated))
    there = np.flatnonzero(np.bincount(splits, minlength=len(SPLITS)))
    return len(repeated), {SPLITS[part]: int(across[part]) for part in there[1:]}


def _count_across(
    hashes: NDArray[np.uint64], splits: NDArray[np.uint8], repeated: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Of the rows with these hashes, how many of each part are in an earlier one, too."""
    if not len(repeated):
        return np.zeros(len(SPLITS), np.int64)
    rows = np.flatnonzero(np.isin(hashes, repeated))
    places, parts = np.searchsorted(repeated, hashes[rows]), splits[rows]
    firsts = np.full(len(repeated), len(SPLITS), np.uint8)
    np.minimum.at(firsts, places, parts)
    return np.bincount(parts[parts > firsts[places]], minlength=len(SPLITS))
