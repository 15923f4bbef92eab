"""What must be true of a job's data before it trains, and how they are divided: `spec.data`.

Words for columns are those of Frictionless' Table Schema, with its meanings.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from footplate.api.expressions import is_expression
from footplate.api.resources import Resources
from footplate.api.types import ByName, Model, Rule, at, keep

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
SplitBy = Literal["random", "stratified", "group", "time", "given"]
ColumnType = Literal["string", "integer", "number", "boolean", "date", "datetime"]
TOLERANCE = 1e-6
"""By how much shares may miss 1: 0.7, 0.2 and 0.1 don't add up exactly."""
MAX_COLUMNS = 256
MAX_ENUM = 256
MAX_CELL = 256

Share = Annotated[float, Field(ge=0, le=1)]
Length = Annotated[int, Field(ge=0, le=2**31 - 1)]
ColumnName = Annotated[str, Field(min_length=1, max_length=MAX_CELL)]


PATTERN_RULE = Rule(
    "",  # CEL can match an expression, but not tell whether it is one
    "must be a regular expression of RE2's syntax (no lookahead, lookbehind or backreference)",
    is_expression,
)


def _adds_up(it: Mapping[str, Any]) -> bool:
    shares = [at(it, name) or 0.0 for name in SPLITS]
    return at(it, "by") == "given" or (abs(sum(shares) - 1) <= TOLERANCE and shares[0] > 0)


_SUM = " + ".join(f"(has(self.{name}) ? self.{name} : 0.0)" for name in SPLITS)


class Split(Model):
    """How rows are divided; each is in exactly one part."""

    by: SplitBy = Field(
        default="random",
        description="random; stratified (each class of column has its share in each part); group (rows that are alike "
        "in column stay together); time (train is the earliest by column, test the latest); given (by the names of "
        "channels, folders and files, or by what column says: train, validation or test).",
    )
    train: Share | None = Field(None, description="Share of the rows to train on.", examples=[0.7])
    validation: Share | None = Field(None, description="Share of the rows to choose by. Default: 0.", examples=[0.2])
    test: Share | None = Field(None, description="Share of the rows to judge by, once. Default: 0.", examples=[0.1])
    column: ColumnName | None = Field(
        None,
        description="What stratified, group and time go by. Of folders of pictures or texts: class, or another column "
        "of the profile.",
        examples=["label"],
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        default=0, description="Another one divides otherwise; the same data and seed always divide alike."
    )

    rules = (
        Rule(
            f"(has(self.by) && self.by == 'given') || (has(self.train) && self.train > 0.0 && "
            f"{_SUM} >= {1 - TOLERANCE:f} && {_SUM} <= {1 + TOLERANCE:f})",
            "train, validation and test must add up to 1, and train be more than 0, for example train: 0.7, "
            "validation: 0.2, test: 0.1",
            _adds_up,
            "train",
        ),
        Rule(
            "!(has(self.by) && self.by == 'given') || (!has(self.train) && !has(self.validation) && !has(self.test))",
            "by: given takes the parts as they are; leave train, validation and test out",
            lambda it: at(it, "by") != "given" or all(at(it, name) is None for name in SPLITS),
            "by",
        ),
        Rule(
            "!(has(self.by) && self.by in ['stratified', 'group', 'time']) || has(self.column)",
            "by: stratified, group and time go by a column; name it in column",
            lambda it: at(it, "by") not in ("stratified", "group", "time") or at(it, "column") is not None,
            "column",
        ),
        Rule(
            "!has(self.column) || (has(self.by) && self.by != 'random')",
            "by: random goes by no column; leave column out, or say by: stratified, group or time",
            lambda it: at(it, "column") is None or at(it, "by") not in (None, "random"),
            "column",
        ),
    )


class Constraints(Model):
    """What holds for each cell of a column. One without a value breaks none of them but required."""

    required: bool | None = Field(None, description="True: no cell may be without a value.")
    unique: bool | None = Field(None, description="True: no value may come twice.")
    minimum: float | None = Field(None, description="Least number.", examples=[0])
    maximum: float | None = Field(None, description="Greatest number.", examples=[130])
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
            "!has(self.minLength) || !has(self.maxLength) || self.minLength <= self.maxLength",
            "minLength must not be greater than maxLength",
            lambda it: at(it, "minLength") is None or at(it, "maxLength") is None or it["minLength"] <= it["maxLength"],
            "minLength",
        ),
    )


_NUMBERS = ("minimum", "maximum")
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

    rules = (_is_for(_NUMBERS, ("integer", "number")), _is_for(_TEXTS, ("string",)))


class Checks(Model):
    """What must be true of the data, all parts together."""

    min_rows: Annotated[int, Field(ge=1, le=10**15)] | None = Field(
        None, description="Fewest rows, pictures or texts.", examples=[1000]
    )
    max_duplicates: Share | None = Field(
        None, description="Greatest share of the rows that may repeat an earlier one.", examples=[0.01]
    )
    columns: Annotated[ByName[ColumnCheck], Field(max_length=MAX_COLUMNS)] = Field(
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


class Data(Model):
    """What is done with the data before training."""

    split: Split | None = Field(
        None,
        description="Divides the channel train, or the only one with data, into train, validation and test. Default: "
        "the data stay as they are.",
    )
    checks: Checks | None = Field(
        None, description="What must be true of the data; else the run fails before training. Default: nothing."
    )
    profile: bool | None = Field(
        None,
        description="True describes the data, and what is suspicious in them, as JSON and as a page beside the run's "
        "records. Default: false.",
    )

    resources: Resources | None = Field(
        None,
        description="Resources of the pod that does it, before there is a gang; it has no accelerators. Default: "
        "requests of 1 CPU and 2Gi of memory.",
        examples=[{"requests": {"cpu": "4", "memory": "16Gi"}}],
    )

    rules = (
        Rule(
            "!has(self.resources) || "
            "((!has(self.resources.limits) || self.resources.limits.all(k, !k.contains('/'))) && "
            "(!has(self.resources.requests) || self.resources.requests.all(k, !k.contains('/'))))",
            "the pod that prepares the data has no accelerators; name CPUs, memory and disk alone",
            lambda it: (
                not any("/" in name for kind in ("limits", "requests") for name in at(it, "resources", kind) or ())
            ),
            "resources",
        ),
        Rule(
            "has(self.split) || has(self.checks) || (has(self.profile) && self.profile)",
            "does nothing: set split, checks or profile: true, or leave data out",
            lambda it: at(it, "split") is not None or at(it, "checks") is not None or bool(at(it, "profile")),
        ),
    )


def _brings_parts(spec: Mapping[str, Any]) -> bool:
    return any(at(channel, "name") in ("validation", "test") for channel in at(spec, "inputs") or ())


SPEC_RULES = (
    Rule(
        "!has(self.data) || has(self.runtimeRef) || (has(self.inputs) && self.inputs.size() > 0)",
        "data prepares what inputs bring; add an input named train, or leave data out",
        lambda spec: at(spec, "data") is None or at(spec, "runtimeRef") is not None or bool(at(spec, "inputs")),
        "data",
    ),
    Rule(
        "!has(self.data) || !has(self.data.split) || (has(self.data.split.by) && self.data.split.by == 'given') || "
        "!has(self.inputs) || !self.inputs.exists(i, i.name == 'validation' || i.name == 'test')",
        "data.split divides the input train, but an input named validation or test is there; leave that out, or say "
        "by: given",
        lambda spec: (
            at(spec, "data", "split") is None or at(spec, "data", "split", "by") == "given" or not _brings_parts(spec)
        ),
        "data.split",
    ),
)
