"""Turns a table's columns into the numbers that a network takes.

Numeric columns stay as they are, missing values as NaN; a categorical column becomes the place of its text in a list
that is saved with the model, and 0 for a text that training has not seen; a column of dates becomes several columns.
What is left out or read in a way that its owner may not expect is said in a note.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from footplate.api.recipes import PATH
from footplate_trainer.data.inputs import Column
from footplate_trainer.data.table_csv import CODE
from footplate_trainer.data.table_files import is_text
from footplate_trainer.data.table_numbers import Notation, find_notation, is_missing, read_numbers
from footplate_trainer.data.table_parts import Parts, count_texts, strange_text, telling_text
from footplate_trainer.errors import DataError

MAX_CATEGORIES = 1000
MANY = 1_000_000
"""So many values are looked at to tell whether they all differ."""
UNSEEN = 0
LARGEST = float(np.finfo(np.float32).max)
FAR = 1000.0
"""Numbers whose mean is more than so many standard deviations from 0 are counted from their mean."""
WAY_OUT = f"name it in {PATH}.ignore"
DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([T ].*)?")
"""What people mean for a date, though it may not be one as ISO 8601 has it."""
ID_NAME = re.compile(r"(?i:id|.*[_. -]id)|.*[a-z]I[Dd]")

PARTS = {
    "month": tuple(map(str, range(1, 13))),
    "weekday": tuple(map(str, range(7))),
    "hour": tuple(map(str, range(24))),
}
"""The categories of the parts of a date."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a column of the table becomes, and what there is to say of it, in words that fit several columns."""

    columns: tuple[Column, ...] = ()
    said: str = ""


@dataclass(slots=True)
class Notes:
    """What is said of columns, once for all of which it is true."""

    columns: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, said: str) -> None:
        """Says it of a column."""
        if said:
            self.columns.setdefault(said, []).append(name)

    def texts(self) -> tuple[str, ...]:
        """One text for each thing said."""
        return tuple(f"{_list(names)}: {said}" for said, names in self.columns.items())


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return f"column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names[:5]))}{more}"


def check_types(table: pa.Table) -> None:
    """Raises DataError for a column that is neither numbers, texts nor dates."""
    for name, kind in zip(table.column_names, table.schema.types, strict=True):
        if not (_is_number(kind) or is_text(kind) or _is_date(kind) or pa.types.is_null(kind)):
            raise DataError(
                f"column {name!r} of the training data is of type {kind}; numbers, texts and dates can be learnt "
                f"from. Convert it, or {WAY_OUT}"
            )


def drop_index(table: pa.Table, notes: Notes) -> pa.Table:
    """The table without the row numbers that pandas writes beside the data."""
    for name in table.column_names:
        if _is_index(name, table[name]):
            notes.add(name, "left out: only counts the rows (pandas' index; to_csv(index=False) writes none)")
            table = table.drop_columns([name])
    return table


def _is_index(name: str, values: pa.ChunkedArray) -> bool:
    if not pa.types.is_integer(values.type):
        return False
    if name == "" or name.startswith(("Unnamed: ", "__index_level_")):
        return True
    if name not in ("index", "level_0") or values.null_count:
        return False
    numbers = values.to_numpy()
    return bool(numbers[0] == 0 and np.all((numbers[1:] == numbers[:-1] + 1) | (numbers[1:] == 0)))


def find_notations(table: pa.Table, notes: Notes) -> dict[str, Notation]:
    """The columns of texts that are numbers, and how they write them. Mere digits, stored as texts, stay texts."""
    found = {}
    for name in table.column_names:
        if not is_text(table[name].type):
            continue
        parts = Parts(table[name])
        notation = find_notation(parts.texts())
        if notation and (marked := telling_text(parts)):
            found[name] = notation
            number = read_numbers(pa.chunked_array([[marked]]), notation)[0]
            notes.add(name, f"texts read as numbers, such as {marked[:40]!r} as {number:.15g}")
        elif not notation and (strange := strange_text(parts)) is not None:
            why = f"{strange[:40]!r} is none" if strange else "their signs or decimal marks don't agree"
            notes.add(name, f"most of its values look like numbers, but {why}: each text counts as a category")
    return found


def learn_columns(
    table: pa.Table, notations: Mapping[str, Notation], notes: Notes, *, rows: Tensor | None = None
) -> tuple[Column, ...]:
    """What the columns of the training data become: the numeric ones first, then the categorical ones with their texts.

    `rows`, bool [N], are those of the table that are trained on; None: all.

    Raises:
        DataError: a column can't be read as what it is, or none is left.
    """
    columns: list[Column] = []
    for name in table.column_names:
        learnt = _learn_column(name, Parts(table[name], rows), notations.get(name))
        columns += learnt.columns
        notes.add(name, learnt.said)
    if not columns:
        raise DataError(f"no column is left to learn from; {'; '.join(notes.texts())}")
    return tuple(sorted(columns, key=lambda column: column.categories is not None))


def _learn_column(name: str, parts: Parts, notation: Notation | None) -> Learnt:
    if not any(map(_holds_values, parts)):
        return Learnt(said="left out, without values")
    kind = parts.column.type
    if _is_date(kind):
        taken = [part for part in PARTS if part != "hour" or pa.types.is_timestamp(kind)]
        columns = (_number(Column(name=name, part="time"), parts), *(_part(name, part) for part in taken))
        return Learnt(columns, f"dates become time, {' and '.join(taken)}")
    if _is_number(kind):
        said = f"looks like an id, as all its values differ, and is learnt as a quantity; {WAY_OUT} if it is an id"
        return Learnt((_number(Column(name=name), parts),), said if _is_id(name, parts.column) else "")
    if notation:
        return Learnt((_number(Column(name=name, decimal=notation.decimal, unit=notation.unit), parts),))
    return _learn_texts(name, parts)


def _is_id(name: str, values: pa.ChunkedArray) -> bool:
    """Whether it is named so, and its values differ, as far as that can be held."""
    named = pa.types.is_integer(values.type) and ID_NAME.fullmatch(name)
    first = values[:MANY]
    return bool(named) and len(first.unique()) == len(first)


def _part(name: str, part: str) -> Column:
    return Column.model_validate({"name": name, "part": part, "categories": PARTS[part]})


def _holds_values(values: pa.ChunkedArray) -> bool:
    if is_text(values.type):
        return not all(map(is_missing, values.cast(pa.string()).unique().to_pylist()))
    known = len(values) - values.null_count
    return known > 0 and not (pa.types.is_floating(values.type) and bool(pc.all(pc.is_nan(values)).as_py()))


def _number(column: Column, parts: Parts) -> Column:
    """The column with the origin that its numbers need."""
    count, mean, squares = 0, 0.0, 0.0
    for values in parts:
        numbers = _read_as(column, values)
        known = numbers[~np.isnan(numbers)]
        if np.abs(known).max(initial=0) > LARGEST:
            raise DataError(
                f"column {column.name!r} of the training data has infinite values, or some beyond ±{LARGEST:.0e}; "
                f"correct them, or {WAY_OUT}"
            )
        if len(known):  # joined with those before, as Chan, Golub and LeVeque do it
            count += len(known)
            share, away = len(known) / count, float(known.mean()) - mean
            mean += away * share
            squares += float(known.var()) * len(known) + away**2 * len(known) * (1 - share)
    spread = math.sqrt(squares / count)
    return column.model_copy(update={"origin": mean}) if abs(mean) > FAR * spread > 0 else column


def _learn_texts(name: str, parts: Parts) -> Learnt:
    texts = count_texts(parts)
    counts = texts.counts
    dates = sum(DATE.fullmatch(text.strip()) is not None for text in counts)
    hint = ""
    if 2 * dates > len(counts):
        hint = "; its texts look like dates: write them as 2026-11-29 to have them read so"
    elif 2 * sum(re.match(CODE, text) is not None for text in counts) > len(counts):
        hint = "; whole numbers with leading zeros are read as codes"
    if texts.different <= MAX_CATEGORIES:
        said = f"each text counts as a category{hint}" if hint else ""
        return Learnt((Column(name=name, categories=tuple(sorted(counts))),), said)
    if max(counts.values(), default=1) == 1:
        each = "each" if texts.exact else "nearly each"
        return Learnt(said=f"left out, as {each} row has a text of its own, as names and ids are{hint}")
    commonest = sorted(counts, key=lambda text: (-counts[text], text))[:MAX_CATEGORIES]
    said = (
        f"of {texts.different:,}{'' if texts.exact else ' or more'} different texts the {len(commonest):,} commonest "
        f"are told apart; {WAY_OUT} if it is an id{hint}"
    )
    return Learnt((Column(name=name, categories=tuple(sorted(commonest))),), said)


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def _is_date(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def encode(table: pa.Table, columns: Sequence[Column]) -> Tensor:
    """The table's rows as float32 [N, columns], in the order of `columns`.

    Raises:
        DataError: where the table lacks a column, or one can't be read as what it is.
    """
    values = dict(zip(table.column_names, table.columns, strict=True))
    parts = [_encode_column(values, column) for column in columns]
    return torch.from_numpy(np.stack(parts, axis=1))


def _encode_column(values: Mapping[str, pa.ChunkedArray], column: Column) -> NDArray[np.float32]:
    if column.name not in values:
        raise DataError(f"the data lack the column {column.name!r}; the model needs it")
    numbers = _read_as(column, values[column.name])
    if np.abs(numbers[~np.isnan(numbers)]).max(initial=0) > LARGEST:
        raise DataError(f"column {column.name!r} has infinite values, or some beyond ±{LARGEST:.0e}; correct them")
    return (numbers - column.origin).astype(np.float32)


def _read_as(column: Column, values: pa.ChunkedArray) -> NDArray[np.float64]:
    """The column's numbers, or the codes of its categories."""
    try:
        if column.part:
            values = _part_of(values, column.part)
        if column.categories is None:
            return _numbers(values, Notation(column.decimal, column.unit))
        codes = pc.index_in(values.cast(pa.string()), pa.array(column.categories, pa.string()))
        return np.asarray(pc.add(pc.fill_null(codes, UNSEEN - 1), 1), dtype=np.float64)
    except (pa.ArrowException, ValueError) as error:
        kind = "dates" if column.part else "numbers" if column.categories is None else "texts"
        raise DataError(
            f"column {column.name!r} should hold {kind}: {error}. Correct it; if it holds ids, {WAY_OUT}"
        ) from None


def _numbers(values: pa.ChunkedArray, notation: Notation) -> NDArray[np.float64]:
    if is_text(values.type):
        return read_numbers(values, notation)
    if notation.unit == "%" and values.null_count < len(values):
        raise ValueError("the training data write them with a percent sign, these are without")
    return np.asarray(values.cast(pa.float64()), dtype=np.float64)


def _part_of(values: pa.ChunkedArray, part: str) -> pa.ChunkedArray:
    """Seconds since 1970 in UTC, or a part of the date, of dates or of texts that are dates as ISO 8601 has them."""
    if not (is_text(values.type) or _is_date(values.type) or pa.types.is_null(values.type)):
        raise ValueError(f"the training data write them as dates, these are {values.type}")
    if is_text(values.type):
        zoned = pc.any(pc.match_substring_regex(values, r"[T ].*(Z|[+-]\d\d:?\d\d)$")).as_py()
    else:
        zoned = pa.types.is_timestamp(values.type) and values.type.tz is not None
    kind = pa.timestamp("us", "UTC") if zoned else pa.timestamp("us")
    times = values.cast(kind, safe=False).cast(pa.timestamp("us"))
    if part == "time":
        return pc.divide(times.cast(pa.int64()).cast(pa.float64(), safe=False), 1e6)
    take = {"month": pc.month, "weekday": pc.day_of_week, "hour": pc.hour}[part]
    return take(times)
