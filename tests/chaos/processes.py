"""The living processes of a job's pods, as the kernel knows them."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from footplate.contract import Env

RANK = "RANK"
_KNOWN = tuple(f"{name}=" for name in (Env.JOB, Env.ATTEMPT, RANK))


@dataclass(frozen=True)
class Process:
    """`rank` is None for a supervisor; a rank's data workers have its rank, too."""

    pid: int
    attempt: int
    rank: int | None
    leads: bool
    """It leads a process group of its own, as supervisors and ranks do."""


def processes_of(job: str) -> list[Process]:
    """All processes that belong to a job, whatever became of their parents; ranks in their order."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):  # ended meanwhile, or another user's
            lines = (path / "environ").read_text().split("\0")
            variables = dict(line.split("=", 1) for line in lines if line.startswith(_KNOWN))
            if variables.get(Env.JOB) == job:
                rank = int(variables[RANK]) if RANK in variables else None
                group = int((path / "stat").read_text().rpartition(")")[2].split()[2])
                found.append(Process(int(path.name), int(variables[Env.ATTEMPT]), rank, group == int(path.name)))
    return sorted(found, key=lambda process: (-1 if process.rank is None else process.rank, process.pid))
