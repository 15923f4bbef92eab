"""The processes of a pod: started together, watched together, and gone together.

Each is the leader of a process group of its own and dies with the supervisor (PDEATHSIG). Their output goes to the
container's log line by line, with `[rank N]` before it where there are several; the last lines of stderr are kept for
the verdict. As the pod's init process (or a subreaper) the supervisor also reaps what they leave behind.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from footplate_trainer.errors import ConfigError
from footplate_trainer.launch import Launch

TAIL_LINES = 60
MAX_LINE_BYTES = 65_536
DRAIN_SECONDS = 2.0
"""How long output is waited for after a process has ended; what it left behind may hold the pipe open."""
KILL_SECONDS = 5.0

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: its exit code, or minus the signal that killed it, and when (seconds since the epoch)."""

    rank: int
    returncode: int
    time: float
    stderr_tail: str


@dataclass(slots=True)
class Process:
    """One running process."""

    rank: int
    process: asyncio.subprocess.Process
    pumps: Sequence[asyncio.Task[None]] = ()
    tail: deque[bytes] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    async def wait(self) -> Exit:
        """Returns how it ended, once it has and its output is in the log."""
        returncode = await self.process.wait()
        ended = time.time()
        if self.pumps:
            await asyncio.wait(self.pumps, timeout=DRAIN_SECONDS)
        return Exit(self.rank, returncode, ended, b"\n".join(self.tail).decode(errors="replace"))

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process itself: its data workers are its own business."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kills the process and everything in its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


async def start(launches: Sequence[Launch]) -> list[Process]:
    """Starts all processes.

    Raises:
        ConfigError: the command can't be started.
    """
    return [await _start(launch, prefix=f"[rank {launch.rank}] " if len(launches) > 1 else "") for launch in launches]


async def _start(launch: Launch, *, prefix: str) -> Process:
    supervisor = os.getpid()
    try:
        child = await asyncio.create_subprocess_exec(
            *launch.command,
            cwd=launch.folder,
            env=launch.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            process_group=0,
            preexec_fn=lambda: _die_with(supervisor),
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"spec.trainer.command: {launch.command[0]!r} can't be started ({error}); "
            "name a program that is in trainer.image or, as ./name, an executable file of trainer.source"
        ) from error
    process = Process(launch.rank, child)
    process.pumps = [
        asyncio.create_task(_pump(child.stdout, sys.stdout.buffer, prefix=prefix.encode(), tail=None)),
        asyncio.create_task(_pump(child.stderr, sys.stderr.buffer, prefix=prefix.encode(), tail=process.tail)),
    ]
    return process


def _die_with(supervisor: int) -> None:
    """Runs in the child before exec: the kernel kills it when the supervisor dies, and so does a race lost to that."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)


async def _pump(
    source: asyncio.StreamReader | None, sink: BinaryIO, *, prefix: bytes, tail: deque[bytes] | None
) -> None:
    """Copies whole lines, so that those of different ranks never mix; a line without an end goes on in pieces."""
    pending = b""
    while source is not None and (chunk := await source.read(MAX_LINE_BYTES)):
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) >= MAX_LINE_BYTES:
            lines, pending = [*lines, pending], b""
        _write_lines(lines, sink, prefix=prefix, tail=tail)
    if pending:
        _write_lines([pending], sink, prefix=prefix, tail=tail)


def _write_lines(lines: Sequence[bytes], sink: BinaryIO, *, prefix: bytes, tail: deque[bytes] | None) -> None:
    if tail is not None:
        tail.extend(line[:1024] for line in lines)
    sink.write(b"".join(prefix + line + b"\n" for line in lines))
    sink.flush()


def become_subreaper() -> None:
    """Makes this process the parent of its descendants' orphans, as PID 1 is anyway."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def reap_orphans(processes: Sequence[Process]) -> None:
    """Reaps zombies that nobody waits for; our own processes are asyncio's to reap."""
    own = {process.process.pid for process in processes}
    for pid in _children():
        if pid not in own:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def kill_all_children(*, patience: float = KILL_SECONDS) -> None:
    """Kills and reaps every descendant: each round the orphans of the killed become our own children. One that even
    SIGKILL doesn't end, in a hung driver or mount, is left to the kernel after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while (children := _children()) and time.monotonic() < deadline:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)


def _children() -> list[int]:
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if _parent_of(path) == os.getpid()]


def _parent_of(stat: Path) -> int | None:
    """The parent in /proc/<pid>/stat, after the name, which may hold anything."""
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None
