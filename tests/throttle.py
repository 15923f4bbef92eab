"""Makes processes really slow: they are held nearly all of the time, as on a node that throttles."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

HELD_SECONDS = 1.0
RUNS_SECONDS = 0.01
LOOK_SECONDS = 0.002
"""Between two looks for those who aren't there yet: of a second that is measured nothing is to be missed."""


class Throttle:
    """`with Throttle(find)`: what `find` finds, again and again, runs for 10 ms a second, with all its threads."""

    def __init__(self, find: Callable[[], Iterable[int]]) -> None:
        self._find = find
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.held: set[int] = set()
        """Processes that it has held at least once."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        pids: set[int] = set()
        try:
            while not self._ended.is_set():
                _send(signal.SIGSTOP, pids)  # to look for others takes its time
                found = set(self._find())
                _send(signal.SIGCONT, pids - found)
                _send(signal.SIGSTOP, pids := found)
                self.held |= pids
                if not pids:
                    self._ended.wait(LOOK_SECONDS)
                    continue
                self._ended.wait(HELD_SECONDS)
                _send(signal.SIGCONT, pids)
                time.sleep(RUNS_SECONDS)
        finally:
            _send(signal.SIGCONT, pids)


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def runs(pid: int, program: str) -> bool:
    """Whether a process runs this module."""
    try:
        return program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
