"""The way out of a rank: the one place from which its process ends.

Exit code 0 has one source: `_end`, which runs after everything else that was registered with atexit, once `succeed`
was called. Whatever goes wrong before, in between or in there ends with a failure, the interpreter's own end included.
And as anybody can leave with 0 (`os._exit`, `exec`, native code), a rank that is done says so besides, which alone
counts.
"""

import atexit
import contextlib
import os
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from footplate.contract import ExitCode

HANDLERS_SECONDS = 5.0
"""How long what user code has registered with atexit may take once a rank has failed or was stopped."""

_INSTALLED = (
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(__file__).parent),
    "<frozen ",
)
"""Where Python, its packages and this one are; what is frozen into Python has no file."""

_pid = 0
_code: int = ExitCode.USER_ERROR
_leaving = threading.Event()
_done: Callable[[], object] | None = None


def begin() -> None:
    """Registers this process's end. What is registered with atexit later runs before it."""
    global _pid
    _pid = os.getpid()
    atexit.register(_end)


def is_fork() -> bool:
    """True in a process that user code has forked from the rank: it is none, leaves no word and parts with nobody."""
    return os.getpid() != _pid


def end_fork(code: int) -> NoReturn:
    """Ends such a process. What is registered with atexit is its parent's."""
    try:
        _flush()
    finally:
        os._exit(code)


def begun() -> bool:
    """True once it is decided that this process ends, and how."""
    return _leaving.is_set()


def exit_status(code: object) -> int:
    """The status that `SystemExit(code)` ends a process with, as Python and the kernel take it; but one that isn't 0
    never becomes 0, as 256 does when it is cut to a byte.
    """
    if code is None:
        return 0
    if not isinstance(code, int):
        return 1
    number = int.__index__(code)
    return number & 0xFF or int(number != 0)


def fail(code: int, *, seconds: float = HANDLERS_SECONDS) -> NoReturn:
    """Ends this process as not successful, without waiting for its threads. What user code has registered with atexit,
    so that trackers send the end of what they have, runs for `seconds` at most.
    """
    global _code
    try:
        _code = code if isinstance(code, int) and 0 < code < 256 else ExitCode.USER_ERROR
        if not _leaving.is_set():
            _leaving.set()
            threading.Thread(target=_end_after, args=(seconds,), name="footplate-leave", daemon=True).start()
            atexit._run_exitfuncs()
    finally:
        _end()


def end(code: int) -> NoReturn:
    """Ends this process as not successful, at once, whatever its main thread is at."""
    global _code
    try:
        _code = code
        _leaving.set()
    finally:
        _end()


def succeed(done: Callable[[], object], failed: Callable[[BaseException], int]) -> None:
    """From now on the end of the interpreter, which waits for threads and runs what atexit holds, is a success.

    Args:
        done: says so to whoever watches; the last thing that is done.
        failed: tells of what user code raises in a handler of atexit, and returns the code to exit with.
    """
    global _code, _done
    sys.unraisablehook = _hook(sys.unraisablehook, failed)
    _done = done
    _code = ExitCode.OK


def _hook(before: Callable[[Any], Any], failed: Callable[[BaseException], int]) -> Callable[[Any], None]:
    """Python only prints what a handler of atexit raises. Where user code had a hand in it, something that should have
    happened hasn't; a library that can't clean up takes nothing away.
    """

    def look(event: Any) -> None:
        global _code
        error = event.exc_value
        if _code == ExitCode.OK and "atexit" in str(event.err_msg) and _is_users(error, event.object):
            _code = ExitCode.USER_ERROR
            _code = failed(error) or ExitCode.USER_ERROR
        before(event)

    return look


def _is_users(error: BaseException | None, handler: object) -> bool:
    if error is None:
        return False
    if isinstance(error, SystemExit):
        return exit_status(error.code) != 0
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    files.append(getattr(getattr(handler, "__code__", None), "co_filename", ""))
    return any(file and not file.startswith(_INSTALLED) for file in files)


def _end_after(seconds: float) -> None:
    time.sleep(max(0.0, seconds))
    _end()


def _end() -> NoReturn:
    if is_fork():  # by a handler of atexit
        end_fork(_code)
    code = _code if _code != ExitCode.OK else ExitCode.USER_ERROR
    try:
        _flush()
        if _code == ExitCode.OK and _done is not None:
            _done()
            code = ExitCode.OK
    finally:
        os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or put there by user code
            stream.flush()
