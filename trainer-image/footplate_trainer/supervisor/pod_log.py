"""What of a pod's log is kept to be read later: its first and its last part, on the node's disk until it is sent.

It has what the container's log has, the ranks' lines and the supervisor's own. What lies between the two parts is left
out, and a line says how much.
"""

import gzip
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from footplate_trainer.supervisor.secrets import mask

HEAD_BYTES: Final = 8 << 20
TAIL_BYTES: Final = 8 << 20
"""So much of the end is there at least, and at most twice as much."""
BLOCK_BYTES: Final = 1 << 20


class PodLog:
    """Takes whole lines, from any thread. A disk that is full ends the keeping, and nothing else."""

    def __init__(self, folder: Path, *, head_bytes: int = HEAD_BYTES, tail_bytes: int = TAIL_BYTES) -> None:
        self._folder = folder
        self._room = head_bytes
        self._tail_bytes = tail_bytes
        self._lock = threading.Lock()
        self._is_tail = False
        self._left_out = 0
        self._file: BinaryIO | None = None
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path("head").open("wb", buffering=0)

    def write(self, lines: bytes) -> None:
        """Keeps whole lines."""
        with self._lock:
            if self._file is None:
                return
            try:
                file = self._turn() if len(lines) > self._room else self._file
                file.write(lines)
                self._room -= len(lines)
            except OSError:
                self._end()

    def pack(self, target: Path, secrets: Sequence[bytes]) -> None:
        """Ends the keeping, and writes what was kept to `target`, compressed, and without these values.

        Raises:
            OSError: the disk is full.
        """
        with self._lock, gzip.open(target, "wb", compresslevel=1) as packed:
            self._end()
            for part in ("head", "before", "last"):
                if part == "before" and self._left_out:
                    packed.write(f"... {self._left_out:,} bytes of the log were left out here ...\n".encode())
                for block in _blocks(self._path(part)):
                    packed.write(mask(block, secrets))

    def _turn(self) -> BinaryIO:
        """Begins a new part of the end, and gives the one before the last up."""
        before, last = self._path("before"), self._path("last")
        if self._is_tail:
            self._left_out += before.stat().st_size if before.exists() else 0
            last.replace(before)
        self._end()
        self._file = file = last.open("wb", buffering=0)
        self._is_tail, self._room = True, self._tail_bytes
        return file

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def _path(self, part: str) -> Path:
        return self._folder / part


def _blocks(path: Path) -> Iterator[bytes]:
    """A file in pieces of whole lines, which are short; one that isn't there is empty."""
    if not path.exists():
        return
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block + file.readline()
