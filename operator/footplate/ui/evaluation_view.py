"""What the page shows of a model's evaluation. Pure.

evaluation.json is whatever the job's code has left: of everything in it only so much is shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import islice
from math import ceil

from footplate.api.evaluation import HEADLINES
from footplate.api.reports import EvaluationStatus, GateStatus
from footplate.client.scores import class_scores, confusion_of, general_values
from footplate.client.status import verdict_in_words
from footplate.client.untrusted import plain
from footplate.ui.words import number, share
from footplate_trainer.evaluation_file import DataEvaluation

MAX_DATA = 10
MAX_VALUES = 100
MAX_CLASSES = 100
MAX_MATRIX = 12
"""Classes up to which the confusion matrix is a table."""
MAX_MISTAKES = 10
MAX_SLICES = 8
MAX_PARTS = 100
MAX_NOTES = 20
MAX_NAME = 100
"""Bytes of a name."""
HEATS = 9
"""Steps of a cell's colour."""
Cells = Sequence[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a model is accepted, in words, with its gates and the values that say most."""

    words: str
    accepted: bool | None
    gates: Sequence[GateStatus]
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words, the first of each being what it is about. `more`: rows that aren't shown."""

    head: Cells
    rows: Sequence[Cells]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """One of a confusion matrix. `heat`: its share of the row, from 0 to `HEATS`; 0 only where there is nothing."""

    count: int
    heat: int
    hit: bool


@dataclass(frozen=True, slots=True)
class Matrix:
    """A confusion matrix: a row for each class."""

    classes: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class DataView:
    """What was measured on some data."""

    name: str
    samples: int
    headlines: Mapping[str, float]
    others: Table
    classes: Table | None
    matrix: Matrix | None
    mistakes: Sequence[str]
    """The classes that are taken for others most often, in words, where there are too many for a matrix."""
    quantiles: Table | None
    slices: Mapping[str, Table]
    notes: Sequence[str]


def verdict_of(status: EvaluationStatus | None) -> Verdict | None:
    """What the job's status says of it; None where it says nothing."""
    if status is None or not (status.gates or status.metrics):
        return None
    words = verdict_in_words(status.gates) or "Evaluated, without gates"
    return Verdict(words, status.accepted, status.gates, status.metrics)


def view_data(data: Mapping[str, DataEvaluation]) -> list[DataView]:
    """All that is shown of evaluation.json, by the data that it was measured on."""
    return [_view(name, found) for name, found in list(data.items())[:MAX_DATA]]


def _view(name: str, found: DataEvaluation) -> DataView:
    general = general_values(found)
    headlines = {key: general[key] for key in HEADLINES if key in general}
    others = [(key, value) for key, value in general.items() if key not in headlines]
    return DataView(
        name=name,
        samples=found.samples,
        headlines=headlines,
        others=_values(("Metric", "Value"), others),
        classes=_classes(found),
        matrix=_matrix(found),
        mistakes=[*_mistakes(found)],
        quantiles=_quantiles(found),
        slices={plain(each, most=MAX_NAME): _slice(found, each) for each in list(found.slices or {})[:MAX_SLICES]},
        notes=[*islice(_notes(found), MAX_NOTES)],
    )


def _values(head: Cells, values: Sequence[tuple[str, float]]) -> Table:
    rows = [(plain(key, most=MAX_NAME), number(value)) for key, value in values[:MAX_VALUES]]
    return Table(head, rows, max(0, len(values) - MAX_VALUES))


def _classes(found: DataEvaluation) -> Table | None:
    """The scores of each class; of very many those with the lowest F1."""
    scores = class_scores(found)
    names = [*dict.fromkeys(name for each in scores for name in each.values)][:MAX_SLICES]
    if not names:
        return None
    if len(scores) > MAX_CLASSES:
        scores.sort(key=lambda each: each.values.get("f1", 0.0))
    rows = [
        (plain(each.name, most=MAX_NAME), *(number(each.values.get(name)) for name in names), number(each.samples))
        for each in scores[:MAX_CLASSES]
    ]
    head = ("Class", *(plain(name, most=MAX_NAME) for name in names), "samples")
    return Table(head, rows, max(0, len(scores) - MAX_CLASSES))


def _matrix(found: DataEvaluation) -> Matrix | None:
    counts = confusion_of(found)
    if not 0 < len(counts) <= MAX_MATRIX:
        return None
    rows = [
        [Cell(count, ceil(HEATS * share(count, sum(row))), place == column) for column, count in enumerate(row)]
        for place, row in enumerate(counts)
    ]
    return Matrix([plain(name, most=MAX_NAME) for name in found.classes or ()], rows)


def _mistakes(found: DataEvaluation) -> Iterator[str]:
    counts, names = confusion_of(found), found.classes or ()
    if len(counts) <= MAX_MATRIX:
        return
    wrong = ((count, place, other) for place, row in enumerate(counts) for other, count in enumerate(row)
             if place != other and count > 0)  # fmt: skip
    for count, place, other in nlargest(MAX_MISTAKES, wrong):
        actual, taken = plain(names[place], most=MAX_NAME), plain(names[other], most=MAX_NAME)
        yield f"{actual} is taken for {taken}: {number(count)} of {number(sum(counts[place]))}"


def _quantiles(found: DataEvaluation) -> Table | None:
    if not found.error_quantiles:
        return None
    return _values(("Share of the samples", "Error below"), list(found.error_quantiles.items()))


def _slice(found: DataEvaluation, column: str) -> Table:
    parts = (found.slices or {})[column]
    names = [name for name in HEADLINES if any(name in part.values for part in parts.values())]
    rows = [
        (plain(value, most=MAX_NAME), number(part.samples), *(number(part.values.get(name)) for name in names))
        for value, part in list(parts.items())[:MAX_PARTS]
    ]
    return Table((plain(column, most=MAX_NAME), "samples", *names), rows, max(0, len(parts) - MAX_PARTS))


def _notes(found: DataEvaluation) -> Iterator[str]:
    for name, why in found.undefined.items():
        if "." not in name:
            yield plain(f"{name} has no value: {why}", most=512)
    yield from (plain(note, most=512) for note in found.notes)
