"""Writes checkpoints in the background: training stands still only while its state is copied to host memory.

A save is collective and happens on all ranks or none: each writes its files and says whether it could, over a line of
its own; then rank 0 commits, and says whether it could. A rank's failure is thus everybody's, and never an exception
in the background: it becomes the save's result. Whatever trainings a process has, their saves are written one after the
other, by one thread: they share the line.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

from footplate_trainer.checkpoint import codec
from footplate_trainer.checkpoint.codec import Packed
from footplate_trainer.checkpoint.folder import Folder
from footplate_trainer.checkpoint.host_copies import HostCopies
from footplate_trainer.checkpoint.manifest import File, Manifest
from footplate_trainer.errors import Denied, StorageError
from footplate_trainer.rank.gang import Gang
from footplate_trainer.rank.report import reporter

log = logging.getLogger("footplate_trainer")

Describe = Callable[[tuple[File, ...]], Manifest]
"""Makes the manifest for the files of all ranks."""


@dataclass(frozen=True, slots=True)
class Capture:
    """The state of one training, by file, on its way into its folder."""

    folder: Folder
    step: int
    files: Mapping[str, Packed]
    describe: Describe
    protected: Collection[int] = field(default=())
    """Steps that are kept whatever `keep` says."""


@dataclass(frozen=True, slots=True)
class Saved:
    """How a save ended: `error` is None if the checkpoints, one a training, are complete."""

    seconds: float
    manifests: Sequence[Manifest]
    error: Exception | None


@cache
def writer() -> ThreadPoolExecutor:
    """The thread in which this process writes checkpoints."""
    return ThreadPoolExecutor(1, thread_name_prefix="footplate-checkpoint")


class Saver:
    """Writes one save at a time: a checkpoint of one training, or of each of several."""

    def __init__(self, gang: Gang, *, staging: Path, keep: int) -> None:
        self._gang = gang
        self._staging = staging
        self._keep = keep
        self._copies = HostCopies()
        self._saving: Future[Saved] | None = None
        self._captured: Sequence[Capture] = ()
        self._told = False
        """The user knows that old checkpoints stay."""

    @property
    def busy(self) -> bool:
        """True while a save is being written, on this rank."""
        return self._saving is not None and not self._saving.done()

    def start(self, captures: Sequence[Capture]) -> None:
        """Copies the states and returns; the rest happens in the background. Not while `busy`."""
        self._captured = [
            replace(
                capture,
                files={
                    part: replace(packed, tensors=self._copies.take(packed.tensors, part=f"{number}/{part}"))
                    for part, packed in capture.files.items()
                },
            )
            for number, capture in enumerate(captures)
        ]
        self.again()

    def again(self) -> None:
        """Writes what was captured last once more. Not while `busy`."""
        if self._captured:
            self._saving = writer().submit(self._save, self._captured)

    def release(self) -> None:
        """Gives the memory of the copies back. Not while `busy`."""
        self._captured, self._copies = (), HostCopies()

    def wait(self, timeout: float | None = None) -> None:
        """Returns when nothing is being written any more, or after `timeout` seconds."""
        if self._saving is not None:
            wait_for([self._saving], timeout)

    def result(self) -> Saved | None:
        """How the last save ended, once; None while it is being written, and where there is no news."""
        if self._saving is None or not self._saving.done():
            return None
        saved, self._saving = self._saving.result(), None
        return saved

    def _save(self, captures: Sequence[Capture]) -> Saved:
        began = time.monotonic()
        manifests: list[Manifest] = []
        error = None
        try:
            for capture in captures:
                files = self._gang.together(partial(self._write_all, capture))
                manifests.append(capture.describe(tuple(file for ranks_files in files for file in ranks_files)))
            for capture, manifest in zip(captures, manifests, strict=True):
                self._gang.from_main(partial(capture.folder.commit, manifest))
        except Exception as problem:  # whatever went wrong is the save's result
            error = problem
        if error is None and self._gang.rank == 0:
            for capture in captures:
                writer().submit(self._prune, capture)  # after the result: other ranks don't wait for it
        return Saved(time.monotonic() - began, manifests, error)

    def _write_all(self, capture: Capture) -> list[File]:
        return [self._write(capture, part, packed) for part, packed in capture.files.items()]

    def _write(self, capture: Capture, part: str, packed: Packed) -> File:
        path = self._staging / f"{part}.{self._gang.rank}.saving"
        try:
            codec.write(path, packed)
            with path.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
            rank = self._gang.rank
            file = File(
                name=f"{part}-{rank:05d}-{sha256[:12]}.safetensors",
                size=path.stat().st_size,
                sha256=sha256,
                part=part,
                rank=rank,
            )
            capture.folder.put_file(capture.step, file.name, path)
            return file
        finally:
            path.unlink(missing_ok=True)

    def _prune(self, capture: Capture) -> None:
        try:
            capture.folder.prune(newest=capture.step, keep=self._keep, protected=capture.protected)
        except StorageError as error:
            log.warning("old checkpoints could not be deleted, the next save tries again: %s", error)
            if isinstance(error, Denied) and not self._told:
                self._told = True
                reporter().note(
                    f"old checkpoints can't be deleted: more than checkpoint.keep ({self._keep}) take up room: {error}"
                )
