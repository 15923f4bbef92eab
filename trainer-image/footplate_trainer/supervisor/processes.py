"""The processes of a pod: started together, watched together, and gone together.

Each is the leader of a process group of its own and dies with the supervisor (PDEATHSIG). Their output goes to the
container's log line by line, with `[rank N]` before it where there are several; the last lines of both are kept for
the verdict. As the pod's init process (or a subreaper) the supervisor also reaps what they leave behind.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from footplate_trainer.errors import ConfigError, sendable
from footplate_trainer.supervisor import forkserver, logs
from footplate_trainer.supervisor.launch import Launch

Hear = Callable[[Sequence[bytes]], None]

TAIL_LINES = 400
"""What kills a process says why before it writes the stacks of all its threads."""
MAX_LINE_BYTES = 65_536
REDRAW_SECONDS = 1.0
"""Progress bars reach the log at most so often."""
DRAIN_SECONDS = 2.0
"""How long output is waited for after a process has ended; what it left behind may hold the pipe open."""
KILL_SECONDS = 5.0
LEFT_SECONDS = 2.0
"""How long what the ranks leave behind may take to end by itself, as helpers of libraries do; and again on SIGTERM."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: its exit code, or minus the signal that killed it, and when: `time` is in seconds since the
    epoch, `ended_at` by `time.monotonic()`.
    """

    rank: int
    returncode: int
    time: float
    ended_at: float
    stderr_tail: str
    stdout_tail: str = ""


class Process:
    """One process, from its start to its end. Somebody must call `poll` when a child may have ended (SIGCHLD)."""

    def __init__(self, rank: int, child: forkserver.Child) -> None:
        self.rank = rank
        self._child = child
        self._ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._stdout: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._stderr: deque[bytes] = deque(maxlen=TAIL_LINES)
        self._pumps: list[asyncio.Task[None]] = []

    async def copy_output(self, prefix: str, hear: Hear | None) -> None:
        """Begins to copy its output into the log, and to whoever wants to hear its lines."""
        for source, sink, tail in (
            (self._child.stdout, sys.stdout.buffer, self._stdout),
            (self._child.stderr, sys.stderr.buffer, self._stderr),
        ):
            copying = _pump(await _read(source), sink, prefix=prefix.encode(), tail=tail, hear=hear)
            self._pumps.append(asyncio.create_task(copying))

    @property
    def pid(self) -> int:
        """Its process id, which is its process group's too."""
        return self._child.pid

    @property
    def ended(self) -> bool:
        """True once its end was noticed, though its output may still be on its way."""
        return self._ended.done()

    def poll(self) -> None:
        """Notices its end, if it has ended."""
        if self._child.poll() is not None and not self._ended.done():
            self._ended.set_result(time.monotonic())

    async def wait(self) -> Exit:
        """Returns how it ended, once it has and its output is in the log."""
        ended_at = await self._ended
        ended = time.time() - (time.monotonic() - ended_at)
        await asyncio.wait(self._pumps, timeout=DRAIN_SECONDS)
        said, told = (b"\n".join(tail).decode(errors="replace") for tail in (self._stderr, self._stdout))
        returncode = self._child.returncode
        return Exit(self.rank, -signal.SIGKILL if returncode is None else returncode, ended, ended_at, said, told)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process itself: its data workers are its own business."""
        self._child.send_signal(number)

    def kill(self) -> None:
        """Kills the process and everything in its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def give_up(self) -> None:
        """Counts it as ended by SIGKILL, though in a hung driver or mount it may live on."""
        if not self._ended.done():
            self._ended.set_result(time.monotonic())


async def start(launches: Sequence[Launch], *, hear: Hear | None = None) -> list[Process]:
    """Starts all processes. `hear` is given the lines that the first of them prints.

    Raises:
        ConfigError: the command can't be started.
        UserError: several ranks can't be.
    """
    alone = len(launches) == 1
    children = [_spawn(launches[0])] if alone else await forkserver.start(launches)
    processes = [Process(launch.rank, child) for launch, child in zip(launches, children, strict=True)]
    for process in processes:
        first = process is processes[0]
        await process.copy_output(f"[rank {process.rank}] " if not alone else "", hear if first else None)
    return processes


def start_one(launch: Launch) -> Process:
    """Starts a process of our own. Raises ConfigError where it can't be."""
    return Process(launch.rank, _spawn(launch))


def _spawn(launch: Launch) -> forkserver.Child:
    supervisor = os.getpid()
    try:
        started = subprocess.Popen(
            launch.command,
            cwd=launch.folder,
            env=launch.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            preexec_fn=lambda: forkserver.die_with(supervisor),
        )
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"spec.trainer.command: {launch.command[0]!r} can't be started ({error}); "
            "name a program that is in trainer.image or, as ./name, an executable file of trainer.source"
        ) from error
    started.returncode = 0  # not to be waited for by Popen, which takes an end that it hears nothing of for a success
    return forkserver.Child(started.pid, started.stdout, started.stderr)


async def _read(pipe: IO[bytes] | None) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader


async def _pump(
    source: asyncio.StreamReader, sink: BinaryIO, *, prefix: bytes, tail: deque[bytes], hear: Hear | None
) -> None:
    """Copies whole lines, so that those of different ranks never mix; a line without an end goes on in pieces, and a
    progress bar, which only ever returns to the line's start, as a line from time to time.
    """
    pending, returned_at = b"", float("-inf")
    while chunk := await source.read(MAX_LINE_BYTES):
        *lines, pending = (pending + chunk).split(b"\n")
        drawn, returned, rest = pending[:-1].rpartition(b"\r")  # a \r at the very end may belong to a \n
        if returned and drawn.strip() and time.monotonic() - returned_at >= REDRAW_SECONDS:
            lines, pending, returned_at = [*lines, drawn], rest + pending[-1:], time.monotonic()
        if len(pending) >= MAX_LINE_BYTES:
            lines, pending = [*lines, pending], b""
        _write_lines(lines, sink, prefix=prefix, tail=tail)
        if hear is not None:
            hear(lines)
    if pending:
        _write_lines([pending], sink, prefix=prefix, tail=tail)
        if hear is not None:
            hear([pending])


def _write_lines(lines: Sequence[bytes], sink: BinaryIO, *, prefix: bytes, tail: deque[bytes]) -> None:
    tail.extend(line[:1024] for line in lines)
    logs.write(sink, b"".join(prefix + line + b"\n" for line in lines))


def reap(processes: Sequence[Process]) -> None:
    """Notices which processes have ended, and reaps the zombies that nobody else waits for."""
    for process in processes:
        process.poll()
    own = {process.pid for process in processes}
    for pid in children():
        if pid not in own:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def end_leftovers(note: Callable[[str], object], look: Callable[[], object] = lambda: None) -> None:
    """Ends what the ranks have left behind, all that they have started included. `note` tells the user of what had to
    be told to, and `look` is called before it is.
    """
    if _are_gone_soon():
        return
    look()
    left = children()
    told = [_command_of(pid) for pid in left]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    _are_gone_soon()
    kill_all_children()
    if told:
        note(
            "the program has ended, but what it had started hadn't, and was ended before what it left was stored: "
            f"{', '.join(told)}. What it was writing is as far as it got; wait for it in the program"
        )


def _are_gone_soon() -> bool:
    deadline = time.monotonic() + LEFT_SECONDS
    reap(())
    while children():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
        reap(())
    return True


def _command_of(pid: int) -> str:
    try:
        return sendable(os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ").strip())[:200]
    except OSError:
        return str(pid)


def kill_all_children(*, patience: float = KILL_SECONDS) -> None:
    """Kills and reaps every descendant: each round the orphans of the killed become our own children. One that even
    SIGKILL doesn't end, in a hung driver or mount, is left to the kernel after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while (left := children()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)


def children() -> list[int]:
    """Process ids of this process's children, among them its descendants' orphans."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if _parent_of(path) == os.getpid()]


def _parent_of(stat: Path) -> int | None:
    """The parent in /proc/<pid>/stat, after the name, which may hold anything."""
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None
