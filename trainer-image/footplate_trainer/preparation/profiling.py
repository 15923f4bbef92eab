"""The profile of some data. Pure."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from footplate.api.data import SPLITS
from footplate_trainer.preparation.hints import find_hints
from footplate_trainer.preparation.measuring import Column, count_doubles, describe, row_hashes
from footplate_trainer.preparation.report import Hint, Profile

MAX_COLUMNS = 500
"""That are described; of more, the first."""


def make_profile(
    table: pa.Table,
    splits: NDArray[np.uint8],
    *,
    label: str | None = None,
    same: Sequence[str] | None = None,
    unreadable: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Profile:
    """What all rows hold, part by part.

    Args:
        table: all rows [N].
        splits: of each row [N] the place of its part in SPLITS.
        label: the column that is to be predicted, where it is known.
        same: the columns by which rows are the same; all, where not given.
        unreadable: files that can't be read, and why.
        notes: what was said when the data were read.
    """
    columns = [Column(name, table.column(name), splits) for name in table.schema.names[:MAX_COLUMNS]]
    described = [describe(column) for column in columns]
    repeated, across = count_doubles(row_hashes(table.select(list(same)) if same else table), splits)
    hints = find_hints(columns, described, label=label, across=across)
    hints += [Hint(kind="unreadable", text=text[:512]) for text in unreadable[:20]]
    counts = np.bincount(splits, minlength=len(SPLITS))
    return Profile(
        rows=table.num_rows,
        splits={name: int(counts[part]) for part, name in enumerate(SPLITS) if counts[part]},
        columns=described,
        duplicates=repeated,
        duplicates_across=across,
        label=label if label in table.schema.names else None,
        hints=hints,
        notes=list(notes),
    )
