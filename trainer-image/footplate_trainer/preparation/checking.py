"""Whether data are what `spec.data.checks` says: each cell that isn't is counted, the first ten are shown. Pure."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from footplate.api.data_checks import Checks, ColumnCheck, ColumnType, Constraints, whole
from footplate.api.errors import nearest
from footplate_trainer.data.table_files import is_text
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.preparation.cells import (
    BOOLEAN,
    DATE,
    INTEGER,
    NUMBER,
    as_moments,
    as_numbers,
    as_texts,
    dictionary_encode,
    is_missing,
    is_number,
    is_plain,
    parse_times,
    rows_where,
    show,
)
from footplate_trainer.preparation.report import SHOWN, Example, Violation

Place = Callable[[int], tuple[str, int]]
"""The file of a row, and its number there from 1."""
Mask: TypeAlias = pa.ChunkedArray


def check(table: pa.Table, checks: Checks, place: Place, duplicates: Callable[[], int]) -> list[Violation]:
    """What the rows break.

    Args:
        table: all rows.
        checks: what they must be.
        place: tells where a row is.
        duplicates: how many repeat an earlier one; asked for where a check needs it.

    Raises:
        DataError: a column that is to be checked isn't there, or holds lists or objects.
        ConfigError: a pattern is too large.
    """
    found = [*_whole(table, checks, duplicates)]
    for column in checks.columns:
        found += check_column(_find(table, column.name), column, place)
    return found


def _whole(table: pa.Table, checks: Checks, duplicates: Callable[[], int]) -> Iterator[Violation]:
    rows = table.num_rows
    if checks.min_rows is not None and rows < checks.min_rows:
        yield Violation(rule=f"minRows: {checks.min_rows} ({rows:,} rows are there)", count=1)
    if checks.max_duplicates is not None and (repeated := duplicates()) > checks.max_duplicates * rows:
        share = f"{repeated / rows:.3g} of the rows repeat an earlier one"
        yield Violation(rule=f"maxDuplicates: {checks.max_duplicates:g} ({share})", count=repeated)


def _find(table: pa.Table, name: str) -> pa.ChunkedArray:
    names = table.schema.names
    if name not in names:
        near = nearest(name, names)
        raise DataError(
            f"data.checks.columns[{name}]: there is no such column{f'; {near}' if near else '.'} The data have "
            f"{', '.join(map(repr, names[:20]))}"
        )
    column = table.column(name)
    if pa.types.is_null(column.type):  # of which no cell has a value
        return column.cast(pa.string())
    if not is_plain(column.type):
        raise DataError(
            f"data.checks.columns[{name}]: its cells are of type {column.type}, which can't be checked; leave it out"
        )
    return column


def check_column(column: pa.ChunkedArray, asked: ColumnCheck, place: Place) -> list[Violation]:
    """What the cells of one column break."""
    missing = is_missing(column)
    found = []
    for rule, broken in _broken(column, missing, asked):
        count = pc.sum(broken).as_py() or 0
        if count:
            rows = _first(broken)
            shown = [_example(column, row, place) for row in rows]
            found.append(Violation(column=asked.name, rule=rule, count=count, examples=shown))
    return found


def _first(broken: Mask) -> Sequence[int]:
    return rows_where(broken)[:SHOWN]


def _example(column: pa.ChunkedArray, row: int, place: Place) -> Example:
    file, number = place(row)
    return Example(file=file, row=number, value=show(column[row]))


def _broken(column: pa.ChunkedArray, missing: Mask, asked: ColumnCheck) -> Iterator[tuple[str, Mask]]:
    """Each rule, and which cells break it. Those without a value break `required` alone."""
    rules = asked.constraints
    if rules.required:
        yield "required", missing
    present = pc.invert(missing)
    if asked.type is not None:
        yield f"type: {asked.type}", pc.and_not(present, _is_of(column, asked.type))
    for rule, holds in _constraints(column, rules):
        yield rule, pc.and_not(present, pc.fill_null(holds, fill_value=False))
    if rules.unique:
        yield "unique", pc.and_(present, _repeated(column))


def _is_of(column: pa.ChunkedArray, kind: ColumnType) -> Mask:
    """Which cells are of a type. A text is what it says; a number without a fraction is an integer; every value is a
    text."""
    stored = column.type
    if kind == "string":
        return _all(column)
    if is_text(stored):
        return _says(column, kind)
    if kind == "number" and is_number(stored):
        return _all(column)
    if kind == "integer" and is_number(stored):
        return _all(column) if pa.types.is_integer(stored) else _is_whole(column)
    if kind == "boolean" and pa.types.is_boolean(stored):
        return _all(column)
    if kind == "boolean" and pa.types.is_integer(stored):
        return pc.is_in(column, value_set=pa.array([0, 1], stored))
    if kind == "date" and pa.types.is_date(stored):
        return _all(column)
    if kind == "datetime" and (pa.types.is_timestamp(stored) or pa.types.is_date(stored)):
        return _all(column)
    return pc.invert(_all(column))


def _says(column: pa.ChunkedArray, kind: ColumnType) -> Mask:
    if kind in ("date", "datetime"):
        times = parse_times(column)
        is_date = pc.match_substring_regex(column, DATE)
        return pc.and_(pc.is_valid(times), is_date) if kind == "date" else pc.is_valid(times)
    patterns = {"integer": INTEGER, "number": NUMBER, "boolean": BOOLEAN}
    return pc.fill_null(pc.match_substring_regex(column, patterns[kind]), fill_value=False)


def _is_whole(column: pa.ChunkedArray) -> Mask:
    numbers = as_numbers(column)
    return pc.fill_null(pc.and_(pc.is_finite(numbers), pc.equal(pc.floor(numbers), numbers)), fill_value=False)


def _all(column: pa.ChunkedArray) -> Mask:
    return pa.chunked_array([pa.array(np.ones(len(column), bool))])


def _constraints(column: pa.ChunkedArray, rules: Constraints) -> Iterator[tuple[str, Mask]]:
    """Each rule about a value, and which cells keep it."""
    for rule, bound, holds in (
        ("minimum", rules.minimum, pc.greater_equal),
        ("maximum", rules.maximum, pc.less_equal),
    ):
        if bound is not None:
            yield f"{rule}: {repr(bound).removesuffix('.0')}", holds(*_comparable(column, bound))
    for rule, moment, holds in (
        ("earliest", rules.earliest, pc.greater_equal),
        ("latest", rules.latest, pc.less_equal),
    ):
        if moment is not None:
            yield f"{rule}: {moment}", holds(as_moments(column), as_moments(pa.chunked_array([[moment]]))[0])
    if rules.min_length is not None or rules.max_length is not None:
        lengths = pc.utf8_length(as_texts(column))
        if rules.min_length is not None:
            yield f"minLength: {rules.min_length}", pc.greater_equal(lengths, rules.min_length)
        if rules.max_length is not None:
            yield f"maxLength: {rules.max_length}", pc.less_equal(lengths, rules.max_length)
    if rules.pattern is not None:
        yield f"pattern: {rules.pattern}", _matches(as_texts(column), rules.pattern)
    if rules.enum is not None:
        yield f"enum: {', '.join(rules.enum)}"[:256], _is_one_of(column, rules.enum)


def _matches(column: pa.ChunkedArray, pattern: str) -> Mask:
    try:
        return pc.match_substring_regex(column, whole(pattern))
    except pa.ArrowInvalid as error:  # it takes more when it is compiled for all of Unicode
        raise ConfigError(
            f"data.checks: pattern {pattern!r} can't be matched: {error}; write it shorter, such as without the counts "
            "that minLength and maxLength can hold"
        ) from None


def _comparable(column: pa.ChunkedArray, bound: float) -> tuple[pa.ChunkedArray, float | int]:
    """The cells and a bound as numbers; whole ones beside a whole bound exactly, which float64 can't hold all."""
    if pa.types.is_integer(column.type) and bound.is_integer() and abs(bound) < 2**63:
        if not pa.types.is_uint64(column.type):
            return column.cast(pa.int64()), int(bound)
        if bound >= 0:
            return column, pa.scalar(int(bound), pa.uint64())
    return as_numbers(column), bound


def _is_one_of(column: pa.ChunkedArray, values: Sequence[str]) -> Mask:
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        moments = as_moments(pa.chunked_array([pa.array(values, pa.string())]))
        return pc.is_in(as_moments(column), value_set=moments.combine_chunks())
    if not is_number(column.type):
        return pc.is_in(as_texts(column), value_set=pa.array(values, as_texts(column).type))
    numbers = as_numbers(pa.chunked_array([pa.array(values, pa.string())]))
    return pc.is_in(as_numbers(column), value_set=numbers.combine_chunks())


def _repeated(column: pa.ChunkedArray) -> Mask:
    """Which cells hold a value that an earlier one holds."""
    codes = dictionary_encode(column)[1]
    firsts = np.zeros(len(codes), bool)
    firsts[np.unique(codes, return_index=True)[1]] = True
    return pa.chunked_array([pa.array(~firsts)])


def words(found: Sequence[Violation], *, where: str) -> str:
    """What a run that ends so says: the first rules in full, and where the rest is."""
    more = f". {len(found) - 2:,} more rules are broken" if len(found) > 2 else ""
    first = " | ".join(_short(each) for each in found[:2])
    return f"data.checks: {first}{more}{where}; correct the data, or the check"


def _short(violation: Violation) -> str:
    examples = violation.examples[:3]
    more = ", …" if violation.count > len(examples) and examples else ""
    return f"{violation.model_copy(update={'examples': examples})}{more}"
