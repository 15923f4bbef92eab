"""Files that the user's code leaves where nobody looks for them: beside the output folder, in the working directory, in
the home folder. They are told by the time of their last change.
"""

import os
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Final

LOG_FOLDERS: Final = ("runs", "wandb", "mlruns", ".cometml-runs", "lightning_logs")
"""Where TensorBoard, Weights & Biases, MLflow, Comet and Lightning write their logs, in the working directory."""
TEMPORARY: Final = ("tmp*", "pymp-*", "torch*", "pip-*", "matplotlib-*", "ray", "cc*", "cuda*")
"""Folders that libraries put into a home folder that is /tmp too."""
TEMPORARY_FILES: Final = ("tmp*", "pymp-*", "cc??????.*")
"""And files: no others, as torch_model.pt is somebody's model."""
DEBRIS: Final = ("__pycache__", "*.pyc", "core", "core.*", ".*")
MAX_LOOKED_AT: Final = 100_000
"""Files of a folder; of one with more the rest isn't looked at."""

TICK_SECONDS: Final = 0.02
"""File systems tell the time of a change no finer than this."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder in which code may leave files, from a moment on; `ignore` are names of folders at its top."""

    name: str
    folder: Path
    since: int = 0
    """Nanoseconds of the clock that stamps files: what has changed after that is new."""
    ignore: tuple[str, ...] = ()

    def new_files(self, *, apart_from: Collection[Path] = ()) -> dict[str, Path]:
        """What is new or has changed, by `<name>/<path>`: debris, links, and what lies in other folders left out."""
        found = _new_files(self.folder, self.since, apart_from=apart_from, debris=DEBRIS, ignore=self.ignore)
        return {f"{self.name}/{path}": self.folder / path for path in found}


def working_directory(folder: Path, scratch: Path) -> Place | None:
    """The folder that the ranks are started in, from now on; None where it is on a volume, which outlives the pod.

    Nothing is looked through before the start: it may be `/`, with all that the image has.
    """
    clock = scratch / "clock"
    clock.write_bytes(b"")
    since = clock.stat().st_ctime_ns
    if folder.stat().st_dev not in (clock.stat().st_dev, Path("/").stat().st_dev):
        return None
    time.sleep(TICK_SECONDS)
    return Place("work", folder, since, LOG_FOLDERS)


def home(folder: Path) -> Place | None:
    """The home folder; None where it isn't the pod's own, which is empty when a pod begins."""
    try:
        is_empty = all(_matches(path.name, (".*", *TEMPORARY)) for path in islice(folder.iterdir(), MAX_LOOKED_AT))
    except OSError:
        return None
    return Place("home", folder, ignore=TEMPORARY) if is_empty else None


def log_files(logs_dir: Path, work: Place | None) -> dict[str, Path]:
    """What lies in the logs folder, and what is new in libraries' own ones in the working directory, by name."""
    found = {path: logs_dir / path for path in _new_files(logs_dir)}
    if work is None:
        return found
    for name in LOG_FOLDERS:
        folder = work.folder / name
        if not folder.is_symlink():
            found = {f"{name}/{path}": folder / path for path in _new_files(folder, work.since)} | found
    return found


def _new_files(
    folder: Path,
    since: int = 0,
    *,
    apart_from: Collection[Path] = (),
    debris: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
) -> list[str]:
    """Regular files that were changed after `since`, by path below the folder; one that isn't there is empty."""
    found = []
    for path in islice(_files(folder, apart_from, debris, ignore), MAX_LOOKED_AT):
        with suppress(OSError):  # a temporary file that is gone, a folder that may be listed and not entered
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_ctime_ns > since:
                found.append(path.relative_to(folder).as_posix())
    return found


def _files(
    folder: Path, apart_from: Collection[Path], debris: tuple[str, ...], ignore: tuple[str, ...]
) -> Iterator[Path]:
    """All but what lies on other devices: volumes, /proc and /sys."""
    device = _device(folder)
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        unwanted = (*debris, *ignore) if here == folder else debris
        folders[:] = [
            name
            for name in folders
            if not _matches(name, unwanted) and here / name not in apart_from and _device(here / name) == device
        ]
        passing = (*debris, *TEMPORARY_FILES) if ignore == TEMPORARY and here == folder else debris
        yield from (here / name for name in names if not _matches(name, passing))


def _device(path: Path) -> int | None:
    try:
        return path.lstat().st_dev
    except OSError:
        return None


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
