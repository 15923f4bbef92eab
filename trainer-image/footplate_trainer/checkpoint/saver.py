"""Writes checkpoints in the background: training stands still only while its state is copied to host memory.

A save is collective and happens on all ranks or none: each writes its files and says whether it could, over a line of
its own; then rank 0 commits, and says whether it could. A rank's failure is thus everybody's, and never an exception
in the background: it becomes the save's result.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from footplate_trainer.checkpoint import codec
from footplate_trainer.checkpoint.codec import Packed
from footplate_trainer.checkpoint.folder import Folder
from footplate_trainer.checkpoint.manifest import File, Manifest
from footplate_trainer.checkpoint.state import HostCopies
from footplate_trainer.errors import Denied, StorageError
from footplate_trainer.rank.gang import Gang
from footplate_trainer.rank.report import reporter

log = logging.getLogger("footplate_trainer")

Describe = Callable[[tuple[File, ...]], Manifest]
"""Makes the manifest for the files of all ranks."""


@dataclass(frozen=True, slots=True)
class Saved:
    """How a save ended: `error` is None if the checkpoint is complete."""

    step: int
    seconds: float
    manifest: Manifest | None
    error: Exception | None


class Saver:
    """Writes one checkpoint at a time."""

    def __init__(self, folder: Folder, gang: Gang, *, staging: Path, keep: int) -> None:
        self._folder = folder
        self._gang = gang
        self._staging = staging
        self._keep = keep
        self._copies = HostCopies()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="footplate-checkpoint")
        self._saving: Future[Saved] | None = None
        self._captured: tuple[int, Mapping[str, Packed], Describe] | None = None
        self._told = False
        """The user knows that old checkpoints stay."""
        self.protected: set[int] = set()
        """Steps that are kept whatever `keep` says."""

    @property
    def busy(self) -> bool:
        """True while a save is being written, on this rank."""
        return self._saving is not None and not self._saving.done()

    def start(self, step: int, files: Mapping[str, Packed], describe: Describe) -> None:
        """Copies the state, by file, and returns; the rest happens in the background. Not while `busy`."""
        copies = {
            part: replace(packed, tensors=self._copies.take(packed.tensors, part=part))
            for part, packed in files.items()
        }
        self._captured = (step, copies, describe)
        self.again()

    def again(self) -> None:
        """Writes what was captured last once more. Not while `busy`."""
        if self._captured is not None:
            self._saving = self._thread.submit(self._save, *self._captured)

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

    def _save(self, step: int, copies: Mapping[str, Packed], describe: Describe) -> Saved:
        began = time.monotonic()
        manifest, error = None, None
        try:
            files = self._gang.together(lambda: [self._write(step, *copy) for copy in copies.items()])
            manifest = describe(tuple(file for ranks_files in files for file in ranks_files))
            self._gang.from_main(partial(self._folder.commit, manifest))
        except Exception as problem:  # whatever went wrong is the save's result
            error = problem
        if error is None and self._gang.rank == 0:
            self._thread.submit(self._prune, step)  # after the result: other ranks don't wait for it
        return Saved(step, time.monotonic() - began, manifest, error)

    def _write(self, step: int, part: str, packed: Packed) -> File:
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
            self._folder.put_file(step, file.name, path)
            return file
        finally:
            path.unlink(missing_ok=True)

    def _prune(self, step: int) -> None:
        try:
            self._folder.prune(newest=step, keep=self._keep, protected=self.protected)
        except StorageError as error:
            log.warning("old checkpoints could not be deleted, the next save tries again: %s", error)
            if isinstance(error, Denied) and not self._told:
                self._told = True
                reporter().note(
                    f"old checkpoints can't be deleted: more than checkpoint.keep ({self._keep}) take up room: {error}"
                )
