"""Who is told to stop, of all that a command has started.

SIGTERM goes from the supervisor's children down, to the first on each way that handles it, and to all above that. What
those have started is their own business: data workers, which a trainer needs to save, and a launcher's ranks. A shell
tells nobody, whatever handlers it has: it waits for its child first. So its children hear it from here.
"""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SHELLS = frozenset({"sh", "ash", "bash", "busybox", "dash", "ksh", "mksh", "zsh"})
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Running:
    """A process, as the kernel sees it."""

    pid: int
    parent: int
    program: str
    """Name of the file that it runs; empty where that can't be read."""
    handles: bool
    """True where it has a handler for SIGTERM."""

    @property
    def tells_others(self) -> bool:
        """Whether those that it has started are its own business."""
        return self.handles and self.program not in SHELLS


def tell_to_stop(supervisor: int) -> None:
    """Sends SIGTERM to whoever must hear it of what a process has started."""
    for pid in find_hearers(supervisor, _all_running()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def find_hearers(supervisor: int, running: Iterable[Running]) -> list[int]:
    """The process ids to signal, a parent before its children: a shell whose child is gone would start the next one."""
    children: dict[int, list[Running]] = {}
    for process in running:
        children.setdefault(process.parent, []).append(process)

    def below(pid: int) -> Iterator[int]:
        for child in children.get(pid, ()):
            yield child.pid
            if not child.tells_others:
                yield from below(child.pid)

    return [*below(supervisor)]


def _all_running() -> Iterator[Running]:
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, KeyError, ValueError):  # ended meanwhile
            yield _read(folder)


def _read(folder: Path) -> Running:
    fields = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
    handled = int(fields["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1
    try:
        program = (folder / "exe").readlink().name
    except OSError:
        program = ""
    return Running(int(folder.name), int(fields["PPid"]), program, bool(handled))
