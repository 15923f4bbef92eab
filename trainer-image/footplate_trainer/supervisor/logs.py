"""Log lines of the supervisor: JSON in a container, readable on a terminal; on stderr, among those of the ranks."""

import contextlib
import sys
from collections.abc import Mapping
from typing import BinaryIO, Protocol

import structlog

from footplate.contract import Env

_PLACE = (Env.JOB, Env.RUN, Env.ATTEMPT, Env.NODE_RANK)


class Keeper(Protocol):
    """Takes what is written to the log, to keep it."""

    def write(self, lines: bytes) -> None:
        """Takes whole lines."""


_keeper: Keeper | None = None


def keep(keeper: Keeper | None) -> None:
    """Has all that this process writes to the container's log from now on be kept too; None ends that."""
    global _keeper
    _keeper = keeper


def write(sink: BinaryIO, lines: bytes) -> None:
    """Writes whole lines to the container's log. One that nobody takes must not hold up who writes to it."""
    if _keeper is not None:
        _keeper.write(lines)
    with contextlib.suppress(OSError, ValueError):
        sink.write(lines)
        sink.flush()


class _Logger(structlog.PrintLogger):
    """A log that nobody takes, as on a full disk, ends nothing."""

    def msg(self, message: str) -> None:
        """Prints one line."""
        if _keeper is not None:
            _keeper.write(f"{message}\n".encode(errors="backslashreplace"))
        with contextlib.suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = error = critical = exception = fatal = failure = err = msg


def configure(environ: Mapping[str, str]) -> None:
    """Sets logging up for this process; every line names the job, run, attempt and node."""
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=lambda *_: _Logger(sys.stderr),
        cache_logger_on_first_use=True,
    )
    place = {name.removeprefix("FOOTPLATE_").lower(): environ[name] for name in _PLACE if name in environ}
    structlog.contextvars.bind_contextvars(**place)
