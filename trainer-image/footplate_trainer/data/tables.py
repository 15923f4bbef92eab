"""Reads labelled tables: all the data of a run, as numbers and labels, and notes on them.

Rank 0 alone learns what there is to know of them; then each node turns the files into numbers once, batch by batch, in
files that all of its ranks read. Of a row only its class and its part are held in memory, and that by one rank a node.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import torch
from torch import Tensor

from footplate.api.recipes import PATH
from footplate_trainer.data import table_files
from footplate_trainer.data.column_names import no_column
from footplate_trainer.data.inputs import Column
from footplate_trainer.data.scratch import once_a_node, ranks, shared_folder
from footplate_trainer.data.splits import TEST, TRAIN, VALIDATION, hold_out, say_not_held_out
from footplate_trainer.data.table_columns import (
    Notes,
    check_types,
    drop_index,
    encode,
    find_notations,
    learn_columns,
)
from footplate_trainer.data.table_files import Source, read_names, survey_files
from footplate_trainer.data.table_folders import find_files
from footplate_trainer.data.table_target import LearnTarget, Target, learn_classes
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.rank.report import reporter


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled rows: columns float32 [N, numeric + categorical]; labels [N], of classes int64, of quantities float64.
    They lie in files.
    """

    columns: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class TableSplits:
    """All the data of a run; validation and test are None where nothing is held out."""

    columns: tuple[Column, ...]
    classes: tuple[str, ...]
    """None of them where the target is a quantity."""
    train: Rows
    validation: Rows | None
    test: Rows | None
    notes: tuple[str, ...] = ()
    """What their owner should know of how they were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user wants of the data."""

    inputs: Mapping[str, Path]
    target: str
    learn_target: LearnTarget
    ignore: Sequence[str]
    fractions: Mapping[str, float]
    """Share of the training data for each split that no channel brings."""
    seed: int


@dataclass(frozen=True, slots=True)
class Learnt:
    """What rank 0 tells the others."""

    sources: Mapping[str, Source]
    columns: tuple[Column, ...]
    target: Target
    notes: tuple[str, ...]


def read_splits(
    inputs: Mapping[str, Path],
    *,
    target: str,
    learn_target: LearnTarget = learn_classes,
    ignore: Sequence[str],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
) -> TableSplits:
    """Reads every channel, learns the columns from the training data, and holds out of it what no channel brings.
    Collective.

    Raises:
        DataError: naming the file, row or column, what is wrong with it, and the way out.
        ConfigError: where `target` or `ignore` make no sense together.
    """
    fractions = {TEST: test_fraction, VALIDATION: validation_fraction}
    asked = Asked(
        inputs=inputs, target=target, learn_target=learn_target, ignore=ignore, fractions=fractions, seed=seed
    )
    with shared_folder() as shared:
        learnt = ranks().from_main(lambda: _learn(asked, shared))
        counts = once_a_node(lambda: _encode(asked, learnt, shared))
        rows = {split: _map(shared / split, count, learnt) for split, count in counts.items()}
    classes = learnt.target.classes
    return TableSplits(learnt.columns, classes, rows[TRAIN], rows.get(VALIDATION), rows.get(TEST), learnt.notes)


def read_rows(folder: Path, *, columns: tuple[Column, ...], target: str, learn_target: LearnTarget) -> Rows:
    """All rows of the channel `test`, as a model that was trained on such columns takes them. Collective.

    Raises:
        DataError: as `read_splits`, and what `learn_target` raises.
    """
    asked = Asked(inputs={TEST: folder}, target=target, learn_target=learn_target, ignore=(), fractions={}, seed=0)
    with shared_folder() as shared:
        learnt = ranks().from_main(lambda: _survey_test(asked, columns, shared))
        counts = once_a_node(lambda: _encode(asked, learnt, shared))
        return _map(shared / TEST, counts[TEST], learnt)


def _survey_test(asked: Asked, columns: tuple[Column, ...], shared: Path) -> Learnt:
    folder, target = asked.inputs[TEST], asked.target
    found = find_files(folder, channel=TEST, said=[])
    if TEST not in found:
        raise DataError(f"{folder} holds {' and '.join(found)} data, but none named {TEST}; add them")
    source = survey_files(found[TEST], channel=TEST)
    names = source.schema.names
    if target not in names:
        raise no_column("target", target, names, where="the test data has")
    how, said = asked.learn_target(_read(source, shared / f"{TEST}.arrow"), target)
    return Learnt({TEST: source}, columns, how, tuple(said))


def _learn(asked: Asked, shared: Path) -> Learnt:
    files, said = _find_splits(asked.inputs, asked.target)
    train = survey_files(files[TRAIN], channel=TRAIN)
    said += train.said
    check_names(train.schema.names, asked.target, asked.ignore)
    read = _read(train, shared / f"{TRAIN}.arrow")
    target, said_of_it = asked.learn_target(read, asked.target)
    labels = target.read(read, channel=TRAIN)
    said += said_of_it
    notes = Notes()
    features = drop_index(read.table.drop_columns([asked.target, *asked.ignore]), notes)
    check_types(features)
    notations = find_notations(features, notes)
    like = pa.schema([*features.schema, read.table.schema.field(asked.target)])
    sources = {TRAIN: train}
    for split in (VALIDATION, TEST):
        if split in files:
            sources[split] = survey_files(files[split], channel=split, like=like, known=train.schema.names)
            said += sources[split].said
    parts = _divide(target.strata(labels), asked, brought=sources, note=said.append)
    columns = learn_columns(features, notations, notes, rows=parts[TRAIN])
    return Learnt(sources, columns, target, (*said, *notes.texts()))


def _read(source: Source, path: Path) -> table_files.Rows:
    """The source's rows, from where they are stored."""
    if not path.exists():
        source.store(path)
    return source.open(path)


def _divide(
    strata: Tensor, asked: Asked, *, brought: Collection[str], note: Callable[[str], object] = str
) -> dict[str, Tensor]:
    """Which rows of the training data are in which split, bool [N] each."""
    parts: dict[str, Tensor] = {}
    left = torch.ones(len(strata), dtype=torch.bool)
    for split, fraction in asked.fractions.items():
        if split not in brought and fraction > 0:
            held = hold_out(strata[left], fraction, seed=asked.seed)
            if held.any():
                parts[split] = left.clone()
                parts[split][left] = held
                left ^= parts[split]
            else:
                say_not_held_out(split, fraction, note)
    return parts | {TRAIN: left}


def _encode(asked: Asked, learnt: Learnt, shared: Path) -> dict[str, int]:
    """Writes the numbers and labels of each split into files; how many rows each has."""
    counts: dict[str, int] = {}
    for split, source in learnt.sources.items():
        read = _read(source, shared / f"{split}.arrow")
        labels = learnt.target.read(read, channel=split)
        parts = {split: torch.ones(len(labels), dtype=torch.bool)}
        if split == TRAIN:
            parts = _divide(learnt.target.strata(labels), asked, brought=learnt.sources)
        counts |= {part: int(rows.sum()) for part, rows in parts.items()}
        _write(read.table, labels, learnt.columns, parts, shared)
    return counts


def _write(
    table: pa.Table, labels: Tensor, columns: Sequence[Column], parts: Mapping[str, Tensor], shared: Path
) -> None:
    for part, rows in parts.items():
        labels[rows].numpy().tofile(shared / f"{part}.labels")
    files = {part: (shared / f"{part}.columns").open("wb") for part in parts}
    start = 0
    try:
        for batch in table.to_reader():
            numbers = encode(pa.Table.from_batches([batch]), columns)
            for part, rows in parts.items():
                numbers[rows[start : start + len(batch)]].numpy().tofile(files[part])
            start += len(batch)
            reporter().beat()
    finally:
        for file in files.values():
            file.close()


def _map(path: Path, count: int, learnt: Learnt) -> Rows:
    columns = len(learnt.columns)
    numbers = torch.from_file(f"{path}.columns", shared=True, size=count * columns, dtype=torch.float32)
    labels = torch.from_file(f"{path}.labels", shared=True, size=count, dtype=learnt.target.dtype)
    return Rows(numbers.reshape(count, columns), labels)


def _find_splits(inputs: Mapping[str, Path], target: str) -> tuple[dict[str, list[Path]], list[str]]:
    """The files of each split, and what there is to say of them. A channel of a split's own name comes first."""
    said: list[str] = []
    found = find_files(inputs[TRAIN], channel=TRAIN, said=said)
    if TRAIN not in found:
        raise DataError(f"{inputs[TRAIN]} holds {' and '.join(found)} data, but none named train; add them")
    for split in [split for split in found if split != TRAIN and split not in inputs]:
        if target not in read_names(found[split][0]):
            left_out = ", ".join(path.name for path in found.pop(split)[:3])
            said.append(
                f"input {TRAIN}: {left_out} left out, without the target column {target!r}: it can't be told how well "
                "a model does there"
            )
    said += [
        f"input {TRAIN}: {', '.join(path.name for path in files[:3])} "
        + (f"left out, as there is an input {split}" if split in inputs else f"taken for {split}, as named so")
        for split, files in found.items()
        if split != TRAIN
    ]
    for split in (VALIDATION, TEST):
        if split in inputs:
            channel = find_files(inputs[split], channel=split, said=said)
            if split not in channel:
                raise DataError(f"{inputs[split]} holds {' and '.join(channel)} data, but none named {split}; add them")
            found[split] = channel[split]
            said += [f"input {split}: its {other} data are left out" for other in channel if other != split]
    return found, said


def check_names(names: Sequence[str], target: str, ignore: Sequence[str]) -> None:
    """What a recipe learns from, and what it leaves out.

    Raises:
        DataError: there is no such column, or nothing to learn from.
        ConfigError: `target` and `ignore` make no sense together.
    """
    for key, name in (("target", target), *(("ignore", name) for name in ignore)):
        if name not in names:
            raise no_column(key, name, names, where="the training data has")
    if target in ignore:
        raise ConfigError(f"{PATH}.ignore names the target column {target!r}; leave it out there")
    if len(set(ignore)) != len(ignore):
        raise ConfigError(f"{PATH}.ignore names a column twice; name it once")
    if len(names) == 1 + len(ignore):
        raise DataError(f"the training data has no column besides the target {target!r} and those ignored")
