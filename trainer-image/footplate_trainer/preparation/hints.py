"""What is suspicious in data: what sets a part apart, is in two of them, tells the label, or tells nothing. Pure."""

from collections.abc import Iterator, Mapping

import numpy as np

from footplate.api.data import SPLITS
from footplate_trainer.preparation.cells import value_of
from footplate_trainer.preparation.measuring import Column, count_pairs, drift, expected_drift
from footplate_trainer.preparation.report import ColumnProfile, Hint

DRIFTED = 0.1
BEYOND_CHANCE = 3.0
"""Times what chance makes of it."""
TELLS = 0.999
"""Share of the labels that a column tells, from which on it is suspicious."""
ROWS_A_VALUE = 5
"""With fewer a column tells each row apart, not the label."""
CORRELATED = 0.9999
RARE = 0.01
NAMES: tuple[str, ...] = SPLITS


def hints_of_rows(across: Mapping[str, int]) -> Iterator[Hint]:
    """What is suspicious in whole rows: those of each part that are in an earlier one, too."""
    for part, count in across.items():
        if count:
            text = f"{count:,} rows of {part} are in an earlier part, too: what is measured on them is too good"
            yield Hint(kind="duplicates", text=text)


def hints_of_column(column: Column, profile: ColumnProfile, target: Column | None) -> list[Hint]:
    """What is suspicious in a column, held against the one that is to be predicted, where that is another."""
    return [*_drift(column), *_constant(column, profile), *([] if target is None else _leakage(column, target))]


def _drift(column: Column) -> Iterator[Hint]:
    counts = column.counts
    if counts is None:
        return
    for part, distance in drift(counts).items():
        if distance > max(DRIFTED, BEYOND_CHANCE * expected_drift(counts, NAMES.index(part))):
            text = (
                f"{column.name} is distributed otherwise in {part} than in train: {distance:.0%} of it lies elsewhere"
            )
            yield Hint(kind="drift", column=column.name, text=text)


def _constant(column: Column, profile: ColumnProfile) -> Iterator[Hint]:
    constant = profile.distinct == 1 or (profile.minimum is not None and profile.minimum == profile.maximum)
    if constant and not profile.missing and (column.numbers is None or np.isfinite(column.numbers).all()):
        yield Hint(kind="constant", column=profile.name, text=f"{profile.name} has the same value in all rows")


def _leakage(column: Column, target: Column) -> Iterator[Hint]:
    if target.counted is None:
        yield from _correlation(column, target)
        return
    labels, groups = target.counted[1], column.groups
    if groups is None:
        return
    counts = count_pairs(groups, column.size, labels, target.size)[1:, 1:]
    rows = int(counts.sum())
    if rows < ROWS_A_VALUE * max(1, int((counts.sum(axis=1) > 0).sum())):
        return
    told, guessed = counts.max(axis=1).sum() / rows, counts.sum(axis=0).max() / rows
    if told >= TELLS > guessed:
        text = (
            f"{column.name} alone tells {target.name} of {told:.1%} of the rows: is it known before {target.name} is?"
        )
        yield Hint(kind="leakage", column=column.name, text=text)


def _correlation(column: Column, target: Column) -> Iterator[Hint]:
    if column.numbers is None or target.numbers is None or len(target.numbers) < ROWS_A_VALUE:
        return
    there = np.isfinite(column.numbers) & np.isfinite(target.numbers)
    one, other = column.numbers[there], target.numbers[there]
    if len(one) < ROWS_A_VALUE or not one.std() or not other.std():
        return
    correlation = float(np.corrcoef(one, other)[0, 1])
    if abs(correlation) >= CORRELATED:
        text = f"{column.name} is {target.name} in other numbers (correlation {correlation:.5f})"
        yield Hint(kind="leakage", column=column.name, text=text)


def hints_of_labels(target: Column | None) -> Iterator[Hint]:
    """What is suspicious in the column that is to be predicted."""
    if target is None or target.counted is None:
        return
    values, labels = target.counted
    counts = np.bincount(labels[labels >= 0], minlength=len(values))
    rare = np.flatnonzero((counts > 0) & (counts < RARE * counts.max(initial=0)))
    if len(rare):
        named = ", ".join(str(value_of(values[place]))[:50] for place in rare[:5].tolist())
        text = f"{len(rare):,} classes of {target.name} have less than {RARE:.0%} of the largest one's rows: {named}"
        yield Hint(kind="imbalance", column=target.name, text=text)
