"""SIGTERM, as a rank takes it: before training has state to lose it ends the program, after that it only sets a flag,
and the ranks agree on the step to stop at (`checkpoint.maybe_save`).

The signal is seen by a thread, through the wake-up descriptor, so that it counts while the main thread is deep in a
collective, a download or a slow import; and by Python's handler in the main thread, which needs no descriptor. User
code may take either for itself: a handler of its own is left alone, and what it gives up (an asyncio loop leaves
SIGTERM's default and no descriptor behind) is taken back.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from types import FrameType

from footplate.contract import ExitCode, working_grace
from footplate_trainer.rank import leaving

LEAVE_SECONDS = 1.0
"""What the ranks take to part and to end before the supervisor kills them."""
UNWIND_SECONDS = 5.0
"""How long a program that is ended may take: for its `finally` blocks, and for what it has registered with atexit."""
NOTICE_SECONDS = 1.0
"""How long until Python's handler has run, unless the main thread is deep in native code: then nothing else can."""

_requested = threading.Event()
_deferred = threading.Event()
_unwinding = threading.Event()
_deadline = float("inf")
_grace = 0.0
_writer = -1
"""This end of the wake-up descriptor; -1 where SIGTERM isn't taken."""


def install(grace_seconds: float) -> None:
    """Takes SIGTERM from now on, if nobody else has it. Does nothing outside the main thread."""
    global _grace, _writer
    if threading.current_thread() is not threading.main_thread():
        return
    if _writer >= 0:
        _take()
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    _grace, _writer = grace_seconds, writer.detach()
    _take()
    os.register_at_fork(after_in_child=_forget)
    threading.Thread(target=_watch, args=(reader,), name="footplate-stop", daemon=True).start()


def defer() -> None:
    """From now on there is state to lose: SIGTERM sets the flag only."""
    _deferred.set()
    if _requested.is_set():
        _end_program()


def requested() -> bool:
    """True once this process was asked to stop."""
    if _writer >= 0 and threading.current_thread() is threading.main_thread():
        _take()
    return _requested.is_set()


def ending() -> bool:
    """True once the program was told to end, at a place where it didn't expect it: what goes wrong in it after that is
    no failure.
    """
    return _unwinding.is_set()


def grace_left() -> float:
    """Seconds until this process must be on its way out; infinite where nobody asked it to stop."""
    return _deadline - time.monotonic()


def time_to_leave() -> float:
    """Seconds that the way out itself may take; infinite where nobody asked this process to stop."""
    return max(0.0, grace_left()) + min(LEAVE_SECONDS, _grace / 10) / 2


def _take() -> None:
    """Takes what nobody has: SIGTERM's handler, and the wake-up descriptor."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)
    before = signal.set_wakeup_fd(_writer, warn_on_full_buffer=False)
    if before not in (-1, _writer):
        signal.set_wakeup_fd(before)


def _on_sigterm(_signal: int, _frame: FrameType | None) -> None:
    """In the main thread, as soon as it runs Python; the thread may know already."""
    _ask()
    if not _deferred.is_set() and not leaving.begun():
        _end_program()


def _ask() -> None:
    """Sets the flag, and sees to it that the thread knows of it."""
    global _deadline
    if not _requested.is_set():
        _deadline = time.monotonic() + working_grace(_grace) - min(LEAVE_SECONDS, _grace / 10)
        _requested.set()
        with contextlib.suppress(OSError):
            os.write(_writer, bytes((signal.SIGTERM,)))


def _end_program() -> None:
    """Ends the program from within, so that its `finally` blocks and the handlers of atexit run; the thread sees to it
    that it ends at all.
    """
    if not _unwinding.is_set():
        _unwinding.set()
        raise SystemExit(int(ExitCode.STOPPED))


def _forget() -> None:
    """A forked data worker must die of SIGTERM, and its signals are no news to its parent."""
    global _writer
    _writer = -1
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _watch(reader: socket.socket) -> None:
    while received := reader.recv(64):
        if signal.SIGTERM in received:
            _ask()
            if not _deferred.is_set() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
                _see_to_the_end()


def _see_to_the_end() -> None:
    """Ends this process where the program doesn't. Handlers of atexit are the main thread's: they don't run here."""
    if _unwinding.wait(NOTICE_SECONDS):
        time.sleep(min(UNWIND_SECONDS, time_to_leave()))
    if not leaving.begun():
        leaving.end(ExitCode.STOPPED)
