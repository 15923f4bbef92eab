"""What must be true of a job's data: `spec.data.checks`.

Words for columns are those of Frictionless' Table Schema, with its meanings; `earliest` and `latest` are its minimum
and maximum of dates, which a CRD can't hold beside numbers.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from footplate.api.expressions import compile_expression, is_expression, program_size
from footplate.api.types import ByName, Model, Rule, at, keep

ColumnType = Literal["string", "integer", "number", "boolean", "date", "datetime"]
MAX_COLUMNS = 256
MAX_ENUM = 256
MAX_CELL = 256
MAX_STEPS = 131_072
"""Of a column's pattern on the values of its enum, a millisecond's work: a job is read again and again, by an operator
that has others, too.
"""

Share = Annotated[float, Field(ge=0, le=1)]
Length = Annotated[int, Field(ge=0, le=2**31 - 1)]
ColumnName = Annotated[str, Field(min_length=1, max_length=MAX_CELL)]

PATTERN_RULE = Rule(
    "",  # CEL can match an expression, but not tell whether it is one
    r"must be a regular expression of RE2's syntax (no lookahead, lookbehind or backreference; \Q ends with \E)",
    lambda pattern: is_expression(whole(pattern)),
)


def whole(pattern: str) -> str:
    """The expression that all of a text must match, as it is compiled wherever it is used."""
    return rf"\A(?:{pattern})\z"


MOMENT_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z?)?$"


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:  # a day that no calendar has
        return False
    return True


MOMENT_RULE = Rule("", "must be a day that there is, as 2026-01-31 or 2026-01-31T12:00:00Z", _is_moment)
Moment = Annotated[str, Field(max_length=20, pattern=MOMENT_PATTERN), keep(MOMENT_RULE)]


class Constraints(Model):
    """What holds for each cell of a column. One without a value breaks none of them but required."""

    required: bool | None = Field(None, description="True: no cell may be without a value.")
    unique: bool | None = Field(None, description="True: no value may come twice.")
    minimum: float | None = Field(None, description="Least number.", examples=[0])
    maximum: float | None = Field(None, description="Greatest number.", examples=[130])
    earliest: Moment | None = Field(
        None,
        description="Earliest date or time, as 2026-01-31 or 2026-01-31T12:00:00Z. A date is its first moment; what "
        "has no zone is in UTC.",
        examples=["2020-01-01"],
    )
    latest: Moment | None = Field(None, description="Latest date or time.", examples=["2026-12-31T23:59:59Z"])
    min_length: Length | None = Field(None, description="Fewest characters of a text.")
    max_length: Length | None = Field(None, description="Most characters of a text.", examples=[280])
    pattern: Annotated[str, Field(min_length=1, max_length=1024), keep(PATTERN_RULE)] | None = Field(
        None, description="Regular expression (RE2) that a whole text must match.", examples=["[A-Z]{2}"]
    )
    enum: (
        Annotated[list[Annotated[str, Field(max_length=MAX_CELL)]], Field(min_length=1, max_length=MAX_ENUM)] | None
    ) = Field(
        None,
        description="The values that may occur, as texts; of a column of numbers as numbers.",
        examples=[["negative", "neutral", "positive"]],
    )

    rules = (
        Rule(
            "!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
            "minimum must not be greater than maximum",
            lambda it: at(it, "minimum") is None or at(it, "maximum") is None or it["minimum"] <= it["maximum"],
            "minimum",
        ),
        Rule(
            "!has(self.earliest) || !has(self.latest) || self.earliest <= self.latest",
            "earliest must not be later than latest",
            lambda it: at(it, "earliest") is None or at(it, "latest") is None or it["earliest"] <= it["latest"],
            "earliest",
        ),
        Rule(
            "!has(self.minLength) || !has(self.maxLength) || self.minLength <= self.maxLength",
            "minLength must not be greater than maxLength",
            lambda it: at(it, "minLength") is None or at(it, "maxLength") is None or it["minLength"] <= it["maxLength"],
            "minLength",
        ),
    )


_NUMBERS = ("minimum", "maximum")
_TIMES = ("earliest", "latest")
_TEXTS = ("minLength", "maxLength", "pattern")


def _is_for(words: tuple[str, ...], types: tuple[str, ...]) -> Rule:
    none = " && ".join(f"!has(self.constraints.{word})" for word in words)
    return Rule(
        f"!has(self.type) || self.type in {list(types)} || !has(self.constraints) || ({none})",
        f"{', '.join(words)} are for columns of type {' or '.join(types)}; correct type, or leave them out",
        lambda it: at(it, "type") in (None, *types) or all(at(it, "constraints", word) is None for word in words),
        "constraints",
    )


class ColumnCheck(Model):
    """What a column must be. It must be there."""

    name: ColumnName = Field(description="Name of the column.", examples=["age"])
    type: ColumnType | None = Field(
        None, description="What each of its values must be. Default: anything.", examples=["integer"]
    )
    constraints: Constraints = Field(
        default=Constraints(), description="What must hold for its cells. Default: nothing."
    )

    rules = (
        _is_for(_NUMBERS, ("integer", "number")),
        _is_for(_TIMES, ("date", "datetime")),
        _is_for(_TEXTS, ("string",)),
    )


def _enum_is_of_type(column: ColumnCheck) -> bool:
    values = column.constraints.enum or ()
    if column.type in ("integer", "number"):
        return all(_number(value) is not None for value in values)
    return column.type != "boolean" or set(values) <= {"true", "false"}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _enum_has_a_value(column: ColumnCheck) -> bool:
    """Whether some value of enum keeps the other constraints, too."""
    rules = column.constraints
    if rules.enum is None:
        return True
    kept = [value for value in rules.enum if _keeps(value, rules)]
    return bool(kept) and (rules.pattern is None or _may_match(kept, rules.pattern))


def _keeps(value: str, rules: Constraints) -> bool:
    least, most = rules.min_length or 0, rules.max_length if rules.max_length is not None else MAX_CELL
    if not least <= len(value) <= most:
        return False
    if rules.minimum is None and rules.maximum is None:
        return True
    number = _number(value)
    low, high = (bound if bound is not None else number for bound in (rules.minimum, rules.maximum))
    return number is not None and low is not None and high is not None and low <= number <= high


def _may_match(values: Sequence[str], pattern: str) -> bool:
    """Whether all of one of these texts does. It isn't known of letters beyond ASCII, which are matched by their bytes
    here, and of what takes too many steps.
    """
    size, length = program_size(whole(pattern)) or 0, sum(map(len, values))
    if not pattern.isascii() or not all(map(str.isascii, values)) or size * max(length, MAX_CELL) > MAX_STEPS:
        return True
    compiled = compile_expression(whole(pattern))
    return any(compiled.search(value.encode()) for value in values)


CONSISTENT = keep(  # CEL would have to look at all values of all columns, which costs more than it may
    Rule(
        "",
        "enum must be of the column's type: numbers, such as '1' or '0.5', for integer and number, true and false for "
        "boolean; correct enum, or type",
        _enum_is_of_type,
        "constraints.enum",
    ),
    Rule(
        "",
        "no value of enum keeps the column's other constraints, so that every cell would break one; correct enum, or "
        "them",
        _enum_has_a_value,
        "constraints.enum",
    ),
)


class Checks(Model):
    """What must be true of the data, all parts together."""

    min_rows: Annotated[int, Field(ge=1, le=10**15)] | None = Field(
        None, description="Fewest rows, pictures or texts.", examples=[1000]
    )
    max_duplicates: Share | None = Field(
        None, description="Greatest share of the rows that may repeat an earlier one.", examples=[0.01]
    )
    columns: Annotated[ByName[Annotated[ColumnCheck, CONSISTENT]], Field(max_length=MAX_COLUMNS)] = Field(
        default=[],
        description="Columns of a table. Of folders of pictures or texts: file, class, bytes and, as they are "
        "pictures or texts, width, height and channels, or characters.",
    )

    rules = (
        Rule(
            "has(self.minRows) || has(self.maxDuplicates) || (has(self.columns) && self.columns.size() > 0)",
            "checks nothing: set minRows, maxDuplicates or columns, or leave checks out",
            lambda it: at(it, "minRows") is not None or at(it, "maxDuplicates") is not None or bool(at(it, "columns")),
        ),
    )
