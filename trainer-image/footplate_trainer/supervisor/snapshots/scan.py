"""What lies in the folder now: files by their path, with what tells whether they have changed. Reads no contents.

It is bounded, whatever code leaves there: of folders with too many files the largest are left out as a whole, since a
part of one is worth nothing.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from footplate_trainer.errors import sendable
from footplate_trainer.exchange import STAGING
from footplate_trainer.supervisor.snapshots.manifest import MAX_PATH

MAX_FILES = 20_000
"""Of a node's folder. Their names are in the supervisor's memory."""


@dataclass(frozen=True, slots=True)
class State:
    """What a file looks like from outside; another one, or other bytes, look different."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    mode: int
    link: str | None = None
    """Where a link leads, relative to the folder that it lies in."""


@dataclass(slots=True)
class Scan:
    """The files of a folder, by path relative to it, and what is there and can't be kept, in words."""

    files: dict[str, State] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def scan(folder: Path, *, max_files: int = MAX_FILES) -> Scan:
    """Looks at a folder. What comes or goes meanwhile is there, or isn't."""
    found, root = Scan(), os.path.realpath(folder)
    if not folder.is_dir():  # it is the code's to remove
        return found
    groups = {"": _take(_plain_in(root), root, found, max_files)}
    for name in _folders_in(root, max_files):
        groups[name] = _take(_walk(root, name, found), root, found, max_files)
        _leave_out(groups, found, max_files)
    _leave_out(groups, found, max_files)
    for files in groups.values():
        found.files.update(files)
    return found


def _leave_out(groups: dict[str, dict[str, State]], found: Scan, limit: int) -> None:
    while sum(map(len, groups.values())) > limit:
        largest = max(groups, key=lambda name: len(groups[name]))
        found.left_out.append(
            f"{sendable(largest) or 'the files that lie in it directly'} (of {limit:,} files that are kept at most, it "
            "would take the largest part)"
        )
        del groups[largest]


def _folders_in(root: str, limit: int) -> list[str]:
    with os.scandir(root) as entries:
        names = (entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name != STAGING)
        return sorted(islice(names, limit))


def _plain_in(root: str) -> Iterator[str]:
    with os.scandir(root) as entries:
        yield from (entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))


def _walk(root: str, below: str, found: Scan) -> Iterator[str]:
    folders = [below]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(os.path.join(root, here)) as entries:  # noqa: PTH118 (a Path each costs more than the look)
                for entry in entries:
                    path = f"{here}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    else:
                        yield path
        except FileNotFoundError:
            continue
        except OSError as error:
            found.left_out.append(f"{sendable(here)} ({error.strerror})")


def _take(paths: Iterator[str], root: str, found: Scan, limit: int) -> dict[str, State]:
    """At most one file more than `limit`."""
    files: dict[str, State] = {}
    for path in paths:
        try:
            state = look(root, path)
        except FileNotFoundError:
            continue
        except OSError as error:  # a path that is too long, a folder that may be listed and not entered
            state = error.strerror or str(error)
        if isinstance(state, State):
            files[path] = state
        else:
            found.left_out.append(f"{sendable(path)} ({state})")
        if len(files) > limit or len(found.left_out) > limit:
            break
    return files


def look(root: str, path: str) -> State | str:
    """What is there, or why it can't be kept. `root` is the folder's real path."""
    whole = f"{root}/{path}"
    there = os.lstat(whole)
    if sendable(path) != path or len(path) > MAX_PATH:
        return "its name can't be kept: use one in UTF-8"
    state = State(there.st_size, there.st_mtime_ns, there.st_ctime_ns, there.st_ino, stat.S_IMODE(there.st_mode))
    if stat.S_ISREG(there.st_mode):
        return state if os.access(whole, os.R_OK) else "it can't be read"
    if not stat.S_ISLNK(there.st_mode):
        return "a pipe, socket or device"
    target = os.path.realpath(whole)
    if not target.startswith(f"{root}/") or sendable(target) != target:
        return f"a link out of the folder, to {sendable(str(Path(whole).readlink()))}"
    link = os.path.relpath(target, os.path.dirname(whole))  # noqa: PTH120
    return State(0, state.modified_ns, state.changed_ns, state.inode, state.mode, link)
