"""Numbers that people write as texts: `1,234`, `3,5`, `5%`, `$3`, with `?` or `n/a` where one is missing.

How a column writes them is found once, in all its training texts, and saved with the model: `1,234` alone is 1234, but
1.234 beside `3,5`. A text that can't be a number in the column's notation makes it a column of categories.
"""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Decimal = Literal[".", ","]
CURRENCIES = "$€£¥"
MISSING = frozenset({"", "?", "-", "na", "n/a", "#n/a", "nan", "null", "none"})
NUMBER = {
    ".": re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+|[1-9]\d{0,2}(,\d{3})+(\.\d*)?)([eE][+-]?\d+)?", re.ASCII),
    ",": re.compile(r"[+-]?((0|[1-9]\d*)(,\d*)?|,\d+|[1-9]\d{0,2}(\.\d{3})+(,\d*)?)([eE][+-]?\d+)?", re.ASCII),
}
"""By the decimal mark. Texts with leading zeros are no numbers, but codes."""


class Notation(NamedTuple):
    """How a column writes its numbers: the decimal mark, and the currency or `%` that stands with them, or ''."""

    decimal: Decimal = "."
    unit: str = ""


def is_missing(text: str | None) -> bool:
    """Whether a text stands for no value."""
    return text is None or text.strip().lower() in MISSING


def find_notation(texts: Iterable[str | None]) -> Notation | None:
    """The notation in which every text is a number or missing; None where there is none, or where all are missing."""
    units: set[str] = set()
    marks: list[Decimal] = [".", ","]
    for text in texts:
        if text is None or is_missing(text):
            continue
        body, unit = _take_apart(text)
        units.add(unit)
        marks = [mark for mark in marks if NUMBER[mark].fullmatch(body)]
        if not marks or len(units - {""}) > 1 or {"%", ""} <= units:
            return None
    return Notation(marks[0], max(units)) if units else None


def is_number(text: str, notation: Notation) -> bool:
    """Whether the text is a number in that notation. A currency may be left out, a percent sign may not."""
    body, unit = _take_apart(text)
    fits = unit == notation.unit or (unit == "" and notation.unit != "%")
    return fits and NUMBER[notation.decimal].fullmatch(body) is not None


def read_number(text: str | None, notation: Notation) -> float:
    """The number that a text is in that notation, NaN where it is missing.

    Raises:
        ValueError: it is neither.
    """
    if text is None or is_missing(text):
        return float("nan")
    if not is_number(text, notation):
        raise ValueError(f"{text[:100]!r} is no number as the training data write them")
    body = _take_apart(text)[0]
    groups = "," if notation.decimal == "." else "."
    return float(body.replace(groups, "").replace(notation.decimal, "."))


def read_numbers(values: pa.ChunkedArray, notation: Notation) -> NDArray[np.float64]:
    """The numbers [N] that a column of texts holds; raises ValueError as `read_number`."""
    parts = [_read_chunk(chunk, notation) for chunk in values.cast(pa.string()).chunks]
    return np.concatenate(parts) if parts else np.empty(0)


def _read_chunk(texts: pa.Array, notation: Notation) -> NDArray[np.float64]:
    coded = texts.dictionary_encode()
    numbers: NDArray[np.float64] = np.array(
        [*(read_number(text, notation) for text in coded.dictionary.to_pylist()), np.nan]
    )
    places: NDArray[np.int64] = coded.indices.fill_null(len(coded.dictionary)).to_numpy(zero_copy_only=False)
    return numbers[places]


def _take_apart(text: str) -> tuple[str, str]:
    """What is left of a text without its unit, and the unit."""
    body = text.strip()
    if body.endswith("%"):
        return body[:-1].rstrip(), "%"
    sign = body[0] if body[:1] in ("+", "-") else ""
    rest = body[len(sign) :].lstrip()
    if rest[:1] and rest[0] in CURRENCIES:
        return sign + rest[1:].lstrip(), rest[0]
    if rest[-1:] and rest[-1] in CURRENCIES:
        return sign + rest[:-1].rstrip(), rest[-1]
    return body, ""
