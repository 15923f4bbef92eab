"""Reads CSV files block by block. A column's type is the first that holds for all its cells, not just a block's."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from footplate_trainer.data.table_dialect import Dialect, find_dialect, find_ragged, open_text
from footplate_trainer.rank.report import reporter

BLOCK_BYTES = 2**20
"""Arrow reads up to 32 blocks ahead."""
LARGEST_BLOCK = 2**31 - 1
FIRST_CELLS = 100
TYPES: tuple[pa.DataType, ...] = (
    *(pa.int64(), pa.bool_(), pa.date32(), pa.time32("s")),
    *(pa.timestamp(unit, zone) for zone in (None, "UTC") for unit in ("s", "ns")),
    pa.float64(),
)
"""What cells may be, in pyarrow's own order; what is none of these is text."""
CODE = r"^\s*0\d+\s*$"
"""Whole numbers with leading zeros: `01` and `1` aren't the same."""
Fitting = tuple[pa.DataType, ...]
"""Those of TYPES that hold for some cells. All of them do for cells without values."""


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file: how it is written, its columns' names as they stand there, the types that fit them, its rows."""

    path: Path
    dialect: Dialect
    names: tuple[str, ...]
    fitting: tuple[Fitting, ...]
    rows: int
    block_bytes: int

    def batches(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Its rows; the columns of `types` alone, in that order, by their names in the file."""
        options = pa.csv.ConvertOptions(column_types=dict(types), include_columns=list(types))
        with open_text(self.path) as stream:
            yield from _read(stream, self.dialect, options, self.block_bytes)


def read_header(path: Path) -> list[str]:
    """The names of a file's columns, as they stand there."""
    return _read_names(path, find_dialect(path), BLOCK_BYTES)


def _read_names(path: Path, dialect: Dialect, block_bytes: int) -> list[str]:
    with open_text(path) as stream:
        names: list[str] = _read(stream, dialect, pa.csv.ConvertOptions(), block_bytes).schema.names
        return names


def survey_csv(path: Path) -> CsvFile:
    """Reads all of a file, to learn what its cells are.

    Raises:
        pa.ArrowException, OSError, ValueError: it can't be read.
    """
    dialect = find_dialect(path)
    block_bytes = BLOCK_BYTES
    while True:
        try:
            return _survey(path, dialect, block_bytes)
        except pa.ArrowInvalid as error:  # a cell of many lines, larger than a block, or a line that is
            if "columns, got" in str(error) and (ragged := find_ragged(path, dialect)) is not None:
                raise ValueError(ragged) from None
            if block_bytes == LARGEST_BLOCK or not ("straddl" in str(error) or _longest_line(path) > block_bytes):
                raise
            block_bytes = min(8 * block_bytes, LARGEST_BLOCK)


def _longest_line(path: Path) -> int:
    with io.BufferedReader(open_text(path)) as lines:
        return max(map(len, lines), default=0)


def type_of(fitting: Fitting) -> pa.DataType:
    """The type of cells that all these fit."""
    return pa.null() if fitting == TYPES else next(iter(fitting), pa.string())


def _survey(path: Path, dialect: Dialect, block_bytes: int) -> CsvFile:
    names = _read_names(path, dialect, block_bytes)
    options = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    fitting: list[Fitting] = [TYPES] * len(names)
    rows, last = 0, ""
    with open_text(path) as stream:
        for batch in _read(stream, dialect, options, block_bytes):
            if (repeated := _find_header(batch, names)) is not None:
                raise ValueError(
                    f"row {rows + repeated + 1:,} is the header once more, as where files were put one after the other"
                )
            fitting = [_fit(cells, types) for cells, types in zip(batch.columns, fitting, strict=True)]
            rows += batch.num_rows
            last = batch.columns[-1][-1].as_py() if batch.num_rows else last
            reporter().beat()
    if "\n" in last and not dialect.ends_in_quote:
        raise ValueError(f"the quote that is opened in row {rows:,} is never closed")
    return CsvFile(path, dialect, tuple(names), tuple(fitting), rows, block_bytes)


def _find_header(batch: pa.RecordBatch, names: Sequence[str]) -> int | None:
    """The first row whose cells are the columns' names."""
    alike = batch.column(0) if len(names) > 1 else batch.column(0)[:0]
    for row in np.flatnonzero(pc.equal(alike, names[0])).tolist():
        if all(cells[row].as_py() == name for cells, name in zip(batch.columns, names, strict=True)):
            return row
    return None


def _read(
    stream: pa.NativeFile, dialect: Dialect, options: pa.csv.ConvertOptions, block_bytes: int
) -> pa.csv.CSVStreamingReader:
    return pa.csv.open_csv(
        stream,
        read_options=pa.csv.ReadOptions(
            block_size=block_bytes, encoding=dialect.encoding, skip_rows=dialect.lines_before
        ),
        parse_options=pa.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
        convert_options=options,
    )


def _fit(cells: pa.Array, types: Fitting) -> Fitting:
    """Those of the types that hold for these texts, by pyarrow's own judgement of cells; none where some are codes."""
    if pa.int64() in types and pc.any(pc.match_substring_regex(cells, CODE)).as_py():
        return ()
    for some in (cells[:FIRST_CELLS], cells):
        if types:
            written = io.BytesIO()
            pa.csv.write_csv(pa.table({"cells": some}), written)
            types = tuple(kind for kind in types if _holds(written.getbuffer(), kind))
    return types


def _holds(written: memoryview, kind: pa.DataType) -> bool:
    try:
        pa.csv.read_csv(
            pa.BufferReader(written),
            read_options=pa.csv.ReadOptions(block_size=min(len(written) + 1, LARGEST_BLOCK)),
            parse_options=pa.csv.ParseOptions(newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(column_types={"cells": kind}),
        )
    except pa.ArrowInvalid:
        return False
    return True
