"""The living processes of a job's pods, as the kernel knows them."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from footplate.contract import Env

_KNOWN = (f"{Env.JOB}=", f"{Env.ATTEMPT}=")


@dataclass(frozen=True)
class Process:
    """One of them; `main` is true for a pod's first process, the supervisor."""

    pid: int
    attempt: int
    main: bool


def processes_of(job: str) -> list[Process]:
    """All processes that belong to a job, whatever became of their parents."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):  # ended meanwhile, or another user's
            lines = (path / "environ").read_text().split("\0")
            variables = dict(line.split("=", 1) for line in lines if line.startswith(_KNOWN))
            if variables.get(Env.JOB) == job:
                session = int((path / "stat").read_text().rpartition(")")[2].split()[3])
                found.append(Process(int(path.name), int(variables[Env.ATTEMPT]), session == int(path.name)))
    return sorted(found, key=lambda process: process.pid)
