"""A text that grows, on the node's disk, in parts of whole lines: a part that is full never changes.

Of a text without an end the first parts and the last ones are kept.
"""

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

PART_BYTES: Final = 1 << 20


class Parts:
    """Takes whole lines, from any thread. Where the disk takes none they are lost, `trouble` says why, and the next
    ones are tried again.
    """

    def __init__(self, folder: Path, *, first: int | None = None, last: int = 0, part_bytes: int = PART_BYTES) -> None:
        """
        Args:
            folder: of its own; made where it isn't there.
            first: parts that are kept of the beginning; None: all of the text.
            last: parts that are kept of the end.
            part_bytes: size of a part.
        """
        self.trouble = ""
        self.total_bytes = 0
        """Of all lines that were taken, those left out included."""
        self._folder = folder
        self._first = first
        self._last = last
        self._part_bytes = part_bytes
        # Held by those who write. What is thrown right before it is let go leaves it held, and is logged: by another
        # line here, of the same thread.
        self._lock = threading.RLock()
        self._sizes: dict[int, int] = {}
        self._left_out = 0
        self._number = 0
        self._file: int | None = None

    def write(self, lines: bytes) -> None:
        """Takes whole lines."""
        if not lines:
            return
        try:
            with self._lock:
                self._append(lines)
        except OSError as error:
            self.trouble = error.strerror or str(error)

    def sizes(self) -> dict[int, int]:
        """Bytes of each part that is there, by its number, ascending: as they are now, and nobody is waited for."""
        return dict(self._sizes)

    def read(self, number: int, size: int) -> bytes:
        """The first `size` bytes of a part.

        Raises:
            OSError: it isn't there any more.
        """
        with self._path(number).open("rb") as file:
            return file.read(size)

    def pack(self, target: Path, change: Callable[[bytes], bytes] = bytes) -> None:
        """Writes the text to a file, compressed, and each part changed so; a line says how much was left out.

        Raises:
            OSError: the disk is full.
        """
        with gzip.open(target, "wb", compresslevel=1) as packed:
            for number, size in self.sizes().items():
                if self._left_out and number and number - 1 not in self.sizes():
                    packed.write(f"... {self._left_out:,} bytes were left out here ...\n".encode())
                packed.write(change(self.read(number, size)))

    def _append(self, lines: bytes) -> None:
        size = self._sizes.get(self._number, 0)
        if size and size + len(lines) > self._part_bytes:
            self._turn()
            size = 0
        file = self._begin() if self._file is None else self._file
        if (written := os.write(file, lines)) != len(lines):  # a part of a line is none
            os.ftruncate(file, size)
            raise OSError(f"only {written} of {len(lines)} bytes could be written")
        self._sizes[self._number] = size + len(lines)
        self.total_bytes += len(lines)

    def _begin(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path(self._number), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return self._file

    def _turn(self) -> None:
        """Begins a new part, and gives up the one that is too many."""
        if self._file is not None:
            os.close(self._file)
        self._file = None
        self._number += 1
        oldest = self._number - self._last
        if self._first is not None and oldest >= self._first:
            self._left_out += self._sizes.pop(oldest, 0)
            self._path(oldest).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}"
