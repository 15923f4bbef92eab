"""Reads what input channels bring as one table, whatever it is: rows of tables, or a row for each picture or text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from footplate.api.data import SPLITS, Split
from footplate_trainer.data.splits import TRAIN
from footplate_trainer.data.table_files import survey_files
from footplate_trainer.data.table_folders import find_files, is_table
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.preparation.folders import Folder, read_folders


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The rows of some data."""

    table: pa.Table
    locate: Callable[[int], tuple[str, int]]
    """The file of a row, below its channel's name, and its number there from 1."""
    parts: NDArray[np.uint8] | None
    """Of each row the place of its part in SPLITS, as names of channels, folders and files say; None where all are of
    one."""
    files: Sequence[Path] = ()
    """Of a table, in the order of their rows."""
    paths: Sequence[Path] | None = None
    """The file of each row, where each is one."""
    same: Sequence[str] | None = None
    """The columns by which rows are the same; all, where None."""
    unreadable: Sequence[str] = ()
    notes: Sequence[str] = ()

    def place(self, row: int) -> str:
        """Where a row is, for people."""
        file, number = self.locate(row)
        return file if self.paths is not None else f"row {number:,} of {file}"


def choose_channels(inputs: Mapping[str, Path]) -> dict[str, Path]:
    """The channels that hold the data: train with what is given beside it, or the only one.

    Raises:
        ConfigError: it can't be told which.
    """
    if TRAIN in inputs:
        return {name: inputs[name] for name in SPLITS if name in inputs}
    if len(inputs) == 1:
        return dict(inputs)
    raise ConfigError(
        f"spec.data: of the inputs {', '.join(inputs)} it can't be told which holds the data; name one {TRAIN}"
    )


def load(inputs: Mapping[str, Path], split: Split | None, scratch: Path) -> Loaded:
    """All rows of the data.

    Args:
        inputs: the folder of each channel.
        split: how they are to be divided.
        scratch: a folder for the rows of tables, which are read where they lie there.

    Raises:
        DataError: they can't be read, or are named as parts that are to be made of them.
        ConfigError: it can't be told which channel holds them.
    """
    channels = choose_channels(inputs)
    tables = any(is_table(path) for folder in channels.values() for path in folder.rglob("*") if path.is_file())
    loaded = _load_tables(channels, scratch) if tables else _of_folder(read_folders(channels))
    if loaded.parts is not None and split is not None and (split.by != "given" or split.column is not None):
        named = ", ".join(SPLITS[part] for part in np.unique(loaded.parts))
        raise DataError(
            f"data.split: files and folders of the data are named as parts already ({named}); say by: given without a "
            "column, or rename them"
        )
    return loaded


def _load_tables(channels: Mapping[str, Path], scratch: Path) -> Loaded:
    notes: list[str] = []
    paths: list[Path] = []
    codes: list[int] = []
    for channel, folder in channels.items():
        for name, files in find_files(folder, channel=channel, said=notes).items():
            paths += files
            codes += [SPLITS.index(name) if name in SPLITS else 0] * len(files)
    source = survey_files(paths, channel=next(iter(channels)))
    stored = scratch / "rows.arrow"
    source.store(stored)
    rows = source.open(stored)
    counts = [count for _, count in rows.files]
    parts = np.repeat(np.array(codes, np.uint8), counts) if len(set(codes)) > 1 else None

    def locate(row: int) -> tuple[str, int]:
        path, number = rows.locate(row)
        return _below(path, channels), number

    return Loaded(table=rows.table, locate=locate, parts=parts, files=paths, notes=(*notes, *source.said))


def _of_folder(folder: Folder) -> Loaded:
    return Loaded(
        table=folder.table,
        locate=lambda row: (folder.table["file"][row].as_py(), 1),
        parts=folder.parts if len(np.unique(folder.parts)) > 1 else None,
        paths=folder.paths,
        same=("digest",),
        unreadable=folder.unreadable,
        notes=folder.notes,
    )


def _below(path: Path, channels: Mapping[str, Path]) -> str:
    """A file's path below its channel's name."""
    return next(f"{name}/{path.relative_to(root)}" for name, root in channels.items() if path.is_relative_to(root))
