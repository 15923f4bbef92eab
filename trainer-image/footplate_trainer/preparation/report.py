"""What preparing data finds out, as it is written beside the run."""

from typing import Annotated, Literal

from pydantic import Field

from footplate.api.data import SplitName
from footplate.api.types import Model

SHOWN = 10
"""Cells that are shown of all that break a rule."""
MAX_VALUE = 100
"""Characters of a value that are shown."""
Number = float | int | None


class Example(Model):
    """A cell that breaks a rule; rows are counted from 1, a header left out."""

    file: str
    row: int
    value: str


class Violation(Model):
    """A rule that the data break: how often, and where first."""

    column: str = ""
    """Empty for a rule about whole rows."""
    rule: str
    """As the manifest has it, such as `minimum: 0`."""
    count: int
    examples: Annotated[list[Example], Field(max_length=SHOWN)] = Field(default=[])

    def __str__(self) -> str:
        if not self.column:
            return f"{self.rule} is broken"
        times = "once" if self.count == 1 else f"{self.count:,} times"
        shown = "; ".join(f"{each.value} in row {each.row:,} of {each.file}" for each in self.examples)
        return f"column {self.column!r}: {self.rule} is broken {times}: {shown}"


class ValueCount(Model):
    """A value, and how many rows have it."""

    value: str
    count: int


class Histogram(Model):
    """Rows by value, in bins of equal width between two numbers; what lies outside counts to the first and last."""

    low: float
    high: float
    counts: dict[str, list[int]]
    """Of each part, by its name."""


class ColumnProfile(Model):
    """What a column holds."""

    name: str
    type: str
    """Arrow's name of it."""
    missing: int
    distinct: int | None = None
    minimum: Number | str = None
    maximum: Number | str = None
    mean: Number = None
    std: Number = None
    quantiles: dict[str, float] | None = None
    """By their share: 0.05, 0.25, 0.5, 0.75 and 0.95."""
    histogram: Histogram | None = None
    """Of numbers and times, and of the lengths of texts."""
    values: list[ValueCount] | None = None
    """The most frequent ones."""
    drift: dict[str, float] | None = None
    """Of each part but train: how far it is distributed otherwise, from 0 (alike) to 1 (nothing in common), as the
    total variation distance."""


Kind = Literal["drift", "duplicates", "leakage", "constant", "imbalance", "unreadable"]


class Hint(Model):
    """Something suspicious, which is no error."""

    kind: Kind
    column: str = ""
    text: str


class Profile(Model):
    """What the data are."""

    rows: int
    splits: dict[SplitName, int]
    """Rows of each part."""
    columns: list[ColumnProfile]
    duplicates: int
    """Rows that repeat an earlier one."""
    duplicates_across: dict[str, int]
    """Rows of a part, by its name, that are in an earlier part, too."""
    label: str | None = None
    """Column that the others are held against."""
    hints: list[Hint]
    notes: list[str] = Field(default=[])


class SplitFile(Model):
    """A file that a part was written to, below the folder of the preparation."""

    path: str
    size_bytes: int
    sha256: str


class Held(Model):
    """What an input channel held."""

    files: int
    size_bytes: int
    version: int | None = None
    """Of a Delta Lake table."""


class Prepared(Model):
    """The whole outcome: written last, so that what it names is there."""

    inputs: dict[str, str]
    """SHA-256 of each input channel, as for InputChannel.sha256."""
    held: dict[str, Held] = Field(default={})
    """What else its model's manifest says of each, where a node trains on the parts and doesn't fetch it."""
    rows: int
    splits: dict[SplitName, int]
    files: list[SplitFile]
    class_count: int | None = None
    """Values that the label has; None where it isn't known, or has too many to be classes."""
    classes: list[ValueCount] = Field(default=[])
    """The most frequent of them."""
    hints: list[str] = Field(default=[])
    """What is suspicious, where a profile was asked for."""
    notes: list[str] = Field(default=[])
