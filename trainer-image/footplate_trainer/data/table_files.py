"""Reads files of CSV, JSON lines, Parquet and Feather, and puts a split's one under the other, batch by batch, into one
file that is read where it lies instead of in memory.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from footplate_trainer.data.column_names import header_hint
from footplate_trainer.data.table_arrow import BATCH_ROWS, ArrowFile, open_arrow
from footplate_trainer.data.table_csv import TYPES, CsvFile, read_header, survey_csv, type_of
from footplate_trainer.data.table_dialect import NOT_UTF8
from footplate_trainer.data.table_folders import CSV_NAME
from footplate_trainer.data.table_json import JsonFile, survey_json
from footplate_trainer.data.text_lines import is_lines
from footplate_trainer.errors import DataError
from footplate_trainer.rank.report import reporter


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of some files, which lie on the disk, and how many each file has."""

    table: pa.Table
    files: tuple[tuple[Path, int], ...]

    def locate(self, row: int) -> tuple[Path, int]:
        """The file of a row that is counted from 0 here, and its number there from 1, the header left out."""
        for path, count in self.files:
            if row < count:
                return path, row + 1
            row -= count
        raise IndexError(row)

    def place(self, row: int) -> str:
        """The same for people."""
        path, number = self.locate(row)
        return f"row {number:,} of {path}"


TableFile = CsvFile | JsonFile | ArrowFile


class RowFile(Protocol):
    """A file of rows, of whatever kind."""

    @property
    def path(self) -> Path:
        """Where it is."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Its columns."""
        ...

    @property
    def rows(self) -> int:
        """How many it has."""
        ...

    def batches(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Its rows; the columns of `types` alone, in that order."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """The files of one split, the columns that are read of them, and what there is to say of that."""

    files: tuple[RowFile, ...]
    schema: pa.Schema
    said: tuple[str, ...]

    def store(self, path: Path) -> None:
        """Writes all rows into one file.

        Raises:
            DataError: a file can't be read.
        """
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, self.schema) as writer:
            for file in self.files:
                raw = {name.strip(): name for name in file.names}
                types = {raw[field.name]: field.type for field in self.schema}
                for table in _read(file, types, self.schema):
                    writer.write_table(table, BATCH_ROWS)
                    reporter().beat()

    def open(self, path: Path) -> Rows:
        """The rows that `store` has written there."""
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        return Rows(table, tuple((file.path, file.rows) for file in self.files))


def _read(file: RowFile, types: Mapping[str, pa.DataType], schema: pa.Schema) -> Iterator[pa.Table]:
    """A file's rows, with the names and types of `schema`; raises DataError where they can't be read."""
    try:
        for batch in file.batches(types):
            batch.validate(full=True)
            yield pa.Table.from_batches([batch]).select(list(types)).rename_columns(schema.names).cast(schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        said = "it holds texts that aren't UTF-8" if "Invalid UTF8" in said else said
        raise DataError(f"{file.path} can't be read: {said}. Correct or remove it") from None


def read_names(path: Path) -> list[str]:
    """The names of a file's columns.

    Raises:
        DataError: it can't be read.
    """
    try:
        names = read_header(path) if CSV_NAME.fullmatch(path.name) else _survey(path).names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}. Correct or remove it") from None
    return [name.strip() for name in names]


def survey_files(
    paths: Sequence[Path], *, channel: str, like: pa.Schema | None = None, known: Sequence[str] = ()
) -> Source:
    """What the files hold, one under the other; with the columns of `like`, its texts as texts. Of others only those
    that aren't `known` are told.

    A column that holds texts in one file holds texts in all.

    Raises:
        DataError: one can't be read, or their columns differ.
    """
    said: list[str] = []
    files = [_survey_file(path) for path in paths]
    columns = [_columns(file, said) for file in files]
    names = like.names if like else [*columns[0]]
    for path, found in zip(paths, columns, strict=True):
        names_here = [name for name in found if name in names or name not in known]
        _compare_names(path, names_here, names, first=None if like else paths[0], said=said)
    texts = {field.name for field in like if is_text(field.type)} if like else set()
    fields = [
        pa.field(name, _unify(name, [found[name] for found in columns], files, channel, text=name in texts))
        for name in names
    ]
    return Source(tuple(files), pa.schema(fields), tuple(said))


def _survey_file(path: Path) -> TableFile:
    try:
        file = _survey(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}. Correct or remove it") from None
    if not file.rows:
        raise DataError(f"{path} has no rows; fill or remove it")
    return file


def _survey(path: Path) -> TableFile:
    if CSV_NAME.fullmatch(path.name):
        return survey_csv(path)
    return survey_json(path) if is_lines(path) else open_arrow(path)


Kind = tuple[pa.DataType, ...]
"""The types that a column's values fit: one, or of CSV cells those of TYPES that do, none for texts."""


def _columns(file: TableFile, said: list[str]) -> dict[str, Kind]:
    """The columns of a file by their names, without those that have neither name nor values, as a spreadsheet's empty
    columns are.

    Raises:
        DataError: two have the same name.
    """
    kinds = file.fitting if isinstance(file, CsvFile) else [(kind,) for kind in file.types]
    empty = TYPES, (pa.null(),)
    columns = [(name.strip(), kind) for name, kind in zip(file.names, kinds, strict=True)]
    kept = [(name, kind) for name, kind in columns if name or kind not in empty]
    if len(kept) < len(columns):
        said.append(f"{file.path.name}: columns without name and values are left out")
    if isinstance(file, CsvFile) and file.dialect.encoding == NOT_UTF8:
        said.append(
            f"{file.path.name}: isn't UTF-8, read as Windows-1252 (Latin-1); save it as UTF-8 if letters are wrong"
        )
    names = [name for name, _ in kept]
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise DataError(
            f"{file.path} has several columns named {', '.join(map(repr, twice))}; give each its own name"
            f"{header_hint(names)}"
        )
    return dict(kept)


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


def _unify(name: str, kinds: Sequence[Kind], files: Sequence[TableFile], channel: str, *, text: bool) -> pa.DataType:
    """The one type of a column in all files. The cells of CSV files are texts where they must be."""
    places = list(zip(kinds, files, strict=True))
    cells = [kind for kind, file in places if isinstance(file, CsvFile)]
    text = text or any(is_text(kind[0]) for kind, file in places if not isinstance(file, CsvFile))
    together = () if text else tuple(kind for kind in TYPES if all(kind in fitting for fitting in cells))
    unified = pa.schema([(name, pa.null())])
    for kind, file in places:
        here = pa.schema([(name, type_of(together) if isinstance(file, CsvFile) else kind[0])])
        try:
            unified = pa.unify_schemas([unified, here], promote_options="permissive")
        except pa.ArrowException:
            raise DataError(
                f"input {channel}: the files' columns have different types: {name!r} is {unified.types[0]} in "
                f"{files[0].path}, but {here.types[0]} in {file.path}; convert one of them"
            ) from None
    return unified.types[0]


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
