"""What was reported, line by line from the node's disk, for one tracker at its own pace."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from footplate.records import Line, read_line
from footplate_trainer.supervisor.history.parts import Parts

MOST_LINES: Final = 500
"""Taken at a time."""


class Feed:
    """Where a tracker is among the lines. `read` gives the next ones, again and again until they are `taken`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._place = self._next = (0, 0)
        """Number of a part, and bytes of it."""

    def read(self) -> Sequence[Line]:
        """The next lines, at most `MOST_LINES`; none where all are taken."""
        number, offset = self._place
        sizes = self._parts.sizes()
        while sizes.get(number, 0) <= offset:
            later = [other for other in sizes if other > number]
            if not later:
                return ()
            number, offset = min(later), 0
        texts: list[bytes] = []
        with suppress(OSError):  # the disk is gone, and with it what it held
            texts = self._parts.read(number, sizes[number])[offset:].splitlines(keepends=True)[:MOST_LINES]
        self._next = (number, offset + sum(map(len, texts)))
        return [line for text in texts if (line := read_line(text)) is not None]

    def __iter__(self) -> Iterator[Line]:
        """All lines that are there, each taken."""
        while lines := self.read():
            self.taken()
            yield from lines

    def taken(self) -> None:
        """What was read last is told for good."""
        self._place = self._next
