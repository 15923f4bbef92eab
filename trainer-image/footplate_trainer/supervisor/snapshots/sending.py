"""Sends the bytes of files that are at rest, each content once. What changes meanwhile isn't taken.

A file is read before it is sent and after: who writes through memory (mmap) changes no time that anybody sees.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal

from footplate_trainer.errors import NotFound, UserError
from footplate_trainer.supervisor.snapshots.manifest import File
from footplate_trainer.supervisor.snapshots.scan import State, look

FILES_AT_ONCE = 4
READ_BYTES = 1 << 20
NICENESS = 10
"""Training comes first."""


class Torn(UserError):
    """What lies there is no longer of one moment: some of it has been written anew."""


class Closed(Exception):
    """Nothing more is to be begun."""


class Sender:
    """Hashes and uploads files of one folder; `sent` are the contents that are known to be in storage."""

    def __init__(self, folder: Path, send: Callable[[str, Path], None], *, closed: threading.Event) -> None:
        self.sent: set[str] = set()
        self._read: dict[str, tuple[State, File]] = {}
        """What was sent last: it needn't be read again where the whole had to be given up."""
        self._folder = Path(os.path.realpath(folder))
        self._send = send
        self._closed = closed

    def send(self, files: Mapping[str, State]) -> dict[str, File]:
        """The files, by path, whose bytes are in storage now and are still those that lie there in that state.

        Raises:
            Closed: it was closed meanwhile.
        """
        with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="snapshot", initializer=_give_way) as pool:
            described = pool.map(lambda item: self._describe(*item), files.items())
            found = {file.path: file for file in described if file is not None}
            paths = {file.sha256: file.path for file in found.values() if file.sha256 not in self.sent | {None}}
            list(pool.map(lambda path: self._upload(found[path], files[path]), paths.values()))
        done = {path: file for path, file in found.items() if file.sha256 in self.sent | {None}}
        self._read = {path: (files[path], file) for path, file in done.items()}
        return done

    def fate(self, path: str, before: File | None) -> Literal["gone", "longer", "unreadable", "other"]:
        """What became of a file that couldn't be sent as it was at rest; `longer` where it begins as `before` did."""
        try:
            now = look(str(self._folder), path)
            if isinstance(now, str):
                return "unreadable"
            if before is None or before.sha256 is None:
                return "other"
            return "longer" if self._digest(path, before.size) == before.sha256 else "other"
        except (FileNotFoundError, NotADirectoryError):
            return "gone"
        except OSError:
            return "unreadable"

    def _describe(self, path: str, state: State) -> File | None:
        """None where it has another state by now, or can't be read."""
        self._check()
        if state.link is not None:
            return _file(path, state, None)
        known = self._read.get(path)
        if known is not None and known[0] == state:
            return known[1] if self._is_still(path, state) else None
        try:
            digest = self._digest(path)
        except OSError:
            return None
        return _file(path, state, digest) if self._is_still(path, state) else None

    def _upload(self, file: File, state: State) -> None:
        """An object whose file was changed meanwhile holds other bytes than it is called after: it isn't `sent`, so
        that no manifest names it, and the next one of this name is sent again.
        """
        self._check()
        try:
            self._send(str(file.sha256), self._folder / file.path)
        except (FileNotFoundError, NotFound):
            return
        with suppress(OSError):
            if self._is_still(file.path, state) and self._digest(file.path) == file.sha256:
                self.sent.add(str(file.sha256))

    def _digest(self, path: str, size: int | None = None) -> str:
        """SHA-256 of a file, or of its beginning."""
        digest, left = hashlib.sha256(), size
        # Neither a link nor a pipe that has taken its place is followed or waited for.
        with open(self._folder / path, "rb", opener=_open_plainly) as content:
            while part := content.read(READ_BYTES if left is None else min(READ_BYTES, left)):
                self._check()
                digest.update(part)
                left = None if left is None else left - len(part)
        return digest.hexdigest()

    def _is_still(self, path: str, state: State) -> bool:
        try:
            return look(str(self._folder), path) == state
        except OSError:
            return False

    def _check(self) -> None:
        if self._closed.is_set():
            raise Closed


def _file(path: str, state: State, digest: str | None) -> File:
    return File(
        path=path, size=state.size, mode=state.mode, modified_ns=state.modified_ns, sha256=digest, link=state.link
    )


def _open_plainly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _give_way() -> None:
    with suppress(OSError):  # it may have given way already
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
