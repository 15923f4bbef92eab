"""The log of a job's rank 0, attempt by attempt, as it grows.

Of a program that writes faster than a terminal shows, the last words are shown and no more.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from footplate.client import ClientError, LogLine
from footplate.client.log_lines import LineSplitter
from footplate.client.logs import GONE

MOST_LINES = 2_000
"""Shown of what was written between two looks."""
_END_SECONDS = 20.0
"""How long the end of a log is waited for, on a machine that is busy with something else."""
_MOST_BYTES = 1 << 20
"""Read of the log of a pod that came and went between two looks."""


def with_missed(lines: Iterable[LogLine], log_of: Callable[[int], Path]) -> Iterator[LogLine]:
    """The lines, and of a pod that was gone before anybody could ask it, those that its node has kept.

    Args:
        lines: of one pod after the other, as they are followed.
        log_of: where the node keeps the log of an attempt.
    """
    for line in lines:
        if line.text != GONE:
            yield line
        else:
            yield from (LogLine(line.node_rank, line.attempt, text) for text in _kept(log_of(line.attempt)))


def _kept(log: Path) -> Iterator[str]:
    splitter = LineSplitter()
    try:
        yield from splitter.feed(log.read_bytes()[-_MOST_BYTES:])
    except FileNotFoundError:
        return
    yield from splitter.end()


class LogTail:
    """Reads lines in a thread of its own, which ends with them."""

    def __init__(self, lines: Iterable[LogLine]) -> None:
        self._new: deque[str] = deque(maxlen=MOST_LINES)
        self._left_out = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, args=(lines,), name="log", daemon=True)
        self._thread.start()

    def read(self, status: Mapping[str, Any]) -> Iterator[str]:
        """What was written since the last look, line by line; all of it once the job has finished."""
        if status.get("phase") in ("Succeeded", "Failed"):
            self._thread.join(_END_SECONDS)
        with self._lock:
            lines, left_out = [*self._new], self._left_out
            self._new.clear()
            self._left_out = 0
        if left_out:
            yield f"[{left_out:,} lines are left out here]"
        yield from filter(None, lines)

    def _read(self, lines: Iterable[LogLine]) -> None:
        try:
            for line in lines:
                self._add(line.text)
        except ClientError as error:  # such as a job that was deleted, of which the follower hears too
            self._add(f"[{error}]")

    def _add(self, text: str) -> None:
        with self._lock:
            self._left_out += len(self._new) == MOST_LINES
            self._new.append(text)
