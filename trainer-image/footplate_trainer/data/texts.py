"""Reads labelled texts: all the data of a run, as tokens and labels, and notes on them.

Rank 0 alone learns what there is to know of them; then each node makes tokens of the texts once, batch by batch, in
files that all of its ranks read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.utils.data import Dataset

from footplate_trainer.data import text_sources
from footplate_trainer.data.scratch import once_a_node, ranks, shared_folder
from footplate_trainer.data.splits import TEST, TRAIN, VALIDATION, check_classes, hold_out, say_not_held_out
from footplate_trainer.data.table_files import Rows, Source
from footplate_trainer.data.table_target import count_classes, find_doubles, find_missing, label, list_classes
from footplate_trainer.data.tokens import LETTERS_A_TOKEN, Tokens, learn_tokenizer, tokens_of
from footplate_trainer.errors import DataError
from footplate_trainer.rank.report import reporter

TEXTS_AT_ONCE = 1024
BITS_OF_TOKENS = np.int32


class TokenizedTexts(Dataset[tuple[Tensor, Tensor]]):
    """Labelled texts: (tokens int64 [T], label int64 []). They lie in files.

    Args:
        tokens: of all texts, one after the other, int32.
        ends: where each text's tokens end, int64 [N].
        labels: int64 [N].
    """

    def __init__(self, tokens: Tensor, ends: Tensor, labels: Tensor) -> None:
        self._tokens = tokens
        self._ends = ends
        self.labels = labels
        self.lengths = ends.diff(prepend=torch.zeros(1, dtype=torch.int64))
        """Tokens of each text, int64 [N]."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        end = int(self._ends[index])
        return self._tokens[end - int(self.lengths[index]) : end].long(), self.labels[index]


@dataclass(frozen=True, slots=True)
class TextSplits:
    """All the data of a run; validation and test are None where nothing is held out."""

    classes: tuple[str, ...]
    tokens: Tokens
    train: TokenizedTexts
    validation: TokenizedTexts | None
    test: TokenizedTexts | None
    notes: tuple[str, ...] = ()
    """What their owner should know of how they were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user wants of the data."""

    inputs: Mapping[str, Path]
    text: str
    target: str
    fractions: Mapping[str, float]
    """Share of the training data for each split that no channel brings."""
    seed: int
    vocabulary_size: int
    """Most tokens of a tokenizer that is learnt."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What rank 0 tells the others."""

    sources: Mapping[str, Source]
    classes: tuple[str, ...]
    tokenizer: str | None
    notes: tuple[str, ...]


def read_splits(asked: Asked, *, tokens: Tokens | None, max_length: int) -> TextSplits:
    """Reads every channel, makes tokens of the texts, and holds out of the training data what no channel brings.
    Collective.

    Args:
        tokens: what makes tokens; None: a tokenizer is learnt from the training data.
        max_length: tokens of a text that are read, where one is learnt.

    Raises:
        DataError: naming the file, row or column, what is wrong with it, and the way out.
        ConfigError: the columns make no sense together.
    """
    with shared_folder() as shared:
        learnt = ranks().from_main(lambda: _learn(asked, shared, most=None if tokens else max_length * LETTERS_A_TOKEN))
        tokens = tokens or tokens_of(learnt.tokenizer or "", max_length)
        counts, longer = once_a_node(lambda: _encode(asked, learnt, tokens, shared))
        read = {split: _map(shared / split, *count) for split, count in counts.items()}
    notes = learnt.notes + _of_longer(longer, sum(map(len, read.values())), tokens)
    return TextSplits(learnt.classes, tokens, read[TRAIN], read.get(VALIDATION), read.get(TEST), notes)


def read_texts(
    folder: Path, *, tokens: Tokens, text: str, target: str, classes: tuple[str, ...]
) -> tuple[TokenizedTexts, tuple[str, ...]]:
    """All texts of the channel `test`, as a model of these classes takes them, and what there is to say of them.
    Collective.

    Raises:
        DataError: as `read_splits`; or a label is none of the model's.
    """
    asked = Asked(inputs={TEST: folder}, text=text, target=target, fractions={}, seed=0, vocabulary_size=0)
    with shared_folder() as shared:
        learnt = ranks().from_main(lambda: _survey_test(asked, classes, shared))
        counts, longer = once_a_node(lambda: _encode(asked, learnt, tokens, shared))
        found = _map(shared / TEST, *counts[TEST])
    return found, learnt.notes + _of_longer(longer, len(found), tokens)


def _survey_test(asked: Asked, classes: tuple[str, ...], shared: Path) -> Learnt:
    said: list[str] = []
    sources = text_sources.find(asked.inputs, text=asked.text, target=asked.target, said=said)
    source = sources[TEST]
    rows = _read(source, shared / f"{TEST}.arrow")
    _with_text(rows, asked, TEST, said)
    return Learnt({TEST: source}, classes, None, (*said, *source.said))


def _of_longer(longer: int, texts: int, tokens: Tokens) -> tuple[str, ...]:
    """What there is to say of texts that were cut."""
    if not longer:
        return ()
    return (
        f"{longer:,} of {texts:,} texts are longer than maxLength = {tokens.max_length} tokens: what comes after "
        "isn't read",
    )


def _learn(asked: Asked, shared: Path, *, most: int | None) -> Learnt:
    """With a tokenizer, from the first `most` letters of each text, where there is such a number."""
    said: list[str] = []
    sources = text_sources.find(asked.inputs, text=asked.text, target=asked.target, said=said)
    classes: tuple[str, ...] = ()
    tokenizer = None
    for split in (TRAIN, VALIDATION, TEST):
        if split not in sources:
            continue
        rows = _read(sources[split], shared / f"{split}.arrow")
        said += sources[split].said
        if split == TRAIN:
            classes = list_classes(count_classes(rows, asked.target, channel=split), asked.target)
            said += find_doubles(classes, asked.target) + find_missing(classes, asked.target)
        labels = label(rows, asked.target, classes, channel=split)
        there = _with_text(rows, asked, split, said)
        if split == TRAIN:
            check_classes(labels[there], where=f"column {asked.target!r} of input {TRAIN}")
            part = _divide(labels, there, asked, sources, said)[TRAIN]
            if most is not None:
                texts = (text[:most] for text in _texts(rows, asked.text, part))
                tokenizer = learn_tokenizer(texts, size=asked.vocabulary_size)
    return Learnt(sources, classes, tokenizer, tuple(said))


def _read(source: Source, path: Path) -> Rows:
    if not path.exists():
        source.store(path)
    return source.open(path)


def _with_text(rows: Rows, asked: Asked, split: str, said: list[str]) -> Tensor:
    """Which rows have a text, bool [N].

    Raises:
        DataError: none has.
    """
    parts = [
        pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(chunk)).fill_null(0), 0).to_numpy(zero_copy_only=False)
        for chunk in rows.table[asked.text].chunks
    ]
    there = torch.from_numpy(np.concatenate(parts)) if parts else torch.zeros(0, dtype=torch.bool)
    empty = int((~there).sum())
    if empty == len(there):
        raise DataError(f"input {split}: the column {asked.text!r} is empty in all rows; hyperparameter text names it")
    if empty:
        first = rows.place(int(there.int().argmin()))
        said.append(
            f"input {split}: {empty:,} of {len(there):,} rows are left out, without a text; the first is {first}"
        )
    return there


def _divide(
    labels: Tensor, there: Tensor, asked: Asked, brought: Mapping[str, Source], said: list[str]
) -> dict[str, Tensor]:
    """Which rows of the training data are in which split, bool [N] each; of those that are `there`."""
    parts: dict[str, Tensor] = {}
    left = there.clone()
    for split, fraction in asked.fractions.items():
        if split not in brought and fraction > 0:
            held = hold_out(labels[left], fraction, seed=asked.seed)
            if held.any():
                parts[split] = left.clone()
                parts[split][left] = held
                left &= ~parts[split]
            else:
                say_not_held_out(split, fraction, said.append)
    return parts | {TRAIN: left}


def _texts(rows: Rows, column: str, part: Tensor) -> Iterator[str]:
    """The texts of the rows in a part, bool [N]."""
    for batch in _batches(rows, column, part):
        yield from batch
        reporter().beat()


def _batches(rows: Rows, column: str, part: Tensor) -> Iterator[list[str]]:
    start = 0
    for stored in rows.table.select([column]).to_batches(TEXTS_AT_ONCE):
        wanted = pa.array(part[start : start + len(stored)].numpy())
        start += len(stored)
        if texts := stored.column(0).filter(wanted).to_pylist():
            yield texts


def _encode(asked: Asked, learnt: Learnt, tokens: Tokens, shared: Path) -> tuple[dict[str, tuple[int, int]], int]:
    """Writes the tokens and labels of each split into files; how many texts and tokens each has, and how many texts
    were cut.
    """
    counts: dict[str, tuple[int, int]] = {}
    longer = 0
    for split, source in learnt.sources.items():
        rows = _read(source, shared / f"{split}.arrow")
        labels = label(rows, asked.target, learnt.classes, channel=split)
        there = _with_text(rows, asked, split, [])
        parts = _divide(labels, there, asked, learnt.sources, []) if split == TRAIN else {split: there}
        for part, wanted in parts.items():
            ends, cut = _write_tokens(_batches(rows, asked.text, wanted), tokens, shared / f"{part}.tokens")
            ends.numpy().tofile(shared / f"{part}.ends")
            labels[wanted].numpy().tofile(shared / f"{part}.labels")
            counts[part] = len(ends), int(ends[-1])
            longer += cut
    return counts, longer


def _write_tokens(batches: Iterator[list[str]], tokens: Tokens, path: Path) -> tuple[Tensor, int]:
    """Where each text's tokens end, int64 [N], and how many texts were cut."""
    lengths: list[int] = []
    longer = 0
    with path.open("wb") as file:
        for texts in batches:
            encoded, cut = tokens.encode(texts)
            lengths += map(len, encoded)
            longer += cut
            np.concatenate([np.asarray(ids, dtype=BITS_OF_TOKENS) for ids in encoded]).tofile(file)
            reporter().beat()
    return torch.tensor(lengths, dtype=torch.int64).cumsum(0), longer


def _map(path: Path, texts: int, tokens: int) -> TokenizedTexts:
    def of(kind: str, size: int, dtype: torch.dtype) -> Tensor:
        return torch.from_file(f"{path}.{kind}", shared=True, size=size, dtype=dtype)

    ends, labels = of("ends", texts, torch.int64), of("labels", texts, torch.int64)
    return TokenizedTexts(of("tokens", tokens, torch.int32), ends, labels)
