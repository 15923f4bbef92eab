"""Reads labelled tables, CSV or Parquet: all the data of a run, as numbers and labels, and notes on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from torch import Tensor

from footplate.api.errors import nearest
from footplate.api.recipes import PATH
from footplate_trainer.data.inputs import Column
from footplate_trainer.data.splits import TEST, TRAIN, VALIDATION, check_classes, hold_out
from footplate_trainer.data.table_columns import (
    Notes,
    check_types,
    drop_index,
    encode,
    find_notations,
    learn_columns,
)
from footplate_trainer.data.table_files import find_files, read_files
from footplate_trainer.data.table_target import label, list_classes, read_classes
from footplate_trainer.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled rows: columns float32 [N, numeric + categorical], labels int64 [N]."""

    columns: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class TableSplits:
    """All the data of a run; validation and test are None where nothing is held out."""

    columns: tuple[Column, ...]
    classes: tuple[str, ...]
    train: Rows
    validation: Rows | None
    test: Rows | None
    notes: tuple[str, ...] = ()
    """What their owner should know of how they were read."""


def read_splits(
    inputs: Mapping[str, Path],
    *,
    target: str,
    ignore: Sequence[str],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
) -> TableSplits:
    """Reads every channel, learns the columns from the training data, and holds out of it what no channel brings.

    Raises:
        DataError: naming the file, row or column, what is wrong with it, and the way out.
        ConfigError: where `target` or `ignore` make no sense together.
    """
    files, said = _find_splits(inputs)
    read = read_files(files[TRAIN], channel=TRAIN)
    _check_names(read.table, target, ignore)
    names = read_classes(read, target, channel=TRAIN)
    classes = list_classes(names, target)
    labels = label(names, classes, channel=TRAIN)
    check_classes(labels, where=f"column {target!r} of input {TRAIN}")
    notes = Notes()
    features = drop_index(read.table.drop_columns([target, *ignore]), notes)
    check_types(features)
    notations = find_notations(features, notes)
    like = pa.schema([*features.schema, read.table.schema.field(target)])
    parts: dict[str, tuple[pa.Table, Tensor]] = {}
    for split in (VALIDATION, TEST):
        if split in files:
            other = read_files(files[split], channel=split, like=like)
            parts[split] = other.table, label(read_classes(other, target, channel=split), classes, channel=split)
    for split, fraction in ((TEST, test_fraction), (VALIDATION, validation_fraction)):
        if split not in parts and fraction > 0:
            kept, held = hold_out(labels, fraction, seed=seed)
            if len(held):
                parts[split] = features.take(held.numpy()), labels[held]
                features, labels = features.take(kept.numpy()), labels[kept]
    columns = learn_columns(features, notations, notes)
    rows = {split: Rows(encode(part, columns), part_labels) for split, (part, part_labels) in parts.items()}
    train = Rows(encode(features, columns), labels)
    return TableSplits(columns, classes, train, rows.get(VALIDATION), rows.get(TEST), (*said, *notes.texts()))


def _find_splits(inputs: Mapping[str, Path]) -> tuple[dict[str, list[Path]], list[str]]:
    """The files of each split, and what there is to say of them. A channel of a split's own name comes first."""
    found = find_files(inputs[TRAIN], channel=TRAIN)
    if TRAIN not in found:
        raise DataError(f"{inputs[TRAIN]} holds {' and '.join(found)} data, but none named train; add them")
    said = [
        f"input {TRAIN}: {', '.join(path.name for path in files[:3])} "
        + (f"left out, as there is an input {split}" if split in inputs else f"taken for {split}, as named so")
        for split, files in found.items()
        if split != TRAIN
    ]
    for split in (VALIDATION, TEST):
        if split in inputs:
            channel = find_files(inputs[split], channel=split)
            if split not in channel:
                raise DataError(f"{inputs[split]} holds {' and '.join(channel)} data, but none named {split}; add them")
            found[split] = channel[split]
            said += [f"input {split}: its {other} data are left out" for other in channel if other != split]
    return found, said


def _check_names(table: pa.Table, target: str, ignore: Sequence[str]) -> None:
    for key, name in (("target", target), *(("ignore", name) for name in ignore)):
        if name not in table.column_names:
            near = nearest(name, table.column_names)
            hint = f"; {near}" if near else "."
            raise DataError(
                f"{PATH}.{key}: the training data has no column {name!r}{hint} "
                f"It has {', '.join(map(repr, table.column_names[:20]))}"
            )
    if target in ignore:
        raise ConfigError(f"{PATH}.ignore names the target column {target!r}; leave it out there")
    if len(set(ignore)) != len(ignore):
        raise ConfigError(f"{PATH}.ignore names a column twice; name it once")
    if table.num_columns == 1 + len(ignore):
        raise DataError(f"the training data has no column besides the target {target!r} and those ignored")
