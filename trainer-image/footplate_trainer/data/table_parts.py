"""A table's column, looked at part by part as it is stored, so that it needn't fit into memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from torch import Tensor

from footplate_trainer.data.table_numbers import Notation, find_notation, is_missing, is_number
from footplate_trainer.rank.report import reporter

ENOUGH = 10_000
"""So many texts tell whether most of a column's are numbers."""
HELD_BYTES = 2**25
TEXT_BYTES = 100
"""What a text takes in memory beside its letters."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A column's values."""

    column: pa.ChunkedArray
    rows: Tensor | None = None
    """Those of these rows alone, bool [N]."""

    def __iter__(self) -> Iterator[pa.ChunkedArray]:
        start = 0
        for chunk in self.column.chunks:
            end = start + len(chunk)
            asked = chunk if self.rows is None else chunk.filter(pa.array(self.rows[start:end].numpy()))
            yield pa.chunked_array([asked])
            start = end
            reporter().beat()

    def texts(self) -> Iterator[str]:
        """The texts, of each part each once."""
        for part in self:
            yield from part.cast(pa.string()).unique().drop_null().to_pylist()


@dataclass(frozen=True, slots=True)
class TextCounts:
    """How often texts occur."""

    counts: dict[str, int]
    different: int
    """How many different ones there are, at least."""
    exact: bool
    """False where there are more than can be held: the rare ones are then left out, and the others' counts too low."""


def count_texts(parts: Parts) -> TextCounts:
    """Counts texts. Where they would take more than `HELD_BYTES`, the median of the counts is taken from each, and
    those that have nothing left are forgotten (Misra and Gries): so no text is lost that is common.
    """
    counts: dict[str, int] = {}
    different, exact, held = 0, True, 0
    for part in parts:
        counted = part.cast(pa.string()).drop_null().value_counts()
        for text, count in zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True):
            if text not in counts:
                held += TEXT_BYTES + len(text)
            counts[text] = counts.get(text, 0) + count
        different = max(different, len(counts))
        if held > HELD_BYTES:
            median = sorted(counts.values())[len(counts) // 2]
            counts = {text: count - median for text, count in counts.items() if count > median}
            exact, held = False, sum(TEXT_BYTES + len(text) for text in counts)
    return TextCounts(counts, different, exact)


def telling_text(parts: Parts) -> str | None:
    """Of texts that are numbers or missing, one that shows how they are written; None where all are mere digits."""
    best = min((text for text in parts.texts() if not is_missing(text)), key=_plainness)
    written = _plainness(best) < 2 or any(map(is_missing, parts.texts()))
    return best if written else None


def _plainness(text: str) -> int:
    """0 with a comma, 1 with other signs, 2 without."""
    return 0 if "," in text else 1 + is_number(text, Notation())


def strange_text(parts: Parts) -> str | None:
    """The first by its letters of the texts that are a number in no notation at all, '' if there is none; None unless
    they are less than half.
    """
    first, strange, known = "", 0, 0
    for known, text in enumerate((text for text in parts.texts() if not is_missing(text)), start=1):
        if find_notation([text]) is None:
            first = min(first or text, text)
            strange += 1
        if known >= ENOUGH and 2 * strange >= known:
            return None
    return first if 2 * strange < known else None
