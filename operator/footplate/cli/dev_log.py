"""The log of a job's rank 0, attempt by attempt, as it grows.

It is read where the node writes it, as it outlives its pod there. Of a program that writes faster than a terminal
shows, the last words are read and no more.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from footplate.attempt_spec import pod_name

LONGEST_BYTES = 64 << 10
"""Read of what was written between two looks."""
_IN_ALL = ("timestamp", "job", "run", "attempt", "node_rank")
"""What each line of the supervisor's has."""


@dataclass
class RankLog:
    """Where reading has come to; `path_of` says where a pod's log is."""

    job: str
    path_of: Callable[[str], Path]
    _logs: dict[str, "_Log"] = field(default_factory=dict)

    def read(self, status: Mapping[str, Any]) -> Iterator[str]:
        """What rank 0 has written since the last look, line by line; all of it once the job has finished.

        Earlier attempts are looked at too: one may have come and gone meanwhile.
        """
        finished, newest = status.get("phase") in ("Succeeded", "Failed"), status.get("attempt", 0)
        for attempt in range(newest + 1):
            name = pod_name(self.job, run=status.get("run", 1), attempt=attempt, rank=0)
            log = self._logs.setdefault(name, _Log(self.path_of(name)))
            yield from log.read(to_end=finished or attempt < newest)


@dataclass
class _Log:
    path: Path
    position: int = 0
    begun: bytes = b""
    """A line whose end isn't written yet."""

    def read(self, *, to_end: bool) -> Iterator[str]:
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                left_out = max(0, size - self.position - LONGEST_BYTES)
                file.seek(self.position + left_out)
                new = file.read(LONGEST_BYTES)
        except FileNotFoundError:
            return
        if left_out:
            self.begun = b""
            yield f"[{left_out:,} bytes are left out here, see {self.path}]"
        self.position += left_out + len(new)
        *lines, self.begun = (self.begun + new).split(b"\n")
        if to_end or len(self.begun) > LONGEST_BYTES:
            lines, self.begun = [*lines, self.begun], b""
        yield from (text for line in lines if (text := shown(line)))


def shown(line: bytes) -> str:
    """A line as a terminal leaves it: of a progress bar, which is written over and over, the last state."""
    text = line.decode(errors="replace").rstrip("\r").rpartition("\r")[2].rstrip()
    return _read_aloud(text) if text.startswith("{") and text.endswith("}") else text


def _read_aloud(text: str) -> str:
    """A line of the supervisor's, which is JSON, without what all of them have; any other as it is."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not said.keys() >= {"event", "level", *_IN_ALL}:
        return text
    event, level = said.pop("event"), said.pop("level")
    words = [event if level == "info" else f"{level}: {event}"]
    return "  ".join([*words, *(f"{name}={value}" for name, value in said.items() if name not in _IN_ALL)])
