"""Which files of a folder are being written by what a process has started: half, where that is ended now."""

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_WRITES = os.O_WRONLY | os.O_RDWR


def held_files(folder: Path, supervisor: int) -> set[str]:
    """Paths below a folder that a descendant has open, or mapped, to write to. What is only added to is a log, of
    which each part is whole.
    """
    root = f"{os.path.realpath(folder)}/"
    held = (path for pid in _below(supervisor) for path in (*_opened(pid), *_mapped(pid)))
    return {path.removeprefix(root) for path in held if path.startswith(root)}


def _below(supervisor: int) -> Iterator[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for stat in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError, IndexError, ValueError):  # ended meanwhile
            children[int(stat.read_text().rpartition(")")[2].split()[1])].append(int(stat.parent.name))
    found = [supervisor]
    for pid in found:
        found += children.pop(pid, [])
    yield from found[1:]


def _opened(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for link in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError, ValueError, IndexError):
                said = (_PROC / str(pid) / "fdinfo" / link.name).read_text()
                flags = int(said.partition("flags:")[2].split()[0], 8)
                if flags & _WRITES and not flags & os.O_APPEND:
                    yield str(link.readlink())


def _mapped(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for line in (_PROC / str(pid) / "maps").read_text(errors="surrogateescape").splitlines():
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and fields[1][1] == "w" and fields[1][3] == "s":
                yield fields[5]
