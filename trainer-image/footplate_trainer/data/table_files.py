"""Reads a channel's CSV and Parquet files into memory, each split's one under the other.

A channel holds one split, or several whose names tell them apart (`train.csv` and `test.csv`, `train/a.parquet`).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from footplate_trainer.data.splits import SPLIT_OF_NAME
from footplate_trainer.errors import DataError

SUFFIXES = (".csv", ".csv.gz", ".parquet")
LARGEST_BLOCK = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of some files, and how many each of them has."""

    table: pa.Table
    files: tuple[tuple[Path, int], ...]

    def place(self, row: int) -> str:
        """Where a row is, counted from 0 here and from 1 in the files, the header left out."""
        for path, count in self.files:
            if row < count:
                return f"row {row + 1:,} of {path}"
            row -= count
        raise IndexError(row)


def find_files(folder: Path, *, channel: str) -> dict[str, list[Path]]:
    """The files below a channel's folder, by the split that their names say.

    Files whose names say nothing are of the channel's own split, and so are all where only one split is named.

    Raises:
        DataError: there are none.
    """
    named = (path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES)) if folder.is_dir() else ()
    files = sorted(path for path in named if not _is_hidden(path.relative_to(folder)))
    if not files:
        raise DataError(
            f"input {channel}: {folder} holds no {', '.join(SUFFIXES)} files; "
            "check the input's uri, and that it ends in '/' if it is a folder"
        )
    found: dict[str, list[Path]] = {}
    for path in files:
        found.setdefault(_split_of(path.relative_to(folder)) or channel, []).append(path)
    return found if len(found) > 1 else {channel: files}


def _is_hidden(path: Path) -> bool:
    """Whether it is a copy that a notebook or an archiver made beside the data."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _split_of(path: Path) -> str | None:
    """What a file's folders say, the outermost first, and then the words of its name."""
    words = re.split(r"[-_. ]+", path.name.lower())
    said = [SPLIT_OF_NAME.get(word) for word in (*(part.lower() for part in path.parts[:-1]), *words)]
    return next((split for split in said if split), None)


def read_files(files: list[Path], *, channel: str, like: pa.Schema | None = None) -> Rows:
    """The files, one under the other; with the columns of `like`, and its texts as texts.

    Raises:
        DataError: one can't be read, or their columns differ.
    """
    tables: list[pa.Table] = []
    for path in files:
        tables.append(_read_file(path, tables[0].schema if tables else like))
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"input {channel}: the files' columns have different types: {error}") from None
    return Rows(table, tuple(zip(files, (part.num_rows for part in tables), strict=True)))


def _read_file(path: Path, like: pa.Schema | None) -> pa.Table:
    try:
        table = pa.parquet.read_table(path) if path.suffix.lower() == ".parquet" else _read_csv(path, like)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} can't be read: {error}. Correct or remove it") from None
    names = table.column_names
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"{path} has several columns named {', '.join(map(repr, twice))}; give each its own name")
    if not table.num_rows:
        raise DataError(f"{path} has no rows; fill or remove it")
    missing = [name for name in like.names if name not in names] if like else []
    if missing:
        raise DataError(
            f"{path} lacks the columns {', '.join(map(repr, missing[:5]))} that the first file has; add them, "
            "or take the file out of the input"
        )
    return _without_views(table.select(like.names) if like else table)


def _read_csv(path: Path, like: pa.Schema | None) -> pa.Table:
    """In one block: a column's type follows from all its cells, and a cell of several lines is never cut in two.

    Texts of the first file stay texts in all others, even where all of them look like numbers.
    """
    texts = {field.name: field.type for field in like if is_text(field.type)} if like else None
    with pa.input_stream(str(path)) as stream:
        content = stream.read_buffer()
    return pa.csv.read_csv(
        pa.BufferReader(content),
        read_options=pa.csv.ReadOptions(block_size=min(content.size + 1, LARGEST_BLOCK)),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(column_types=texts),
    )


def _without_views(table: pa.Table) -> pa.Table:
    """Arrow's string views as plain texts: rows can't be taken from views."""
    fields = [field.with_type(pa.string()) if pa.types.is_string_view(field.type) else field for field in table.schema]
    return table.cast(pa.schema(fields))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
