"""What W&B's runs and Comet's experiments have in common: a library of the image writes one at the pod's end, in a
process of its own, and it is kept in storage for that library's command to upload.
"""

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from footplate import records
from footplate.records import Line
from footplate_trainer.errors import StorageError, words_of
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.tracking.tracker import Subject, TrackerTrouble

MOST_LINES: Final = 20_000
"""Of more, neighbours are told as one."""
PROGRAM_SECONDS: Final = 60.0
INSTALL: Final = "name it in trainer.requirements, or install it in the image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """Writes offline runs by a library, and stores them."""

    library: str
    program: str
    """Module of this package that takes lines of JSON: what the run is, then what was reported at each step."""
    uri: str
    """Folder of all attempts' runs in storage."""
    open_store: Callable[[str], Store]
    lines: Callable[[], Iterable[tuple[int, Line]]]
    """Gives all that the run has reported, each line with its attempt."""
    python: Callable[[], Path]
    """Gives the interpreter that has the library."""

    def write(self, about: Mapping[str, Any], *, folder: Path, pattern: str) -> Path | None:
        """The run that the library has written to `folder`, by the pattern of its name; None where nothing was
        reported. Raises TrackerTrouble.
        """
        lines = thinned(self.lines())
        if not lines:
            return None
        folder.mkdir(exist_ok=True)
        told = "".join(f"{json.dumps(said)}\n" for said in ({**about, "dir": str(folder)}, *map(_row, lines)))
        program = [str(self.python()), "-m", f"{__package__}.{self.program}"]
        try:
            done = subprocess.run(
                program, input=told.encode(), capture_output=True, timeout=PROGRAM_SECONDS, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise TrackerTrouble(f"its library can't be run: {type(error).__name__}") from None
        written = sorted(folder.glob(pattern))
        if done.returncode or not written:
            missing = f"No module named '{self.library}'".encode() in done.stderr
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:200]
            raise TrackerTrouble(
                f"the image has no {self.library}; {INSTALL}" if missing else f"its library says: {last}"
            )
        return written[-1]

    def store(self, path: Path, name: str) -> str:
        """Stores a file, or a folder, by that name; returns its address. Raises TrackerTrouble."""
        try:
            store = self.open_store(self.uri)
            if not path.is_dir():
                store.put_file(name, path)
                return f"{self.uri}/{name}"
            for file in sorted(path.rglob("*")):
                if file.is_file():
                    store.put_file(f"{name}/{file.relative_to(path)}", file)
        except StorageError as error:
            raise TrackerTrouble(words_of(error)) from None
        return f"{self.uri}/{name}/"


class OfflineTracker:
    """What all of them do alike: everything is told at the end. See `Tracker`.

    Args:
        subject: what is tracked.
        project: whose the run is; by default the job's namespace is.
        logs_dir: where the code's own runs lie, and beside it this one until it is stored.
        offline: writes and stores it.
    """

    seconds = 60.0

    def __init__(self, subject: Subject, *, project: str | None, logs_dir: Path, offline: Offline) -> None:
        self._subject = subject
        self._project = project or subject.namespace
        self._logs_dir = logs_dir
        self._offline = offline
        self.url = ""
        """What is stored."""

    def begin(self) -> None:
        """There is nothing to begin."""

    def send(self, lines: Sequence[Line]) -> None:
        """All of it is told at the end."""


def thinned(lines: Iterable[tuple[int, Line]], most: int = MOST_LINES) -> list[Line]:
    """What still holds of a run's lines, in its order: at most `most`, of which each says what those left out before it
    have said.
    """
    kept: list[tuple[int, Line]] = []
    for line in lines:
        kept.append(line)
        if len(kept) >= 2 * most:
            kept = _halved(kept)
    holds = records.standing((attempt, line.step) for attempt, line in kept)
    standing = [line for line, holds_still in zip(kept, holds, strict=True) if holds_still]
    while len(standing) > most:
        standing = _halved(standing)
    return [line for _, line in standing]


def _halved(lines: Sequence[tuple[int, Line]]) -> list[tuple[int, Line]]:
    halved = list(lines[1::2])
    for number, (before, (attempt, line)) in enumerate(zip(lines[::2], halved, strict=False)):
        if before[0] == attempt and before[1].step <= line.step:
            halved[number] = (attempt, replace(line, metrics={**before[1].metrics, **line.metrics}))
    return halved + ([lines[-1]] if len(lines) % 2 else [])


def _row(line: Line) -> Mapping[str, Any]:
    return {"step": line.step, "time": line.time, "metrics": line.metrics}
