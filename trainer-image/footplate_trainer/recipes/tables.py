"""Reads labelled tables, CSV or Parquet, and turns their columns into the numbers that a network takes.

Numeric columns stay as they are, missing values as NaN; a categorical column becomes the place of its text in a list
that is saved with the model, and 0 for a text that training has not seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import torch
from numpy.typing import NDArray
from torch import Tensor

from footplate.api.errors import nearest
from footplate.api.recipes import PATH
from footplate_trainer.cards import Column
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.recipes.splits import TEST, TRAIN, VALIDATION, check_classes, hold_out

SUFFIXES = (".csv", ".csv.gz", ".parquet")
MAX_CATEGORIES = 1000
UNSEEN = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled rows: columns float32 [N, numeric + categorical], labels int64 [N]."""

    columns: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def pick(self, indices: Tensor) -> "Rows":
        """The rows at `indices` alone."""
        return Rows(self.columns[indices], self.labels[indices])


@dataclass(frozen=True, slots=True)
class TableSplits:
    """All the data of a run; validation and test are None where nothing is held out."""

    columns: tuple[Column, ...]
    classes: tuple[str, ...]
    train: Rows
    validation: Rows | None
    test: Rows | None


def read_splits(
    inputs: Mapping[str, Path],
    *,
    target: str,
    ignore: Sequence[str],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
) -> TableSplits:
    """Reads every channel, learns the columns from the training data, and holds out of it what no channel brings.

    Raises:
        DataError: naming the file or column, what is wrong with it, and the way out.
        ConfigError: where `target` or `ignore` name columns that aren't there.
    """
    table = read_channel(inputs[TRAIN], channel=TRAIN)
    _check_names(table, target, ignore)
    features = table.drop_columns([target, *ignore])
    labels = _texts(table, target, channel=TRAIN)
    classes = tuple(sorted(set(labels), key=_in_order))
    numbers = _labels(labels, classes, channel=TRAIN)
    check_classes(numbers, where=f"column {target!r} of input {TRAIN}")
    parts: dict[str, tuple[pa.Table, Tensor]] = {}
    for split in (VALIDATION, TEST):
        if split in inputs:
            other = read_channel(inputs[split], channel=split, like=table.schema)
            parts[split] = other, _labels(_texts(other, target, channel=split), classes, channel=split)
    for split, fraction in ((TEST, test_fraction), (VALIDATION, validation_fraction)):
        if split not in parts and fraction > 0:
            kept, held = hold_out(numbers, fraction, seed=seed)
            if len(held):
                parts[split] = features.take(held.numpy()), numbers[held]
                features, numbers = features.take(kept.numpy()), numbers[kept]
    columns = learn_columns(features)
    rows = {split: Rows(encode(part, columns), part_labels) for split, (part, part_labels) in parts.items()}
    return TableSplits(columns, classes, Rows(encode(features, columns), numbers), rows.get(VALIDATION), rows.get(TEST))


def read_channel(folder: Path, *, channel: str, like: pa.Schema | None = None) -> pa.Table:
    """All CSV and Parquet files below a channel's folder, one under the other; with the column types of `like`.

    Raises:
        DataError: where there are none, one can't be read, or their columns differ.
    """
    files = (
        sorted(path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES)) if folder.is_dir() else []
    )
    if not files:
        raise DataError(
            f"input {channel}: {folder} holds no {', '.join(SUFFIXES)} files; "
            "check the input's uri, and that it ends in '/' if it is a folder"
        )
    tables: list[pa.Table] = []
    for path in files:
        tables.append(_read_file(path, tables[0].schema if tables else like))
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"input {channel}: the files' columns have different types: {error}") from None


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
            f"{path} lacks the columns {', '.join(map(repr, missing[:5]))} that the first file has; add them"
        )
    return table.select(like.names) if like else table


def _read_csv(path: Path, like: pa.Schema | None) -> pa.Table:
    """Texts of the first file stay texts in all others, even where all of them look like numbers."""
    texts = {field.name: field.type for field in like if _is_text(field.type)} if like else None
    return pa.csv.read_csv(path, convert_options=pa.csv.ConvertOptions(column_types=texts))


def _check_names(table: pa.Table, target: str, ignore: Sequence[str]) -> None:
    for key, name in (("target", target), *(("ignore", name) for name in ignore)):
        if name not in table.column_names:
            near = nearest(name, table.column_names)
            hint = f"; {near}" if near else "."
            raise DataError(
                f"{PATH}.{key}: the training data has no column {name!r}{hint} "
                f"It has {', '.join(map(repr, table.column_names[:20]))}"
            )
    if target in ignore:
        raise ConfigError(f"{PATH}.ignore names the target column {target!r}; leave it out there")
    if len(set(ignore)) != len(ignore):
        raise ConfigError(f"{PATH}.ignore names a column twice; name it once")
    if table.num_columns == 1 + len(ignore):
        raise DataError(f"the training data has no column besides the target {target!r} and those ignored")


def _texts(table: pa.Table, target: str, *, channel: str) -> list[str]:
    column = table[target]
    if column.null_count:
        raise DataError(
            f"input {channel}: the target column {target!r} is empty in {column.null_count:,} of {len(column):,} rows; "
            "remove those rows"
        )
    return list(map(str, column.to_pylist()))


def _in_order(text: str) -> tuple[int, float, str]:
    """Classes that are numbers in the order of numbers, before all others."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def _labels(texts: Sequence[str], classes: Sequence[str], *, channel: str) -> Tensor:
    places = {name: place for place, name in enumerate(classes)}
    unknown = sorted(set(texts) - set(places))
    if unknown:
        raise DataError(
            f"input {channel} has classes that the training data lacks: {', '.join(unknown[:5])}; "
            "a model can't know what it was not trained on"
        )
    return torch.tensor([places[text] for text in texts])


def learn_columns(table: pa.Table) -> tuple[Column, ...]:
    """What each column of the training data is: the numeric ones first, then the categorical ones with their texts.

    Raises:
        DataError: for a column that is neither, or has more than `MAX_CATEGORIES` texts, as names and ids do.
    """
    columns = [_learn_column(name, table[name]) for name in table.column_names]
    return tuple(sorted(columns, key=lambda column: column.categories is not None))


def _learn_column(name: str, values: pa.ChunkedArray) -> Column:
    way_out = f"name it in {PATH}.ignore"
    if _is_number(values.type):
        if pc.any(pc.is_inf(values.cast(pa.float64()))).as_py():
            raise DataError(f"column {name!r} of the training data has infinite values; correct them, or {way_out}")
        return Column(name=name)
    if not _is_text(values.type):
        raise DataError(
            f"column {name!r} of the training data is of type {values.type}; numbers and texts can be learnt from. "
            f"Convert it, or {way_out}"
        )
    texts = sorted(text for text in values.cast(pa.string()).unique().to_pylist() if text is not None)
    if len(texts) > MAX_CATEGORIES:
        raise DataError(
            f"column {name!r} of the training data has {len(texts):,} different texts, as names and ids do; "
            f"the most is {MAX_CATEGORIES:,}. If it should be numbers, correct the rows that aren't; else {way_out}"
        )
    return Column(name=name, categories=tuple(texts))


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def encode(table: pa.Table, columns: Sequence[Column]) -> Tensor:
    """The table's rows as float32 [N, columns], in the order of `columns`.

    Raises:
        DataError: where the table lacks a column, or one can't be read as what it is.
    """
    parts = [_encode_column(table, column) for column in columns]
    return torch.from_numpy(np.stack(parts, axis=1))


def _encode_column(table: pa.Table, column: Column) -> NDArray[np.float32]:
    if column.name not in table.column_names:
        raise DataError(f"the data lack the column {column.name!r}; the model needs it")
    values = table[column.name]
    try:
        if column.categories is None:
            numbers = values.cast(pa.float64())
        else:
            codes = pc.index_in(values.cast(pa.string()), pa.array(column.categories, pa.string()))
            numbers = pc.add(pc.fill_null(codes, UNSEEN - 1), 1)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        kind = "numbers" if column.categories is None else "texts"
        raise DataError(f"column {column.name!r} should hold {kind}: {error}") from None
    return np.asarray(numbers, dtype=np.float32)
