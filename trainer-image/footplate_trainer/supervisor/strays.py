"""Files that the user's code leaves where nobody looks for them: beside the output folder, in the working directory, in
the home folder. What they were before training is compared with what they are after it.
"""

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Final

LOG_FOLDERS: Final = ("runs", "wandb", "mlruns", ".cometml-runs", "lightning_logs")
"""Where TensorBoard, Weights & Biases, MLflow, Comet and Lightning write their logs, in the working directory."""
TEMPORARY: Final = ("tmp*", "pymp-*", "torch*", "pip-*", "matplotlib-*", "ray", "cc*", "cuda*")
"""What libraries put into a home folder that is /tmp too."""
DEBRIS: Final = ("__pycache__", "*.pyc", "core", "core.*", ".*")
MAX_LOOKED_AT: Final = 100_000
"""Files of a folder; of one with more the rest isn't looked at."""

Look = Mapping[Path, tuple[int, int]]
"""Size and time of the last change of regular files, by path below a folder."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder in which code may leave files, and what was in it before; `ignore` are names at its top."""

    name: str
    folder: Path
    before: Look = field(default_factory=dict)
    ignore: tuple[str, ...] = ()

    def new_files(self, *, apart_from: Collection[Path] = ()) -> dict[str, Path]:
        """What is new or has changed, by `<name>/<path>`: debris, links, and what lies in other folders left out."""
        found = _look(self.folder, apart_from=apart_from, debris=DEBRIS, ignore=self.ignore)
        return {
            f"{self.name}/{path.as_posix()}": self.folder / path
            for path, state in found.items()
            if self.before.get(path) != state
        }


def working_directory(folder: Path) -> Place:
    """The folder that the ranks are started in, as it is before that."""
    return Place("work", folder, look(folder), LOG_FOLDERS)


def home(folder: Path) -> Place | None:
    """The home folder; None where it isn't the pod's own, which is empty when a pod begins."""
    try:
        is_empty = all(_matches(path.name, (".*", *TEMPORARY)) for path in islice(folder.iterdir(), MAX_LOOKED_AT))
    except OSError:
        return None
    return Place("home", folder, {}, TEMPORARY) if is_empty else None


def log_files(logs_dir: Path, work: Place) -> dict[str, Path]:
    """What lies in the logs folder, and what is new in libraries' own ones in the working directory, by name."""
    own = {path.as_posix(): logs_dir / path for path in look(logs_dir)}
    found: dict[str, Path] = {}
    for name in LOG_FOLDERS:
        folder = work.folder / name
        states = {} if folder.is_symlink() else look(folder)
        found |= {
            f"{name}/{path.as_posix()}": folder / path
            for path, state in states.items()
            if work.before.get(Path(name) / path) != state
        }
    return found | own


def look(folder: Path) -> Look:
    """All regular files of a folder; links aren't followed, and a folder that isn't there is empty."""
    return _look(folder)


def _look(
    folder: Path, *, apart_from: Collection[Path] = (), debris: tuple[str, ...] = (), ignore: tuple[str, ...] = ()
) -> Look:
    found = {}
    for path in islice(_files(folder, apart_from, debris, ignore), MAX_LOOKED_AT):
        with suppress(OSError):  # a temporary file that is gone, a folder that may be listed and not entered
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                found[path.relative_to(folder)] = (status.st_size, status.st_mtime_ns)
    return found


def _files(
    folder: Path, apart_from: Collection[Path], debris: tuple[str, ...], ignore: tuple[str, ...]
) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        unwanted = (*debris, *ignore) if here == folder else debris
        folders[:] = [name for name in folders if not _matches(name, unwanted) and here / name not in apart_from]
        yield from (here / name for name in names if not _matches(name, unwanted))


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
