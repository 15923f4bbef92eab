"""Records of a language model, which are held against what its recipe reads; and JSON lines, which are divided as they
are for recipes of texts.

A column of Arrow would give a record's objects all keys of all, and takes a text such as 2026-01-31 for a date.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from footplate.api.data import SPLITS
from footplate_trainer.data.records import KINDS, Reader, is_of_records
from footplate_trainer.data.text_lines import is_lines, read_objects
from footplate_trainer.errors import DataError
from footplate_trainer.rank.report import reporter

BEAT_RECORDS = 8192


def check_records(files: Sequence[Path]) -> None:
    """Reads all records of some files.

    Raises:
        DataError: there are none, or one isn't of the shape of the first, naming its line or row.
    """
    if others := [path for path in files if not is_of_records(path)]:
        raise DataError(
            f"recipe language-model reads {KINDS} files, and {others[0]} is none; convert it or take it out"
        )
    if not files:
        raise DataError(f"recipe language-model reads {KINDS} files, and the inputs hold none; check their uri")
    reader = Reader()
    for number, _ in enumerate(chain.from_iterable(map(reader.read, files))):
        if number % BEAT_RECORDS == 0:
            reporter().beat()


def are_lines(files: Sequence[Path]) -> bool:
    """Whether all of them are JSON lines, which can be divided as they are."""
    return all(map(is_lines, files))


def write_lines(files: Sequence[Path], codes: NDArray[np.uint8], folder: Path) -> None:
    """Writes the objects of JSON lines into a file for each part.

    Args:
        files: read in this order.
        codes: of each object the place of its part in SPLITS.
        folder: of the parts.
    """
    with ExitStack() as stack:
        parts = {}
        for part in np.unique(codes).tolist():
            (folder / SPLITS[part]).mkdir(parents=True, exist_ok=True)
            parts[part] = stack.enter_context((folder / SPLITS[part] / "data.jsonl").open("w", encoding="utf-8"))
        rows = (row for path in files for _, _, row in read_objects(path))
        for row, part in zip(rows, codes.tolist(), strict=True):
            parts[part].write(json.dumps(row) + "\n")
