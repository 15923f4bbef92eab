"""The file of JSON lines in `$FOOTPLATE_METRICS_FILE`, to which any program may append what it knows of its progress:

    {"step": 100, "totalSteps": 5000, "epoch": 1, "loss": 0.25, "valAccuracy": 0.91}

It is looked at from time to time, and read as far as a look may: whoever writes faster is told less of, not slower.
Bytes that were read are given back to the disk once they are many.
"""

import json
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from footplate_trainer.supervisor.heard import by_step

MAX_LOOK_BYTES = 262_144
"""Read in one look; of more only the newest so many."""
MAX_LINE_BYTES = 65_536
MAX_DISK_BYTES = 64 * 1_048_576
"""On disk, before what was read is given back."""

_NAME = "$FOOTPLATE_METRICS_FILE"


class MetricsFile:
    """The file's reader. `hear` takes the newest numbers of each look, step by step, and `note` what it can't read."""

    def __init__(self, path: Path, hear: Callable[..., None], note: Callable[[str], None]) -> None:
        self._path = path
        self._hear = hear
        self._note = note
        self._offset = 0
        self._rest = b""

    def look(self) -> None:
        """Reads what is new. Never waits, whatever lies there: it may be a pipe, a folder or a device."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        except OSError as error:
            self._note(f"{_NAME} can't be read: {error.strerror}; append lines of JSON to a file there")
            return
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                self._read(file)
            else:
                self._note(f"{_NAME} is no file: append lines of JSON to a file there")
        except OSError as error:
            self._note(f"{_NAME} can't be read: {error.strerror}")
        finally:
            os.close(file)

    def _read(self, file: int) -> None:
        size = os.fstat(file).st_size
        if size < self._offset:  # it was begun anew
            self._offset, self._rest = 0, b""
        skipped = size - self._offset > MAX_LOOK_BYTES
        if skipped:
            self._offset, self._rest = size - MAX_LOOK_BYTES, b""
        new = os.pread(file, size - self._offset, self._offset)
        self._offset += len(new)
        if skipped:
            new = new.partition(b"\n")[2]
        *lines, self._rest = (self._rest + new).split(b"\n")
        self._rest = self._rest[-MAX_LINE_BYTES - 1 :]
        self._take(line.strip(b"\0\r ") for line in lines)
        if os.fstat(file).st_blocks * 512 > MAX_DISK_BYTES:
            # Who appends goes on at the beginning. Who doesn't leaves a hole, which costs nothing.
            os.ftruncate(file, 0)
            self._offset = 0

    def _take(self, lines: Iterable[bytes]) -> None:
        said: list[dict[str, Any]] = []
        for line in lines:
            values = _parse(line)
            if values is None:
                self._note(
                    f'{_NAME}: lines that aren\'t a JSON object of numbers, such as {{"step": 100, "loss": 0.25}}, '
                    f"in at most {MAX_LINE_BYTES:,} bytes are left out"
                )
            else:
                said.append(values)
        if newest := by_step(said):
            self._hear(*newest)


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line:
        return {}
    try:
        values = json.loads(line) if len(line) <= MAX_LINE_BYTES else None
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
