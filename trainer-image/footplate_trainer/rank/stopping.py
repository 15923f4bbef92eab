"""SIGTERM, as a rank takes it: before training has state to lose it ends the process at once; after that it only sets
a flag, and the ranks agree on the step to stop at (`checkpoint.maybe_save`).

The signal is seen by a thread, through the wake-up descriptor, so that it counts while the main thread is deep in a
collective, a download or a slow import.
"""

import os
import signal
import socket
import sys
import threading
import time
from types import FrameType

from footplate.contract import ExitCode, working_grace

LEAVE_SECONDS = 1.0
"""What the ranks take to part and to end before the supervisor kills them."""

_requested = threading.Event()
_deferred = threading.Event()
_deadline = float("inf")


def install(grace_seconds: float) -> None:
    """Takes SIGTERM from now on. Does nothing in a second call, or outside the main thread."""
    if (
        signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        or threading.current_thread() is not threading.main_thread()
    ):
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.signal(signal.SIGTERM, _ignore)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_forget)
    threading.Thread(target=_watch, args=(reader, grace_seconds), name="footplate-stop", daemon=True).start()


def defer() -> None:
    """From now on there is state to lose: SIGTERM sets the flag only."""
    _deferred.set()
    if _requested.is_set():
        _leave()


def requested() -> bool:
    """True once this process was asked to stop."""
    return _requested.is_set()


def grace_left() -> float:
    """Seconds until this process must be on its way out; infinite where nobody asked it to stop."""
    return _deadline - time.monotonic()


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """A handler written in Python, so that the wake-up descriptor is written to; the thread does the work."""


def _forget() -> None:
    """A forked data worker must die of SIGTERM, and its signals are no news to its parent."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _watch(reader: socket.socket, grace_seconds: float) -> None:
    global _deadline
    while received := reader.recv(64):
        if signal.SIGTERM in received and not _requested.is_set():
            _deadline = time.monotonic() + working_grace(grace_seconds) - min(LEAVE_SECONDS, grace_seconds / 10)
            _requested.set()
            if not _deferred.is_set():
                _leave()


def _leave() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ExitCode.STOPPED)
