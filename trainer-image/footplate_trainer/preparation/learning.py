"""Whether a recipe can learn from the parts: what it would refuse once it has accelerators is told before, by file and
row of the user's own data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from footplate.api import recipes
from footplate.api.data import SPLITS, Split
from footplate_trainer.data.column_names import no_column
from footplate_trainer.data.splits import TRAIN
from footplate_trainer.data.table_quantity import learn_quantity
from footplate_trainer.data.table_target import LearnTarget, Target, count_classes, learn_classes
from footplate_trainer.data.tables import check_names
from footplate_trainer.errors import DataError
from footplate_trainer.preparation.reading import Loaded
from footplate_trainer.preparation.records import check_records

CLASS = "class"
"""The column that says it, of pictures and texts in a folder for each class."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a recipe wants of the data."""

    target: str | None
    """The column of a table; None where there is none."""
    learn: LearnTarget | None
    """None of a language model, which reads records."""
    ignore: tuple[str, ...] = ()
    text: str | None = None

    @property
    def texts(self) -> bool:
        """Whether it reads texts, which columns of JSON lines may take for something else."""
        return self.learn is None or self.text is not None


def wanted_by(recipe: str | None, hyperparameters: Mapping[str, Any]) -> Wanted | None:
    """What a recipe wants that trains; the hyperparameters have been checked."""
    if recipe == "image-classification":
        return Wanted(None, learn_classes)
    if recipe == "text-classification":
        texts = recipes.TextHyperparameters.model_validate(hyperparameters)
        return Wanted(texts.target, learn_classes, text=texts.text)
    if recipe in ("tabular-classification", "tabular-regression"):
        table = recipes.TableHyperparameters.model_validate(hyperparameters)
        return Wanted(
            table.target, learn_quantity if recipe == "tabular-regression" else learn_classes, ignore=table.ignore
        )
    return Wanted(None, None) if recipe == "language-model" else None


def check_learnable(wanted: Wanted, loaded: Loaded, codes: NDArray[np.uint8], split: Split | None) -> None:
    """Holds the data against what a recipe wants of them.

    Args:
        wanted: that.
        loaded: the data.
        codes: of each row the place of its part in SPLITS.
        split: how they were divided.

    Raises:
        DataError: a column isn't there, a row has no target or none that can be learnt, or a part has classes that
            train lacks.
        ConfigError: the columns make no sense together.
    """
    if wanted.learn is None:
        check_records(loaded.files)
        return
    name = wanted.target if loaded.paths is None else CLASS
    if name is None:
        return
    if loaded.paths is None:
        _check_columns(loaded.table.schema.names, wanted, name)
    column = loaded.table[name]
    parts = {SPLITS[part]: _Part.of(column, name, np.flatnonzero(codes == part), loaded) for part in np.unique(codes)}
    if TRAIN not in parts:
        return
    target, _ = wanted.learn(parts.pop(TRAIN), name)
    for part, rows in parts.items():
        if target.classes:
            _check_classes(rows, part, name, target, split)
        else:
            target.read(rows, channel=part)


def _check_columns(names: list[str], wanted: Wanted, target: str) -> None:
    if wanted.text is None:
        check_names(names, target, wanted.ignore)
        return
    for key, name in (("text", wanted.text), ("target", target)):
        if name not in names:
            raise no_column(key, name, names, where="the data have")


@dataclass(frozen=True, slots=True)
class _Part:
    """The target of the rows of one part."""

    table: pa.Table
    rows: NDArray[np.int64]
    loaded: Loaded

    @classmethod
    def of(cls, column: pa.ChunkedArray, name: str, rows: NDArray[np.int64], loaded: Loaded) -> "_Part":
        return cls(pa.table({name: column.take(pa.array(rows))}), rows, loaded)

    def place(self, row: int) -> str:
        return self.loaded.place(int(self.rows[row]))


def _check_classes(rows: _Part, part: str, name: str, target: Target, split: Split | None) -> None:
    counts = count_classes(rows, name, channel=part)
    unknown = [
        f"{each!r} ({counts[each]:,} row{'s' * (counts[each] > 1)})"
        for each in sorted(set(counts) - set(target.classes))
    ]
    if not unknown:
        return
    ways = "bring rows of them to train on, or take them out"
    if split is not None and split.by != "given":
        ways = f"say data.split: {{by: stratified, column: {name}}}, or {ways}"
    raise DataError(
        f"the {part} data have classes in column {name!r} that the training data lack: {', '.join(unknown[:5])}; a "
        f"model can't know what it was not trained on. {ways[0].upper()}{ways[1:]}"
    )
