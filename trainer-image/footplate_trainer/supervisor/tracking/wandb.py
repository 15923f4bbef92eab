"""Weights & Biases: the run as an offline one in storage, which `wandb sync` uploads.

It is written by W&B's own library, at the pod's end and in a process of its own: while training runs, nothing is. A run
has one writer there, so where the code has called wandb itself, its run is the run, and nothing is added.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from footplate import records
from footplate.api.tracking import WandbTracking
from footplate.contract import UID_DIGITS
from footplate.records import Line
from footplate_trainer.errors import StorageError, words_of
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.tracking.tracker import End, Subject, TrackerTrouble

FOLDER: Final = "wandb"
MOST_LINES: Final = 20_000
"""Of more, neighbours are told as one."""
PROGRAM_SECONDS: Final = 60.0
INSTALL: Final = "name it in trainer.requirements, or install it in the image"


class Wandb:
    """The run of one attempt. See `Tracker`.

    Args:
        settings: the job's.
        subject: what is tracked.
        logs_dir: where the code's own runs lie, and this one until it is stored.
        uri: the folder of all attempts' runs in storage.
        open_store: opens it.
        lines: gives all that the run has reported, each line with its attempt.
        python: gives the interpreter that has the library.
    """

    name = "wandb"
    seconds = 60.0

    def __init__(
        self,
        settings: WandbTracking,
        subject: Subject,
        *,
        logs_dir: Path,
        uri: str,
        open_store: Callable[[str], Store],
        lines: Callable[[], Iterable[tuple[int, Line]]],
        python: Callable[[], Path],
    ) -> None:
        self._settings = settings
        self._subject = subject
        self._logs_dir = logs_dir
        self._uri = uri
        self._open_store = open_store
        self._lines = lines
        self._python = python
        self._id = f"{subject.job}-{subject.run}-{subject.uid[:UID_DIGITS]}"
        self.url = ""
        """The folder of the run that is stored."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What W&B's library reads: `wandb.init()` then begins this run, or goes on with it."""
        own = {
            "WANDB_PROJECT": self._project,
            "WANDB_RUN_ID": self._id,
            "WANDB_RESUME": "allow",
            "WANDB_NAME": self._subject.job,
            "WANDB_DIR": str(self._logs_dir),
        }
        if self._settings.entity is not None:
            own["WANDB_ENTITY"] = self._settings.entity
        # Without a key it would ask for one, and wait.
        return own if os.environ.get("WANDB_API_KEY") else own | {"WANDB_MODE": "offline"}

    @property
    def _project(self) -> str:
        return self._settings.project or self._subject.namespace

    def begin(self) -> None:
        """There is nothing to begin."""

    def send(self, lines: Sequence[Line]) -> None:
        """All of it is told at the end."""

    def end(self, end: End) -> None:
        """Writes the run, and stores it."""
        if any((self._logs_dir / "wandb").glob(f"*run-*-{self._id}")):
            return
        folder = self._write(end)
        if folder is None:
            return
        try:
            store = self._open_store(f"{self._uri}/{folder.name}")
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    store.put_file(str(path.relative_to(folder)), path)
        except StorageError as error:
            raise TrackerTrouble(words_of(error)) from None
        self.url = f"{self._uri}/{folder.name}/"

    def _write(self, end: End) -> Path | None:
        """The folder of the run; None where nothing was reported."""
        lines = thinned(self._lines())
        if not lines:
            return None
        own = self._logs_dir.with_name("wandb-run")
        own.mkdir(exist_ok=True)
        told = "".join(f"{json.dumps(said)}\n" for said in (self._about(end, own), *map(_row, lines)))
        program = [str(self._python()), "-m", "footplate_trainer.supervisor.tracking.wandb_program"]
        try:
            done = subprocess.run(
                program, input=told.encode(), capture_output=True, timeout=PROGRAM_SECONDS, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise TrackerTrouble(f"its library can't be run: {type(error).__name__}") from None
        written = sorted((own / "wandb").glob(f"offline-run-*-{self._id}"))
        if done.returncode or not written:
            missing = b"No module named 'wandb'" in done.stderr
            last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:200]
            raise TrackerTrouble(f"the image has no wandb; {INSTALL}" if missing else f"its library says: {last}")
        return written[-1]

    def _about(self, end: End, folder: Path) -> Mapping[str, Any]:
        subject = self._subject
        own = {"job": f"{subject.namespace}/{subject.job}", "uid": subject.uid, "outcome": end.outcome}
        if end.artifact is not None:
            own |= {"artifact": end.artifact.uri, "manifestSha256": end.artifact.sha256}
        return {
            "id": self._id,
            "project": self._project,
            "entity": self._settings.entity,
            "name": subject.job,
            "config": {**subject.parameters, "footplate": own},
            "dir": str(folder),
            "exitCode": 0 if end.outcome == "succeeded" else 1,
        }


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
    return {"step": line.step, "metrics": {**line.metrics, "_timestamp": line.time}}
