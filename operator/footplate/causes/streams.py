"""What each process has written, in a log that several have written to: launchers put a rank before each line."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)")
_PREFIX = re.compile(
    r"\[rank ?(?P<rank>\d{1,7})\]:? ?"  # torch once it is distributed, and our own supervisor
    r"|\[[a-z_]{1,32}(?P<local>\d{1,7})\]: ?"  # torchrun --tee
    r"|\[\d{1,9},(?P<mpi>\d{1,7})\]<std(?:out|err)>: ?"  # mpirun --tag-output
    r"|\(\w{0,64} ?pid=(?P<pid>\d{1,9})(?:, ip=[\d.]{1,15})?\) ?"  # Ray
)
_BORDER = re.compile(r"^ *(?:[│|┃]|\+ (?=Exception Group)) ?")
"""Of the box that a group of exceptions, or one that rich has drawn, stands in."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line without what was put before it; `number` is its place among all lines of the log."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Stream:
    """What one process has written, as far as that is known: without a prefix it may be several."""

    rank: int | None
    lines: Sequence[Line]


def split(log: str, *, first_rank: int = 0) -> list[Stream]:
    """A log by who has written it, the first to write first.

    Args:
        log: some hundred lines.
        first_rank: rank of the first process on this node: some launchers count from there.
    """
    streams: dict[tuple[str, int], list[Line]] = {}
    for number, raw in enumerate(log.splitlines()):
        rank, text = ("", 0), _ESCAPES.sub("", raw.rpartition("\r")[2])
        while prefix := _PREFIX.match(text):
            rank = _who(prefix, rank, first_rank=first_rank)
            text = text[prefix.end() :]
        streams.setdefault(rank, []).append(Line(number, _BORDER.sub("", text, count=1).rstrip()))
    return [Stream(number if kind == "rank" else None, lines) for (kind, number), lines in streams.items()]


def _who(prefix: re.Match[str], before: tuple[str, int], *, first_rank: int) -> tuple[str, int]:
    """A rank of the gang says more than one of this node, and that than a process id."""
    if prefix["rank"] or prefix["mpi"]:
        return "rank", int(prefix["rank"] or prefix["mpi"])
    if before[0] == "rank":
        return before
    return ("rank", first_rank + int(prefix["local"])) if prefix["local"] else ("pid", int(prefix["pid"]))
