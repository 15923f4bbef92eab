"""Log lines for a page, as they come: read in a thread, sent in bundles, bounded in length and number."""

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from footplate.client import LogLine
from footplate.client.loop import Iteration
from footplate.errors import FootplateError
from footplate.ui.streams import encode, to_json

MAX_LINE = 4_000
"""Characters of one line."""
MAX_WAITING = 2_000
"""Lines that are read ahead of a slow browser."""
BUNDLE_SECONDS = 0.2
TAIL = 2_000
"""Lines of the past that are shown first."""
QUIET_BUNDLES = 75
"""After so many without a line a comment is sent, which finds out whether anybody still listens."""
_END = None


async def log_events(open_log: Callable[[], Iterator[LogLine]]) -> AsyncIterator[str]:
    """The events of a log: `lines`, and `end` with a sentence when nothing more comes."""
    reader = _Reader(open_log)
    quiet = 0
    try:
        while True:
            lines, ended = reader.take()
            if lines:
                yield encode(to_json([_shown(line) for line in lines]), event="lines")
            if ended:
                yield encode(to_json(reader.ending), event="end")
                return
            quiet = 0 if lines else quiet + 1
            if quiet == QUIET_BUNDLES:
                quiet = 0
                yield ": still here\n\n"
            await asyncio.sleep(BUNDLE_SECONDS)
    finally:
        reader.stop()


class _Reader:
    """Reads a log in a thread, since the client's iterators block."""

    def __init__(self, open_log: Callable[[], Iterator[LogLine]]) -> None:
        self.ending = "That is all."
        self._open = open_log
        self._lines: queue.Queue[LogLine | None] = queue.Queue(MAX_WAITING)
        self._stopped = threading.Event()
        self._opened: Iterator[LogLine] = iter(())
        threading.Thread(target=self._read, name="log", daemon=True).start()

    def stop(self) -> None:
        """Ends it, also where it waits for a job that says nothing."""
        self._stopped.set()
        if isinstance(self._opened, Iteration):
            self._opened.close()

    def take(self) -> tuple[list[LogLine], bool]:
        """What has come since, and whether that was all."""
        lines: list[LogLine] = []
        while len(lines) < MAX_WAITING:  # a log that grows as fast as it is read has pauses, too
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                break
            if line is _END:
                return lines, True
            lines.append(line)
        return lines, False

    def _read(self) -> None:
        try:
            self._opened = self._open()
            while not self._stopped.is_set() and (line := next(self._opened, _END)) is not _END:
                self._put(line)
        except FootplateError as error:
            self.ending = str(error)
        except Exception as error:  # whoever reads on is told, too
            self.ending = f"The log ended: {type(error).__name__} {error}"
        self._put(_END)

    def _put(self, line: LogLine | None) -> None:
        while not self._stopped.is_set():
            try:
                self._lines.put(line, timeout=1)
            except queue.Full:
                continue
            return


def _shown(line: LogLine) -> dict[str, Any]:
    text = line.text if len(line.text) <= MAX_LINE else f"{line.text[:MAX_LINE]}… [{len(line.text):,} characters]"
    return {"rank": line.node_rank, "attempt": line.attempt, "text": text}
