"""What is wrong with the names of a table's columns."""

import re
from collections.abc import Sequence

from footplate.api.errors import nearest
from footplate.api.recipes import PATH
from footplate_trainer.errors import DataError


def header_hint(names: Sequence[str]) -> str:
    """What to think of where the names of columns look like cells."""
    numbers = sum(re.fullmatch(r"[+-]?\d+([.,]\d+)?", name) is not None for name in names)
    if 2 * numbers <= len(names):
        return ""
    return ". Its first line looks like data: add a line with the columns' names above it"


def no_column(key: str, name: str, names: Sequence[str], *, where: str) -> DataError:
    """What to raise where a hyperparameter names a column that isn't there.

    Args:
        key: the hyperparameter.
        name: the column.
        names: the columns that are there.
        where: what has those.
    """
    near = nearest(name, names)
    return DataError(
        f"{PATH}.{key}: {where} no column {name!r}{f'; {near}' if near else '.'} It has "
        f"{', '.join(map(repr, names[:20]))}{header_hint(names)}"
    )
