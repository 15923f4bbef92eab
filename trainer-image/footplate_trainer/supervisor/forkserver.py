"""Starts a pod's ranks as forks of one process that has imported torch: once, not once a rank, which is most of what
the restart of a small gang costs; and the ranks share the memory of what is imported.

That process forks and ends, and its children become the supervisor's, which is their subreaper. Before the fork nothing
of the user's runs, no device is touched, and no thread is started but OpenBLAS's own, which end for a fork.
"""

import asyncio
import contextlib
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import IO, Any, BinaryIO, NamedTuple

from footplate_trainer.errors import UserError
from footplate_trainer.supervisor.launch import RANK, Launch

PRELOADED = ("torch", "torch._dynamo", "footplate_trainer.checkpoint", "footplate_trainer.data")
"""What most ranks import; torch._dynamo comes with the first optimizer."""

UNKNOWN = 255
"""How a child ended whose end somebody else was told of: nobody knows, so not well."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


class Child:
    """A process that became our child, with what is used here of subprocess.Popen's surface."""

    def __init__(self, pid: int, stdout: IO[bytes] | None, stderr: IO[bytes] | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | Any = None

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self.returncode = UNKNOWN
            else:
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Output(NamedTuple):
    """A rank's end of the pipes to the log, as file descriptors."""

    stdout: int
    stderr: int


async def start(launches: Sequence[Launch]) -> list[Child]:
    """Starts one process for each launch; the launches differ in their environments alone.

    Raises:
        UserError: the process that was to fork them ended before, as it does where memory is short.
    """
    readers, outputs = _open_pipes(len(launches))
    try:
        server = _start_server(launches[0], outputs)
        request = {
            "arguments": launches[0].command[1 + len(RANK) :],
            "environments": [dict(launch.env) for launch in launches],
            "outputs": outputs,
        }
        answer, _ = await asyncio.to_thread(server.communicate, json.dumps(request).encode())
    finally:
        for output in outputs:
            os.close(output.stdout)
            os.close(output.stderr)
    if server.returncode != 0:
        for reader in chain.from_iterable(readers):
            reader.close()
        raise UserError(
            f"the process that starts the ranks ended with exit code {server.returncode} while it imported torch; the "
            "log may say more, and where memory is short, raise resources.limits.memory"
        )
    return [Child(pid, *pipes) for pid, pipes in zip(json.loads(answer), readers, strict=True)]


def _open_pipes(count: int) -> tuple[list[tuple[BinaryIO, BinaryIO]], list[Output]]:
    pipes = [(os.pipe(), os.pipe()) for _ in range(count)]
    readers: list[tuple[BinaryIO, BinaryIO]] = [
        (os.fdopen(out, "rb"), os.fdopen(err, "rb")) for (out, _), (err, _) in pipes
    ]
    return readers, [Output(out, err) for (_, out), (_, err) in pipes]


def _start_server(launch: Launch, outputs: Sequence[Output]) -> subprocess.Popen[bytes]:
    supervisor = os.getpid()
    return subprocess.Popen(
        [launch.command[0], "-m", __name__],
        cwd=launch.folder,
        env=launch.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[end for output in outputs for end in output],
        preexec_fn=lambda: die_with(supervisor),
    )


def become_subreaper() -> None:
    """Makes this process the parent of its descendants' orphans, as PID 1 is anyway."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(supervisor: int) -> None:
    """From now on the kernel kills this process when its parent, the supervisor, dies; so does a race lost to that."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)


def main() -> None:
    """The process that forks: it returns in the ranks, and nowhere else."""
    supervisor, server = os.getppid(), os.getpid()
    request = json.load(sys.stdin)
    outputs = [Output(*output) for output in request["outputs"]]
    for module in PRELOADED:
        with contextlib.suppress(ImportError):  # whoever needs it says so
            importlib.import_module(module)
    pids = []
    for environment, output in zip(request["environments"], outputs, strict=True):
        pid = os.fork()
        if pid == 0:
            sys.argv[1:] = request["arguments"]
            _become_rank(environment, output, others=outputs)
            while os.getppid() == server:
                time.sleep(0.001)
            die_with(supervisor)
            return
        pids.append(pid)
    os.write(sys.stdout.fileno(), json.dumps(pids).encode())
    os._exit(0)


def _become_rank(environment: Mapping[str, str], output: Output, *, others: Sequence[Output]) -> None:
    """Takes a rank's place: its environment, its output, a process group of its own."""
    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output.stdout, 1)
    os.dup2(output.stderr, 2)
    for other in others:
        os.close(other.stdout)
        os.close(other.stderr)
    if numpy := sys.modules.get("numpy"):  # random does this by itself
        numpy.random.seed()


if __name__ == "__main__":
    main()
    from footplate_trainer.rank.program import run_process

    run_process()
