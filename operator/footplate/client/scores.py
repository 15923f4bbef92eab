"""What an evaluation says of all and of each class, as tables have it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from footplate_trainer.evaluation_file import DataEvaluation

MAX_COLUMNS = 16
"""Metrics that a table has side by side: more than there are, and who builds tables to be slow finds them short."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """What was measured of one class."""

    name: str
    samples: int | None
    """That are of it; None where that isn't known."""
    values: Mapping[str, float]
    """By metric, such as `f1`."""


def general_values(found: "DataEvaluation") -> dict[str, float]:
    """The values that are of no single class."""
    return {name: value for name, value in found.values.items() if "." not in name}


def class_scores(found: "DataEvaluation") -> list[ClassScores]:
    """Of each class, in their order; what comes twice has its values once."""
    values: dict[str, dict[str, float]] = {name: {} for name in found.classes or ()}
    for key, value in found.values.items():
        metric, _, name = key.partition(".")
        if name in values:
            values[name][metric] = value
    rows = confusion_of(found)
    return [
        ClassScores(name, sum(rows[place]) if rows else None, values.pop(name, {}))
        for place, name in enumerate(found.classes or ())
    ]


def confusion_of(found: "DataEvaluation") -> Sequence[Sequence[int]]:
    """The confusion matrix, a row for each class; nothing where there is none that fits the classes."""
    size, rows = len(found.classes or ()), found.confusion or ()
    return rows if size and len(rows) == size and all(len(row) == size for row in rows) else ()
