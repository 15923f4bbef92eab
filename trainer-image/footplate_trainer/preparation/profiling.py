"""The profile of some data. Pure."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from footplate.api.data import SPLITS
from footplate_trainer.preparation.cells import FewValues
from footplate_trainer.preparation.hashing import WORKERS, count_doubles
from footplate_trainer.preparation.hints import hints_of_column, hints_of_labels, hints_of_rows
from footplate_trainer.preparation.measuring import Column, describe
from footplate_trainer.preparation.report import ColumnProfile, Hint, Profile

MAX_COLUMNS = 500
"""That are described; of more, the first."""


def make_profile(
    table: pa.Table,
    splits: NDArray[np.uint8],
    *,
    few: Callable[[str], FewValues | None],
    hashes: NDArray[np.uint64],
    label: str | None = None,
    unreadable: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Profile:
    """What all rows hold, part by part.

    Args:
        table: all rows [N].
        splits: of each row [N] the place of its part in SPLITS.
        few: tells the values of a column, where they are few.
        hashes: of each row [N] what is the same for those that are the same.
        label: the column that is to be predicted, where it is known.
        unreadable: files that can't be read, and why.
        notes: what was said when the data were read.
    """
    names = table.schema.names
    target = None
    if label is not None and label in names:
        target = Column(label, table.column(label), splits, few(label))
    of_target = None if target is None else describe(target)  # what others are held against is then worked out

    def study(name: str) -> tuple[ColumnProfile, list[Hint]]:
        if target is not None and of_target is not None and name == target.name:
            return of_target, hints_of_column(target, of_target, None)
        column = Column(name, table.column(name), splits, few(name))
        described = describe(column)
        return described, hints_of_column(column, described, target)

    with ThreadPoolExecutor(WORKERS) as pool:
        studied = list(pool.map(study, names[:MAX_COLUMNS]))
    repeated, across = count_doubles(hashes, splits)
    hints = [*hints_of_rows(across), *(hint for _, found in studied for hint in found), *hints_of_labels(target)]
    hints += [Hint(kind="unreadable", text=text[:512]) for text in unreadable[:20]]
    counts = np.bincount(splits, minlength=len(SPLITS))
    return Profile(
        rows=table.num_rows,
        splits={name: int(counts[part]) for part, name in enumerate(SPLITS) if counts[part]},
        columns=[described for described, _ in studied],
        duplicates=repeated,
        duplicates_across=across,
        label=label if target is not None else None,
        hints=hints,
        notes=list(notes),
    )
