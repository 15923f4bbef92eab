"""The folder of a devcluster: at most one runs in it, and every command finds it there."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import TextIO

from footplate.errors import ConfigurationError


@dataclass(frozen=True)
class DevHome:
    """While a devcluster runs, it holds a lock on one of the folder's files, which has its process id."""

    folder: Path

    @classmethod
    def find(cls) -> "DevHome":
        """$FOOTPLATE_DEV_HOME, else ~/.footplate/dev."""
        return cls(Path(os.environ.get("FOOTPLATE_DEV_HOME") or Path.home() / ".footplate" / "dev").absolute())

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Holds the folder for this process; raises ConfigurationError where another devcluster runs in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock_file.open("a+") as file:
            if not _lock_soon(file):
                raise ConfigurationError(
                    f"a devcluster runs already in {self.folder}: use it with kubectl, or end it with "
                    "`footplate dev down`; for a second one, set FOOTPLATE_DEV_HOME to another folder"
                )
            self._state_file.unlink(missing_ok=True)  # a killed one's, before our pid says that it is ours
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            try:
                yield
            finally:
                self._state_file.unlink(missing_ok=True)

    def running_pid(self) -> int | None:
        """Process id of the devcluster that runs here; the lock proves that it is one."""
        if not self._lock_file.exists():
            return None
        with self._lock_file.open() as file:
            try:
                flock(file, LOCK_SH | LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0) or None
        return None

    def write_state(self, state: Mapping[str, str]) -> None:
        """Tells the other commands that the devcluster is ready, and where."""
        unfinished = self._state_file.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_text(json.dumps(state))
        unfinished.replace(self._state_file)  # at once, since others read it meanwhile

    def read_state(self) -> dict[str, str] | None:
        """What the running devcluster told; None where none is ready."""
        if self.running_pid() is None:
            return None
        try:
            return dict(json.loads(self._state_file.read_text()))
        except FileNotFoundError:
            return None

    @property
    def _lock_file(self) -> Path:
        return self.folder / "lock"

    @property
    def _state_file(self) -> Path:
        return self.folder / "devcluster.json"


def _lock_soon(file: TextIO, *, seconds: float = 1.0) -> bool:
    """Locks the file; another command that asks whether a devcluster runs holds the lock for an instant."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True
