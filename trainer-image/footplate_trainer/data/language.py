"""What a language model is trained on: records as tokens, of which some are to be learnt, perhaps packed into rows.

Each node makes tokens of the records once, batch by batch, in files that all of its ranks read. What is held out is
held out by record: all of a chat's turns are in one split.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from footplate_trainer.data.packing import pack
from footplate_trainer.data.prompts import Encoded, Writer, Written
from footplate_trainer.data.records import Chat, Mistake, Place, Reader, find_records
from footplate_trainer.data.scratch import once_a_node, shared_folder
from footplate_trainer.data.splits import TEST, TRAIN, VALIDATION, hold_out
from footplate_trainer.data.tokens import MULTIPLE
from footplate_trainer.errors import DataError
from footplate_trainer.rank.report import reporter

TEXTS_AT_ONCE = 256
NOT_COUNTED = -100
"""torch's own label of what doesn't count."""
Sample = tuple[Tensor, Tensor, Tensor]
"""Tokens [T]; for each the one that it should foretell, or `NOT_COUNTED`; and its place in its text: all int64."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    """Texts as tokens. They lie in files."""

    tokens: Tensor
    """Of all texts, one after the other, int32."""
    learnt: Tensor
    """Which of them are to be learnt, bool."""
    ends: Tensor
    """Where each text's tokens end, int64 [N]."""
    records: Tensor
    """The number of the record that each text is of, int64 [N], ascending."""

    @property
    def lengths(self) -> Tensor:
        """Tokens of each text, int64 [N]."""
        return self.ends.diff(prepend=torch.zeros(1, dtype=torch.int64))

    def sample(self, text: int) -> Sample:
        """One text."""
        place = slice(int(self.ends[text - 1]) if text else 0, int(self.ends[text]))
        ids = self.tokens[place].long()
        targets = torch.full_like(ids, NOT_COUNTED)
        targets[:-1] = torch.where(self.learnt[place][1:], ids[1:], NOT_COUNTED)
        return ids, targets, torch.arange(len(ids))


class Rows(Dataset[Sample]):
    """Rows of one or more texts each.

    Args:
        texts: of which they are.
        numbers: of the texts, row after row, int64.
        ends: where each row's numbers end, int64 [N].
    """

    def __init__(self, texts: Tokenized, numbers: Tensor, ends: Tensor) -> None:
        self._texts, self._numbers, self._ends = texts, numbers, ends
        total = torch.cat([torch.zeros(1, dtype=torch.int64), texts.lengths[numbers].cumsum(0)])
        self.lengths = total[ends].diff(prepend=torch.zeros(1, dtype=torch.int64))
        """Tokens of each row, int64 [N]."""

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Sample:
        members = self._numbers[int(self._ends[index - 1]) if index else 0 : int(self._ends[index])]
        ids, targets, positions = zip(*(self._texts.sample(number) for number in members.tolist()), strict=True)
        return torch.cat(ids), torch.cat(targets), torch.cat(positions)


@dataclass(frozen=True, slots=True)
class LanguageSplits:
    """All the data of a run; validation and test are None where nothing is held out."""

    train: Rows
    validation: Rows | None
    test: Rows | None
    notes: tuple[str, ...] = ()
    """What their owner should know of how they were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedOfRecords:
    """What the user wants of the data."""

    inputs: Mapping[str, Path]
    fractions: Mapping[str, float]
    """Share of the training data's records for each split that no channel brings."""
    seed: int
    packing: bool


def read_language(asked: AskedOfRecords, writer: Writer) -> LanguageSplits:
    """Reads every channel, and makes tokens of the records. Collective.

    Raises:
        DataError: naming the file, its line or row, what is wrong with it, and the way out.
    """
    with shared_folder() as shared:
        sizes, said = once_a_node(lambda: _encode(asked, writer, shared))
        read = {split: _map(shared / split, *size) for split, size in sizes.items()}
    chosen: dict[str, Tensor] = {split: torch.arange(len(texts.ends)) for split, texts in read.items()}
    chosen |= _divide(read[TRAIN].records, asked, brought=[*read], said=said)
    texts = {split: read.get(split, read[TRAIN]) for split in chosen}
    rows = {split: _single(texts[split], numbers) for split, numbers in chosen.items()}
    if asked.packing:
        rows[TRAIN] = _packed(read[TRAIN], chosen[TRAIN], writer.max_length)
        said.append(f"packing: {len(chosen[TRAIN]):,} texts to train on are in {len(rows[TRAIN]):,} rows")
    return LanguageSplits(rows[TRAIN], rows.get(VALIDATION), rows.get(TEST), tuple(said))


def _divide(records: Tensor, asked: AskedOfRecords, *, brought: Sequence[str], said: list[str]) -> dict[str, Tensor]:
    """The numbers of the training data's texts [N] in each split, by the records that they are of."""
    names, places = records.unique_consecutive(return_inverse=True)
    left = torch.ones(len(names), dtype=torch.bool)
    parts: dict[str, Tensor] = {}
    for split, fraction in asked.fractions.items():
        if split in brought or not fraction:
            continue
        held = torch.zeros_like(left)
        held[left] = hold_out(torch.zeros(int(left.sum()), dtype=torch.int64), fraction, seed=asked.seed)
        if held.any():
            parts[split] = held[places].nonzero()[:, 0]
            left &= ~held
        else:
            said.append(
                f"no {split} data are held out: a share of {fraction:g} of the records is less than one; bring a "
                f"channel named {split}, or raise {split}Fraction"
            )
    return parts | {TRAIN: left[places].nonzero()[:, 0]}


def _single(texts: Tokenized, numbers: Tensor) -> Rows:
    return Rows(texts, numbers, torch.arange(1, len(numbers) + 1))


def _packed(texts: Tokenized, numbers: Tensor, room: int) -> Rows:
    rows = pack(texts.lengths[numbers].tolist(), room)
    order = torch.tensor([place for row in rows for place in row], dtype=torch.int64)
    return Rows(texts, numbers[order], torch.tensor([len(row) for row in rows], dtype=torch.int64).cumsum(0))


def collate_rows(samples: Sequence[Sample], *, pad: int, max_length: int) -> tuple[dict[str, Tensor], Tensor]:
    """A batch of rows: `input_ids` and `position_ids`, int64 [N, longest T], and the targets, as long.

    A row's padding comes last and goes on with its positions, so no token sees it; nor does any see another text, since
    transformers' attention ends where positions begin anew.
    """
    longest = max(len(ids) for ids, _, _ in samples)
    width = min(-(-longest // MULTIPLE) * MULTIPLE, max_length)
    ids = torch.full((len(samples), width), pad, dtype=torch.int64)
    targets = torch.full_like(ids, NOT_COUNTED)
    positions = torch.zeros_like(ids)
    for row, (tokens, wanted, places) in enumerate(samples):
        length = len(tokens)
        ids[row, :length], targets[row, :length], positions[row, :length] = tokens, wanted, places
        positions[row, length:] = torch.arange(1, width - length + 1) + places[-1]
    return {"input_ids": ids, "position_ids": positions}, targets


@dataclass(slots=True)
class _Tally:
    """What there is to say of the records of a split."""

    split: str
    records: int = 0
    texts: int = 0
    tokens: int = 0
    unrolled: int = 0
    cut: int = 0
    left_out: dict[str, tuple[int, Place, Place | None]] = field(default_factory=dict)
    """How many records, the first and the last of them, by the reason."""

    def leave_out(self, why: str, place: Place) -> None:
        """Counts a record, also where several of its texts are left out."""
        count, first, last = self.left_out.get(why, (0, place, None))
        self.left_out[why] = count + (place != last), first, place

    def notes(self, max_length: int) -> Iterator[str]:
        where = f"input {self.split}:"
        for why, (count, first, _) in self.left_out.items():
            yield f"{where} {count:,} of {self.records:,} records are left out, {why}; the first is {first}"
        if self.cut:
            yield (
                f"{where} {self.cut:,} of {self.texts:,} texts are longer than maxLength = {max_length:,} tokens: what "
                "comes after isn't read"
            )
        if self.unrolled:
            yield (
                f"{where} {self.unrolled:,} chats are a text for each of the assistant's messages, since the chat "
                "template shows earlier messages otherwise than the last one"
            )


def _encode(asked: AskedOfRecords, writer: Writer, shared: Path) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Writes the tokens of each split into files; how many texts and tokens each has, and what there is to say."""
    said: list[str] = []
    reader = Reader()
    sizes: dict[str, tuple[int, int]] = {}
    for split, files in find_records(asked.inputs, said=said).items():
        tally = _Tally(split)
        _write(_written(reader, files, writer, tally), writer, shared / split, tally)
        said += tally.notes(writer.max_length)
        if not tally.texts:
            raise DataError(f"input {split}: none of its {tally.records:,} records has a text to learn; {said[-1]}")
        sizes[split] = tally.texts, tally.tokens
    return sizes, said


def _written(
    reader: Reader, files: Iterable[Path], writer: Writer, tally: _Tally
) -> Iterator[tuple[int, Place, Written, bool]]:
    """Each text, the number and place of its record, and whether the tokenizer's marks belong around it."""
    for path in files:
        for place, record in reader.read(path):
            try:
                texts = writer.write(record)
            except Mistake as error:
                raise DataError(f"{place}: {error}") from None
            if not texts:
                tally.leave_out("without a text", place)
            tally.unrolled += len(texts) > 1
            yield from ((tally.records, place, text, not isinstance(record, Chat)) for text in texts)
            tally.records += 1


def _write(written: Iterator[tuple[int, Place, Written, bool]], writer: Writer, path: Path, tally: _Tally) -> None:
    lengths: list[int] = []
    records: list[int] = []
    with Path(f"{path}.tokens").open("wb") as tokens, Path(f"{path}.learnt").open("wb") as learnt:
        while batch := list(islice(written, TEXTS_AT_ONCE)):
            made = writer.encode([text for _, _, text, _ in batch], marks=batch[0][3])
            for (record, place, _, _), each in zip(batch, made, strict=True):
                if not each.learnt.any():
                    tally.leave_out(_why_nothing(each), place)
                    continue
                tally.cut += each.cut
                each.ids.tofile(tokens)
                each.learnt.tofile(learnt)
                lengths.append(len(each.ids))
                records.append(record)
            reporter().beat()
    np.cumsum(lengths, dtype=np.int64).tofile(f"{path}.ends")
    np.asarray(records, np.int64).tofile(f"{path}.records")
    tally.texts, tally.tokens = len(lengths), sum(lengths)


def _why_nothing(text: Encoded) -> str:
    return "of whose first maxLength tokens none is to be learnt" if text.cut else "without a token to learn"


def _map(path: Path, texts: int, tokens: int) -> Tokenized:
    def of(kind: str, size: int, dtype: torch.dtype) -> Tensor:
        return torch.from_file(f"{path}.{kind}", shared=True, size=size, dtype=dtype)

    return Tokenized(
        of("tokens", tokens, torch.int32),
        of("learnt", tokens, torch.bool),
        of("ends", texts, torch.int64),
        of("records", texts, torch.int64),
    )
