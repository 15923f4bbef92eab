"""How a column's cells are read, whatever Arrow stores them as. Pure, on whole columns."""

from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from footplate_trainer.data.table_files import is_text
from footplate_trainer.preparation.report import MAX_VALUE

FEW_VALUES = 1_000
"""More than so many different texts or whole numbers are no classes."""
FewValues: TypeAlias = tuple[pa.Array, NDArray[np.int16]]

INTEGER = r"^\s*[+-]?\d{1,18}\s*$"
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
BOOLEAN = r"^\s*(true|false|True|False|TRUE|FALSE|0|1)\s*$"
DATE = r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"
DATETIME = (
    r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
    r"(Z|[+-]\d{2}:?\d{2})?$"
)


def is_number(kind: pa.DataType) -> bool:
    """Whether it holds numbers, which true and false aren't."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_plain(kind: pa.DataType) -> bool:
    """Whether its cells are single values, which can be counted and written as texts."""
    is_moment = pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_time(kind)
    return is_text(kind) or is_number(kind) or bool(pa.types.is_boolean(kind) or is_moment)


def is_missing(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which cells have no value: null, NaN, or an empty text."""
    if is_text(column.type):
        return pc.fill_null(pc.equal(column, ""), fill_value=True)
    return pc.is_null(column, nan_is_null=True)


def as_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells of a plain column as texts."""
    return column if is_text(column.type) else column.cast(pa.string())


def as_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The cells as float64, null where one is no number."""
    if is_number(column.type):
        return column.cast(pa.float64(), safe=False)
    if not is_text(column.type):
        return pa.chunked_array([pa.nulls(len(column), pa.float64())])
    fits = pc.match_substring_regex(column, NUMBER)
    return pc.utf8_trim_whitespace(pc.if_else(fits, column, None)).cast(pa.float64())


def parse_times(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """The cells as numbers that grow with time, null where one is no time; None for a type without order.

    Dates and times that are texts are read by the beginning that all of them share: to the second, and in UTC.
    """
    if is_number(column.type):
        return pc.if_else(pc.is_null(column, nan_is_null=True), None, column)
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
    if pa.types.is_time(column.type):
        return column.cast(pa.int32() if pa.types.is_time32(column.type) else pa.int64())
    if not is_text(column.type):
        return None
    fits = pc.or_(pc.match_substring_regex(column, DATE), pc.match_substring_regex(column, DATETIME))
    return _as_microseconds(pc.if_else(fits, column, None))


def as_moments(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same of dates, times of day and texts that are such, but null for numbers, which are no moments."""
    times = None if is_number(column.type) else parse_times(column)
    return pa.chunked_array([pa.nulls(len(column), pa.int64())]) if times is None else times.cast(pa.int64())


def has_zones(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Which of these texts say the zone of their time."""
    return pc.match_substring_regex(column, r"[T ].*(Z|[+-]\d{2}:?\d{2})$")


def _as_microseconds(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO texts, with or without a zone, as microseconds; null where there is no such day."""
    parts = pc.extract_regex(
        texts, r"^(?P<day>[0-9-]{10})(?:[T ](?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>[0-9.]+))?)?"
        r"(?P<zone>Z|(?P<sign>[+-])(?P<zh>\d{2}):?(?P<zm>\d{2}))?$"
    )  # fmt: skip

    def number(name: str) -> pa.ChunkedArray:
        field = pc.struct_field(parts, name)
        return pc.if_else(pc.equal(field, ""), "0", field).cast(pa.float64())

    day = pc.strptime(pc.struct_field(parts, "day"), format="%Y-%m-%d", unit="s", error_is_null=True)
    there = pc.equal(pc.strftime(day, format="%Y-%m-%d"), pc.struct_field(parts, "day"))
    seconds = pc.if_else(there, day, None).cast(pa.int64()).cast(pa.float64())
    for name, factor in (("hour", 3600.0), ("minute", 60.0), ("second", 1.0)):
        seconds = pc.add(seconds, pc.multiply(number(name), factor))
    sign = pc.if_else(pc.equal(pc.struct_field(parts, "sign"), "-"), -1.0, 1.0)
    offset = pc.add(pc.multiply(number("zh"), 3600.0), pc.multiply(number("zm"), 60.0))
    return pc.multiply(pc.subtract(seconds, pc.multiply(sign, offset)), 1e6).cast(pa.int64(), safe=False)


def dictionary_encode(column: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int32]]:
    """A column's different values, in the order of their first rows, and of each row the place of its value, -1 for
    null.
    """
    encoded = pc.dictionary_encode(column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))
    return encoded.dictionary, np.asarray(pc.fill_null(encoded.indices, -1))


def few_values(column: pa.ChunkedArray) -> FewValues | None:
    """A column's different values, and of each row the place of its value, -1 for none; None where there are too many
    to be classes.
    """
    kind = column.type
    if not is_plain(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return None
    if pc.count_distinct(column.slice(0, 10 * FEW_VALUES)).as_py() > FEW_VALUES:
        return None
    values, places = dictionary_encode(column)
    return None if len(values) > FEW_VALUES else (values, places.astype(np.int16))


def rows_where(mask: pa.ChunkedArray) -> list[int]:
    """Numbers of the rows where it is true, from 0."""
    return np.flatnonzero(np.asarray(mask)).tolist()


def value_of(cell: pa.Scalar) -> Any:
    """What a cell holds, in Python; as a text where Python has no such value, as for times of nanoseconds."""
    try:
        return cell.as_py()
    except (ValueError, OverflowError):
        return cell.cast(pa.string()).as_py()


def show(cell: pa.Scalar) -> str:
    """A cell for people, cut to a length."""
    value = value_of(cell)
    shown = repr(value) if isinstance(value, str) and is_text(cell.type) else str(value)
    return shown if len(shown) <= MAX_VALUE else f"{shown[: MAX_VALUE - 1]}…"
