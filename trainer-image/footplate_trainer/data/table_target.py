"""The class of each row of a table: what its target column holds, as text, and whether those are classes."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from footplate_trainer.data.splits import TRAIN, check_classes
from footplate_trainer.data.table_files import is_text
from footplate_trainer.data.table_numbers import is_missing
from footplate_trainer.errors import DataError
from footplate_trainer.rank.report import reporter

FEW = 20
"""Up to so many different values may be fractions, or occur only once, and still be classes."""
REGRESSION = (
    "The recipe tabular-regression learns quantities; to learn classes, put ranges such as low and high into the column"
)


class PlacedRows(Protocol):
    """Rows, and where each is."""

    @property
    def table(self) -> pa.Table:
        """The rows."""
        ...

    def place(self, row: int) -> str:
        """Where a row is, counted from 0 here, for people."""
        ...


class Target(Protocol):
    """What a recipe learns of a table's rows: how their target column is read."""

    dtype: ClassVar[torch.dtype]

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names; none where the target is a quantity."""
        ...

    def read(self, rows: PlacedRows, *, channel: str) -> Tensor:
        """The rows' targets [N]. Raises DataError, with row and value, where one has none."""
        ...

    def strata(self, targets: Tensor) -> Tensor:
        """The group, int64 [N], of each row; what is held out has the same share of each."""
        ...


LearnTarget = Callable[[PlacedRows, str], tuple[Target, list[str]]]
"""(rows of the training data, the target column) → how it is read, and what there is to say of it."""


@dataclass(frozen=True, slots=True)
class ClassTarget:
    """Classes, by their places among the names."""

    dtype: ClassVar[torch.dtype] = torch.int64
    name: str
    classes: tuple[str, ...]

    def read(self, rows: PlacedRows, *, channel: str) -> Tensor:
        """See `Target`."""
        return label(rows, self.name, self.classes, channel=channel)

    def strata(self, targets: Tensor) -> Tensor:
        """See `Target`."""
        return targets


def learn_classes(rows: PlacedRows, name: str) -> tuple[Target, list[str]]:
    """The classes of the training data, and what there is to say of them.

    Raises:
        DataError: the column holds none, or one alone.
    """
    target = ClassTarget(name, list_classes(count_classes(rows, name, channel=TRAIN), name))
    check_classes(target.read(rows, channel=TRAIN), where=f"column {name!r} of input {TRAIN}")
    return target, find_doubles(target.classes, name) + find_missing(target.classes, name)


def classes_of_model(classes: tuple[str, ...]) -> LearnTarget:
    """Reads the classes that a model knows; a row of another one raises DataError."""
    return lambda rows, name: (ClassTarget(name, classes), [])


def count_classes(rows: PlacedRows, target: str, *, channel: str) -> dict[str, int]:
    """How many rows each class has. Whole numbers read the same however they are stored: 1 and 1.0 are '1'.

    Raises:
        DataError: a row has none, or the column can't hold classes.
    """
    kind = rows.table.schema.field(target).type
    if not is_class(kind):
        raise DataError(
            f"input {channel}: the target column {target!r} is of type {kind}; each row has one class, a text or a "
            "number. Several classes a row aren't learnt: give each a column of its own, and a job"
        )
    counts: Counter[str] = Counter()
    first_empty = None
    for start, names, places in _coded(rows.table[target]):
        for name, count in zip(names, np.bincount(places, minlength=len(names)).tolist(), strict=True):
            counts[name] += count
        if first_empty is None and counts[""]:
            first_empty = start + int(np.argmin(np.array(names, dtype=bool)[places]))
    if first_empty is not None:
        raise DataError(
            f"input {channel}: the target column {target!r} is empty in {counts['']:,} of {len(rows.table):,} rows, "
            f"first in {rows.place(first_empty)}; fill or remove those rows"
        )
    return dict(+counts)


def _coded(values: pa.ChunkedArray) -> Iterator[tuple[int, list[str], NDArray[np.int32]]]:
    """Of each part of the rows, as they are stored: its first row, its classes ('' the last), and the rows' places
    among those.
    """
    start = 0
    for chunk in values.chunks:
        coded = chunk.dictionary_encode()
        names = [*map(_name, coded.dictionary.to_pylist()), ""]
        yield start, names, coded.indices.fill_null(len(names) - 1).to_numpy()
        start += len(chunk)
        reporter().beat()


def is_class(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold classes."""
    types = pa.types
    plain = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_temporal, types.is_null)
    return is_text(kind) or any(test(kind) for test in plain)


def _name(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float | Decimal) and value == value // 1:
        return str(int(value))
    return str(value).strip()


def find_doubles(classes: Iterable[str], target: str) -> list[str]:
    """What there is to say of classes that may be the same one, written in two ways."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        alike[" ".join(name.casefold().split())].append(name)
    return [
        f"column {target!r}: {' and '.join(map(repr, names))} differ in case or blanks alone, and count as "
        f"{len(names)} classes; write them alike if they are one"
        for names in alike.values()
        if len(names) > 1
    ]


def find_missing(classes: Iterable[str], target: str) -> list[str]:
    """What there is to say of classes that may stand for none."""
    return [
        f"column {target!r}: {name!r} counts as a class; if no class is known there, remove those rows"
        for name in classes
        if is_missing(name)
    ]


def list_classes(counts: Mapping[str, int], target: str) -> tuple[str, ...]:
    """The classes of the training data, by how many rows they have; numbers in their own order before all others.

    Raises:
        DataError: they are quantities or ids rather than classes.
    """
    classes = tuple(sorted(counts, key=_in_order))
    numbers = [number for kind, number, _ in map(_in_order, classes) if kind == 0]
    if len(classes) > FEW and len(numbers) == len(classes) and any(number % 1 for number in numbers):
        raise DataError(
            f"the target column {target!r} has {len(classes):,} different values, fractions among them: quantities, "
            f"not classes. {REGRESSION}"
        )
    rows = sum(counts.values())
    if len(classes) > max(FEW, rows / 2):
        raise DataError(
            f"the target column {target!r} has {len(classes):,} different values in {rows:,} rows, as quantities "
            f"and ids have: most classes would have one row. Name the column that holds the class. {REGRESSION}"
        )
    return classes


def _in_order(text: str) -> tuple[int, float, str]:
    try:
        number = float(text)
    except ValueError:
        return 1, 0.0, text
    return (0, number, text) if math.isfinite(number) else (1, 0.0, text)


def label(rows: PlacedRows, target: str, classes: Sequence[str], *, channel: str) -> Tensor:
    """The places [N] of the rows' classes in `classes`.

    Raises:
        DataError: the training data lack one.
    """
    places = {name: place for place, name in enumerate(classes)}
    if unknown := sorted(set(count_classes(rows, target, channel=channel)) - set(places)):
        raise DataError(
            f"input {channel} has classes that the training data lacks: {', '.join(unknown[:5])}; "
            "a model can't know what it was not trained on"
        )
    labels = torch.empty(len(rows.table), dtype=torch.int64)
    for start, names, coded in _coded(rows.table[target]):
        known = np.array([places.get(name, -1) for name in names])
        labels[start : start + len(coded)] = torch.from_numpy(known[coded])
    return labels
