"""The quantity of each row of a table: what its target column holds, as a number."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from footplate_trainer.data.splits import TEST, TRAIN
from footplate_trainer.data.table_files import is_text
from footplate_trainer.data.table_numbers import Notation, find_notation, is_missing, is_number, read_number
from footplate_trainer.data.table_parts import Parts
from footplate_trainer.data.table_target import PlacedRows, Target
from footplate_trainer.errors import DataError
from footplate_trainer.rank.report import reporter

LARGEST = float(np.finfo(np.float32).max)
CLASSES = "the recipe tabular-classification learns classes"


@dataclass(frozen=True, slots=True)
class QuantityTarget:
    """Numbers, float64, as the training data write them."""

    dtype: ClassVar[torch.dtype] = torch.float64
    name: str
    notation: Notation

    @property
    def classes(self) -> tuple[str, ...]:
        """See `Target`."""
        return ()

    def read(self, rows: PlacedRows, *, channel: str) -> Tensor:
        """The rows' quantities [N].

        Raises:
            DataError: a row has none, or something else; with the row, the value, and how many there are.
        """
        where = f"input {channel}: the target column {self.name!r}"
        kind = rows.table.schema.field(self.name).type
        if not (is_text(kind) or _is_number(kind)):
            raise DataError(f"{where} is of type {kind}; a quantity is a number. {_way_out(kind)}")
        found: NDArray[np.float64] = np.concatenate([*self._numbers(rows.table[self.name]), np.empty(0)])
        column, many = rows.table[self.name], f"{len(found):,} rows"
        wrong = np.flatnonzero(np.isinf(found))
        if len(wrong):
            raise DataError(
                f"{where} holds no number, or one beyond ±{LARGEST:.0e}, in {len(wrong):,} of {many}, first "
                f"{str(column[int(wrong[0])].as_py())[:40]!r} in {rows.place(int(wrong[0]))}; correct or remove those "
                f"rows. If they are classes, {CLASSES}"
            )
        missing = np.flatnonzero(np.isnan(found))
        if len(missing):
            raise DataError(
                f"{where} is empty in {len(missing):,} of {many}, first in {rows.place(int(missing[0]))}; fill or "
                "remove those rows"
            )
        return torch.from_numpy(found)

    def strata(self, targets: Tensor) -> Tensor:
        """See `Target`: all are of one group."""
        return torch.zeros(len(targets), dtype=torch.int64)

    def _numbers(self, values: pa.ChunkedArray) -> Iterator[NDArray[np.float64]]:
        """The numbers of each part: NaN where one is missing, infinite where there is none to be had."""
        of_text: Callable[[str], float] = lambda text: (  # noqa: E731
            read_number(text, self.notation) if is_missing(text) or is_number(text, self.notation) else np.inf
        )
        for chunk in values.chunks:
            if is_text(values.type):
                coded = chunk.cast(pa.string()).dictionary_encode()
                known = np.array([*map(of_text, coded.dictionary.to_pylist()), np.nan])
                places = coded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)
                numbers = known[places]
            else:
                numbers = chunk.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            yield np.where(np.abs(numbers) > LARGEST, np.inf, numbers)
            reporter().beat()


def learn_quantity(rows: PlacedRows, name: str) -> tuple[Target, list[str]]:
    """How the training data write their quantities, and what there is to say of them.

    Raises:
        DataError: they write them in several ways, such as with several currencies; or all are the same.
    """
    target, column = _written(rows, name, channel=TRAIN), rows.table[name]
    different = target.read(rows, channel=TRAIN).unique()
    if len(different) == 1:
        raise DataError(
            f"input {TRAIN}: the target column {name!r} is {different[0]:g} in all {len(column):,} rows, so there is "
            "nothing to learn; name the column that holds the quantity, and check that the input is the whole data set"
        )
    said = f"column {name!r}: the target has two different values alone; if they are classes, {CLASSES}"
    return target, [said] if len(different) == 2 else []


def quantities_of_test(rows: PlacedRows, name: str) -> tuple[Target, list[str]]:
    """How the test data write theirs, of which any will do. Raises DataError as `learn_quantity`."""
    return _written(rows, name, channel=TEST), []


def _written(rows: PlacedRows, name: str, *, channel: str) -> QuantityTarget:
    notation, column = Notation(), rows.table[name]
    if is_text(column.type):
        numbers = [text for text in Parts(column).texts() if find_notation([text]) is not None]
        found = find_notation(numbers)
        if numbers and found is None:
            raise DataError(
                f"input {channel}: the target column {name!r} writes its numbers in several ways, such as "
                f"{numbers[0]!r} and {numbers[-1]!r}: their signs or decimal marks don't agree; write them alike"
            )
        notation = found or notation
    return QuantityTarget(name, notation)


def _is_number(kind: pa.DataType) -> bool:
    types = pa.types
    return any(test(kind) for test in (types.is_integer, types.is_floating, types.is_decimal, types.is_null))


def _way_out(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return f"True and False are classes: {CLASSES}"
    if pa.types.is_temporal(kind):
        return "Of dates, give the number that is meant, such as days since a day of your choice"
    return "Several quantities a row aren't learnt: give each a column of its own, and a job"
