"""Reads a channel's CSV, Parquet and Feather files into memory, each split's one under the other.

A channel holds one split, or several whose names tell them apart (`train.csv` and `test.csv`, `train/a.parquet`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from footplate_trainer.errors import DataError
from footplate_trainer.recipes.pictures import is_hidden
from footplate_trainer.recipes.splits import SPLIT_OF_NAME
from footplate_trainer.recipes.table_dialect import NOT_UTF8, Dialect, find_dialect, open_text

CSV_NAME = re.compile(r".*\.(csv|tsv)(\.(gz|zst|bz2))?", re.IGNORECASE)
PARQUET = (".parquet", ".pq")
FEATHER = (".feather", ".arrow")
KINDS = "CSV, TSV, Parquet or Feather"
LARGEST_BLOCK = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of some files, how many each of them has, and what there is to say of how they were read."""

    table: pa.Table
    files: tuple[tuple[Path, int], ...]
    said: tuple[str, ...] = ()

    def place(self, row: int) -> str:
        """Where a row is, counted from 0 here and from 1 in the files, the header left out."""
        for path, count in self.files:
            if row < count:
                return f"row {row + 1:,} of {path}"
            row -= count
        raise IndexError(row)


def find_files(folder: Path, *, channel: str, said: list[str]) -> dict[str, list[Path]]:
    """The files below a channel's folder, by the split that their names say.

    Files whose names say nothing are of the channel's own split, unless others are named as that one and as another;
    and so are all where only one split is named.

    Args:
        said: what there is to say of files that are left out is appended.

    Raises:
        DataError: there are none.
    """
    there = sorted(path for path in folder.rglob("*") if _is_visible(path, folder)) if folder.is_dir() else []
    files = [path for path in there if is_table(path)]
    if not files:
        raise DataError(
            f"input {channel}: {folder} holds no {KINDS} files (.csv, .csv.gz, .parquet, …); "
            "check the input's uri, and that it ends in '/' if it is a folder"
        )
    if others := [path for path in there if path not in set(files)]:
        said.append(f"input {channel}: left out, as no {KINDS} files: {_list(others)}")
    named: dict[str | None, list[Path]] = {}
    for path in files:
        named.setdefault(_split_of(path.relative_to(folder)), []).append(path)
    unnamed = named.pop(None, [])
    if len(named) > 1 and channel in named and unnamed:
        said.append(f"input {channel}: left out, as other files are named as splits: {_list(unnamed)}")
        unnamed = []
    found = {str(split): paths for split, paths in named.items()}
    if unnamed:
        found[channel] = sorted([*found.get(channel, []), *unnamed])
    return found if len(found) > 1 else {channel: files}


def is_table(path: Path) -> bool:
    """Whether the file's name is one of a table that can be read."""
    return bool(CSV_NAME.fullmatch(path.name)) or path.suffix.lower() in (*PARQUET, *FEATHER)


def _is_visible(path: Path, folder: Path) -> bool:
    """Whether it is a file, and no copy that a notebook or an archiver made beside the data."""
    return not path.is_dir() and not any(is_hidden(part) for part in path.relative_to(folder).parts)


def _list(paths: list[Path]) -> str:
    more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
    return ", ".join(path.name for path in paths[:3]) + more


def _split_of(path: Path) -> str | None:
    """What a file's folders say, the outermost first, and then the words of its name."""
    words = re.split(r"[-_. ]+", path.name.lower())
    said = [SPLIT_OF_NAME.get(word) for word in (*(part.lower() for part in path.parts[:-1]), *words)]
    return next((split for split in said if split), None)


def read_names(path: Path) -> list[str]:
    """The names of a file's columns.

    Raises:
        DataError: it can't be read.
    """
    names: list[str] = _read_file(path, (), []).column_names
    return names


def read_files(files: list[Path], *, channel: str, like: pa.Schema | None = None) -> Rows:
    """The files, one under the other; with the columns of `like`, and its texts as texts.

    A column that holds texts in one file holds texts in all.

    Raises:
        DataError: one can't be read, or their columns differ.
    """
    said: list[str] = []
    texts = {field.name for field in like if is_text(field.type)} if like else set()
    tables = [_read_file(path, texts, said) for path in files]
    if late := {name for table in tables for name in _texts(table) if name not in texts}:
        tables = [
            _read_file(path, texts | late, []) if CSV_NAME.fullmatch(path.name) and late - {*_texts(table)} else table
            for path, table in zip(files, tables, strict=True)
        ]
    names = like.names if like else tables[0].column_names
    for path, table in zip(files, tables, strict=True):
        _compare_names(path, table.column_names, names, first=None if like else files[0], said=said)
    tables = [table.select(names) for table in tables]
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        raise DataError(f"input {channel}: the files' columns have different types: {_clash(files, tables)}") from None
    counts = tuple(zip(files, (part.num_rows for part in tables), strict=True))
    return Rows(table, counts, tuple(said))


def _compare_names(path: Path, names: list[str], needed: list[str], *, first: Path | None, said: list[str]) -> None:
    """Raises DataError where a file lacks columns, or has more than the first of its split; `first` is None where it
    is of another split than the training data's.
    """
    missing = [name for name in needed if name not in names]
    more = [name for name in names if name not in needed]
    if missing or (more and first):
        verb, columns, other = ("lacks", missing, "has") if missing else ("has", more, "lacks")
        raise DataError(
            f"{path} {verb} the columns {', '.join(map(repr, columns[:5]))} that {first or 'the training data'} "
            f"{other}; make them alike, or take the file out of the input"
        )
    if more:
        said.append(f"{path.name}: columns left out that the training data hasn't: {', '.join(map(repr, more[:5]))}")


def _clash(files: list[Path], tables: list[pa.Table]) -> str:
    """The first column whose types don't go together, and where."""
    for name in tables[0].column_names:
        for path, table in zip(files, tables, strict=True):
            kinds = [tables[0].schema.field(name).type, table.schema.field(name).type]
            try:
                pa.unify_schemas([pa.schema([(name, kind)]) for kind in kinds], promote_options="permissive")
            except pa.ArrowException:
                return f"{name!r} is {kinds[0]} in {files[0]}, but {kinds[1]} in {path}; convert one of them"
    return "convert them"


def _texts(table: pa.Table) -> Iterable[str]:
    return (field.name for field in table.schema if is_text(field.type))


def _read_file(path: Path, texts: Iterable[str], said: list[str]) -> pa.Table:
    try:
        if path.suffix.lower() in PARQUET:
            table = pa.parquet.ParquetFile(path).read()
        elif path.suffix.lower() in FEATHER:
            table = pa.feather.read_table(path)
        else:
            table = _read_csv(path, texts, said)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}. Correct or remove it") from None
    table = table.rename_columns([name.strip() for name in table.column_names])
    table = _without_nameless(path, table, said)
    names = table.column_names
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(
            f"{path} has several columns named {', '.join(map(repr, twice))}; give each its own name"
            f"{header_hint(names)}"
        )
    if not table.num_rows:
        raise DataError(f"{path} has no rows; fill or remove it")
    return _plain(table)


def header_hint(names: list[str]) -> str:
    """What to think of where the names of columns look like cells."""
    numbers = sum(re.fullmatch(r"[+-]?\d+([.,]\d+)?", name) is not None for name in names)
    if 2 * numbers <= len(names):
        return ""
    return ". Its first line looks like data: add a line with the columns' names above it"


def _without_nameless(path: Path, table: pa.Table, said: list[str]) -> pa.Table:
    """The table without columns that have neither name nor values, as a spreadsheet's empty columns are."""
    kept = [place for place, field in enumerate(table.schema) if field.name or not pa.types.is_null(field.type)]
    if len(kept) < table.num_columns:
        said.append(f"{path.name}: columns without name and values are left out")
    return table.select(kept)


def _read_csv(path: Path, texts: Iterable[str], said: list[str]) -> pa.Table:
    """In one block: a column's type follows from all its cells, and a cell of several lines is never cut in two."""
    dialect = find_dialect(path)
    with open_text(path) as stream:
        content = stream.read_buffer()
    if dialect.encoding == NOT_UTF8:
        said.append(f"{path.name}: isn't UTF-8, read as Windows-1252 (Latin-1); save it as UTF-8 if letters are wrong")
    table = pa.csv.read_csv(
        pa.BufferReader(content),
        read_options=pa.csv.ReadOptions(
            block_size=min(2 * content.size + 1, LARGEST_BLOCK),
            encoding=dialect.encoding,
            skip_rows=dialect.lines_before,
        ),
        parse_options=_parse_options(dialect),
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string())),
    )
    last = table.columns[-1][-1].as_py() if table.num_rows else None
    if isinstance(last, str) and "\n" in last and not dialect.ends_in_quote:
        raise ValueError(f"the quote that is opened in row {table.num_rows:,} is never closed")
    return table


def _parse_options(dialect: Dialect) -> pa.csv.ParseOptions:
    return pa.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True)


def _plain(table: pa.Table) -> pa.Table:
    """The table with Arrow's packed columns unpacked: views, dictionaries of numbers, runs."""
    columns = []
    for values in table.columns:
        kind = values.type
        if pa.types.is_run_end_encoded(kind):
            values = pa.chunked_array([pc.run_end_decode(chunk) for chunk in values.chunks], kind.value_type)
        elif pa.types.is_dictionary(kind) and not is_text(kind):
            values = values.cast(kind.value_type)
        if pa.types.is_string_view(values.type):
            values = values.cast(pa.string())
        columns.append(values)
    return pa.table(columns, names=table.column_names)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
