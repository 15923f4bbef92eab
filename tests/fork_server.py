"""Starts ranks and supervisors as forks of one process that has imported torch, for tests that need hundreds of them;
and throws, in one of them, at a line of the trainer's own that runs after the user's last one.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

from footplate_trainer import exchange
from footplate_trainer.supervisor.ending import Ending, Story, find_ending
from footplate_trainer.supervisor.processes import Exit
from rank_processes import Job

PACKAGE = str(Path(exchange.__file__).parent)
SECONDS = 60.0


@dataclass(frozen=True)
class Throw:
    """Where to throw: at the `at`-th line of ours that rank `rank` comes to after its program; None throws nowhere."""

    rank: int = 0
    at: int | None = None
    kind: str = "Exception"


@dataclass(frozen=True)
class Ended:
    """How all ranks of a gang ended, by rank; the lines of ours that the one that throws has come to; and how the
    supervisor would judge, were they of one pod.
    """

    codes: list[int]
    lines: list[str]
    ending: Ending
    run_dirs: list[Path] = field(default_factory=list)

    def log(self, rank: int = 0) -> str:
        return (self.run_dirs[rank] / "log").read_text(errors="replace")

    def error(self, rank: int = 0) -> exchange.RankError | None:
        return exchange.read_error(self.run_dirs[rank], rank)


class ForkServer:
    """The process that forks. One gang at a time."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, job: Job, throw: Throw | None = None, *, stop_requested: bool = False) -> Ended:
        """Runs a gang to its end."""
        run_dirs = [job.run_dir(rank, 0) for rank in range(job.world_size)]
        environments = [job.prepare(rank, 0) for rank in range(job.world_size)]
        codes = self._fork("rank", environments, job.folder, run_dirs, throw)
        lines = [] if throw is None else _lines(run_dirs[throw.rank])
        return Ended(codes, lines, find_ending(_story(codes, run_dirs, stop_requested=stop_requested)), run_dirs)

    def run_pod(self, root: Path, environment: Mapping[str, str], throw: Throw) -> tuple[int, list[str]]:
        """Runs a pod's supervisor to its end, from `trainer_pods.pod_environment`: its exit code, and the lines of ours
        that it has come to once all ranks had ended.
        """
        codes = self._fork("pod", [{**os.environ, **environment}], root, [root], throw)
        return codes[0], _lines(root)

    def _fork(
        self,
        what: str,
        environments: Sequence[Mapping[str, str]],
        folder: Path,
        notes: Sequence[Path],
        throw: Throw | None,
    ) -> list[int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        processes = [
            {"what": what, "env": env, "folder": str(folder), "notes": str(path)}
            for env, path in zip(environments, notes, strict=True)
        ]
        request = {"processes": processes, "throw": None if throw is None else [throw.rank, throw.at, throw.kind]}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        codes: list[int] = json.loads(self._process.stdout.readline())
        return codes


def _lines(folder: Path) -> list[str]:
    path = folder / "lines"
    return path.read_text().splitlines() if path.exists() else []


def _story(codes: Sequence[int], run_dirs: Sequence[Path], *, stop_requested: bool) -> Story:
    errors = {rank: exchange.read_error(run_dir, rank) for rank, run_dir in enumerate(run_dirs)}
    unfinished = (
        rank for rank, run_dir in enumerate(run_dirs) if codes[rank] == 0 and not exchange.has_finished(run_dir, rank)
    )
    tails = [(run_dir / "log").read_text(errors="replace")[-3000:] for run_dir in run_dirs]
    return Story(
        exits=[Exit(rank, code, 0.0, 1e9, tails[rank]) for rank, code in enumerate(codes)],
        errors={rank: error for rank, error in errors.items() if error is not None},
        unfinished=frozenset(unfinished),
        stop_requested=stop_requested,
    )


class Injected(Exception):
    """What is thrown."""


class InjectedBase(BaseException):
    """What `except Exception` doesn't catch."""


KINDS: Mapping[str, type[BaseException]] = {
    kind.__name__: kind for kind in (Injected, InjectedBase, SystemExit, KeyboardInterrupt, MemoryError)
} | {"Exception": Injected, "BaseException": InjectedBase}


class Thrower:
    """Counts the lines of ours that this thread comes to once it is armed, notes them, and throws at one of them."""

    def __init__(self, notes: Path, at: int | None, kind: str) -> None:
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._at, self._kind = at, kind
        self._count = 0

    def arm(self) -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_filename.startswith(PACKAGE):
                frame.f_trace = self._look
            frame = frame.f_back
        sys.settrace(self._look)

    def _look(self, frame: FrameType, event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            where = f"{frame.f_code.co_filename.removeprefix(PACKAGE + '/')}:{frame.f_lineno}"
            os.write(self._notes, f"{where}\n".encode())
            if self._count == self._at:
                sys.settrace(None)
                raise KINDS[self._kind]()
            self._count += 1
        return self._look


def _serve() -> Callable[[], NoReturn]:
    """Forks until its input ends. Returns in the forks, with what they run: each ends as an interpreter does."""
    import torch  # noqa: F401

    import footplate_trainer.__main__
    import footplate_trainer.checkpoint
    import footplate_trainer.data
    import footplate_trainer.rank.program
    import footplate_trainer.supervisor.lifecycle  # noqa: F401

    while request := sys.stdin.readline():
        asked = json.loads(request)
        pids = []
        for number, process in enumerate(asked["processes"]):
            pid = os.fork()
            if pid == 0:
                throws = asked["throw"] is not None and asked["throw"][0] == number
                return _become(process, asked["throw"][1:] if throws else None)
            pids.append(pid)
        print(json.dumps(_wait(pids)), flush=True)
    os._exit(0)


def _wait(pids: list[int]) -> list[int]:
    codes: dict[int, int] = {}
    deadline = time.monotonic() + SECONDS
    while len(codes) < len(pids):
        for pid in set(pids) - set(codes):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                codes[pid] = os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return [codes[pid] for pid in pids]


def _become(process: dict[str, Any], throw: list[Any] | None) -> Callable[[], NoReturn]:
    os.environ.clear()
    os.environ.update(process["env"])
    os.chdir(process["folder"])
    log = os.open(f"{process['notes']}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    thrower = None if throw is None else Thrower(Path(process["notes"], "lines"), *throw)
    if process["what"] == "pod":
        return _pod(thrower)
    return _rank(thrower)


def _rank(thrower: Thrower | None) -> Callable[[], NoReturn]:
    from footplate_trainer.rank import program as rank

    if thrower is not None:
        find = rank.find_program

        def find_program(*arguments: Any) -> Any:
            program = find(*arguments)

            def armed() -> None:
                try:
                    program()
                finally:
                    thrower.arm()

            return armed

        rank.find_program = find_program
    return rank.run_process


def _pod(thrower: Thrower | None) -> Callable[[], NoReturn]:
    """Armed in the main thread once all ranks have ended, and in the one that publishes the model."""
    from footplate_trainer import __main__
    from footplate_trainer.supervisor import artifact
    from footplate_trainer.supervisor import lifecycle as supervisor

    if thrower is not None:
        train, publish = supervisor.Supervisor._train, artifact.publish

        async def train_armed(*arguments: Any) -> Any:
            try:
                return await train(*arguments)
            finally:
                thrower.arm()

        def publish_armed(*arguments: Any, **named: Any) -> Any:
            thrower.arm()
            try:
                return publish(*arguments, **named)
            finally:
                sys.settrace(None)

        supervisor.Supervisor._train = train_armed  # type: ignore[method-assign]
        artifact.publish = publish_armed
    return __main__.main


if __name__ == "__main__":
    _serve()()
