"""Local processes that never outlive their keeper.

Every process started here carries a token in its environment. Descendants inherit it even when they open sessions of
their own (torchrun's workers do) or lose their parent, so "kill the container" means: kill whatever carries its token.
A janitor process waits for the end of a pipe from the keeper, so `kill -9` of the keeper leaves nothing behind either.
Tokens are read from /proc. Where there is none (macOS), only a process group can be signalled and memory isn't known.

This file is also the janitor's program: it must import nothing but the standard library.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

MARK = "FOOTPLATE_DEV_PROCESS"
"""Environment variable that holds the token."""

_PROC = Path("/proc")


def find_program(name: str, *, package: str) -> str:
    """Path of an executable from PATH or beside this Python; FileNotFoundError names the package that has it."""
    bin_dir = str(Path(sys.executable).parent)
    found = shutil.which(name) or shutil.which(name, path=bin_dir)
    if found is None:
        raise FileNotFoundError(f"no {name!r} in PATH or in {bin_dir}: install it with `pip install {package}`")
    return found


def find_processes(token: str) -> Iterator[int]:
    """Process ids of all living processes whose token starts with `token`."""
    mark = f"{MARK}={token}".encode()
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile, or another user's
            if mark in (entry / "environ").read_bytes():
                yield int(entry.name)


def signal_processes(token: str, number: int) -> int:
    """Sends a signal to every process that carries `token`; how many there were."""
    count = 0
    for pid in find_processes(token):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            count += 1
    return count


def kill_processes(token: str) -> None:
    """Kills until none is left: a process may fork while the others are being killed."""
    while signal_processes(token, signal.SIGKILL):
        time.sleep(0.005)


class Child:
    """A process and all its descendants."""

    def __init__(self, process: asyncio.subprocess.Process, token: str) -> None:
        self._process = process
        self._token = token

    @property
    def pid(self) -> int:
        """Process id of the main process, which is also its session's and process group's."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """False once the main process has been waited for."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Exit code of the main process, negative for a signal; its descendants are killed, as with a PID namespace."""
        code = await self._process.wait()
        await asyncio.to_thread(kill_processes, self._token)
        return code

    def signal(self, number: int) -> None:
        """Signals the main process alone, as a kubelet does."""
        if self.running:
            # Not by Popen's method: it looks first whether the child has ended, and so takes its exit code from
            # asyncio's watcher, which then makes one up (255).
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def signal_all(self, number: int) -> None:
        """Signals the main process and all its descendants."""
        if not signal_processes(self._token, number):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    async def stop(self, *, grace: float) -> int:
        """SIGTERM, `grace` seconds, SIGKILL; the exit code of the main process."""
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.wait(), grace)
        except TimeoutError:
            self.signal_all(signal.SIGKILL)
            return await self.wait()

    def memory(self) -> int:
        """Bytes of anonymous and shared memory of all processes: what a cgroup couldn't reclaim."""
        return sum(_resident_bytes(pid) for pid in find_processes(self._token))


def _resident_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        lines = (_PROC / str(pid) / "status").read_text().splitlines()
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
    return 0


class Keeper:
    """Starts processes and sees to it that none survives: `async with Keeper() as keeper`."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(8)
        self._started = 0

    async def __aenter__(self) -> "Keeper":
        self._janitor = start_janitor(self._token)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._janitor.communicate)

    async def start(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> Child:
        """Starts `argv` in a session of its own, with exactly this environment; output is appended to `log`.

        Raises OSError where the program can't be executed.
        """
        self._started += 1
        token = f"{self._token}/{self._started}/"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env={**env, MARK: token},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Child(process, token)


def start_janitor(token: str) -> subprocess.Popen[bytes]:
    """Starts the process that kills all with this token when its standard input ends, and then ends itself."""
    # In a session of its own, so that Ctrl-C in a terminal doesn't reach it.
    argv = [sys.executable, "-I", "-S", __file__, token]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)


def _sweep_after_end_of_input(token: str) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()
    # A process that was just being forked carries its parent's environment: look again a little later.
    for _ in range(3):
        kill_processes(token)
        time.sleep(0.02)


if __name__ == "__main__":
    _sweep_after_end_of_input(sys.argv[1])
