"""Finds the newest checkpoint that is whole in the eyes of every rank, and reads it."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from footplate_trainer.checkpoint import codec
from footplate_trainer.checkpoint import manifest as manifests
from footplate_trainer.checkpoint.folder import Damaged, Folder, Found, fetch_file, parse_manifest, verify_file
from footplate_trainer.checkpoint.manifest import File
from footplate_trainer.checkpoint.state import MAX_NAMED, RANK_PART
from footplate_trainer.context import Context
from footplate_trainer.errors import DataError, NotFound
from footplate_trainer.gang import Gang
from footplate_trainer.storage import Store


@dataclass(frozen=True, slots=True)
class Loaded:
    """A verified checkpoint, and its state trees by part."""

    found: Found
    trees: dict[str, Any]
    in_run: bool
    """False where `checkpoint.resume` names it, and the run has none of its own yet."""


class Restorer:
    """Reads checkpoints together with all other ranks: both public methods are collective.

    An outage of storage is raised as it is: it is never taken for a missing or a damaged checkpoint.
    """

    def __init__(
        self,
        place: Context,
        gang: Gang,
        *,
        open_store: Callable[[str], Store],
        staging: Path,
        note: Callable[[str], None],
    ) -> None:
        self._place = place
        self._gang = gang
        self._open_store = open_store
        self._staging = staging
        self._note = note

    def newest(self, folder: Folder) -> Loaded | None:
        """The newest whole checkpoint of a run, or None if it has none; damaged ones are condemned, and named to the
        user.

        Raises:
            DataError: all are damaged. To begin again unasked could throw weeks away, and with the next saves the last
                of what a backup might mend.
        """
        steps = self._gang.from_main(folder.complete_steps)
        for step in steps:
            found = self._find(folder, step)
            loaded = self._try(folder, found) if found is not None else None
            if loaded is not None:
                return loaded
        if steps:
            raise DataError(_all_damaged(folder, steps))
        return None

    def named(self, uri: str) -> Loaded:
        """The checkpoint that `checkpoint.resume` names.

        Raises:
            DataError: it is missing, incomplete or damaged.
        """
        try:
            found = self._gang.from_main(lambda: self._at(uri))
            return self._load(found, in_run=False)
        except Damaged as error:
            raise DataError(
                f"spec.checkpoint.resume={uri}: the checkpoint is damaged: {error}; name another one, or use "
                "latest or never"
            ) from error

    def _find(self, folder: Folder, step: int) -> Found | None:
        try:
            return self._gang.from_main(lambda: folder.find(step))
        except Damaged as error:
            self._tell_damage(folder.uri(step), error)
            return None

    def _try(self, folder: Folder, found: Found) -> Loaded | None:
        try:
            return self._load(found, in_run=True)
        except Damaged as error:
            reason = str(error)
            self._tell_damage(found.uri, error)
            self._gang.from_main(lambda: folder.condemn(found, reason))
            return None

    def _tell_damage(self, uri: str, error: Damaged) -> None:
        self._note(
            f"checkpoint {uri} is damaged and is not used: {error}; going on from the one before, if there is one"
        )

    def _at(self, uri: str) -> Found:
        store = self._open_store(uri)
        try:
            data = store.get(manifests.NAME)
        except NotFound as error:
            raise DataError(
                f"spec.checkpoint.resume={uri}: there is no {manifests.NAME}, so this is no complete checkpoint; take "
                "the URI from status.checkpoint.uri of the job that saved it"
            ) from error
        manifest = parse_manifest(data, f"{store.uri}/")
        return Found(f"{store.uri}/", manifest.step, manifest, "")

    def _load(self, found: Found, *, in_run: bool) -> Loaded:
        """Downloads once a node, verifies and reads on every rank."""
        with self._folder_for(found.step) as folder:
            self._gang.together(lambda: self._download(found, folder) if self._place.local_rank == 0 else None)
            trees = self._read(found, folder)
        return Loaded(found, trees, in_run)

    def _read(self, found: Found, folder: Path) -> dict[str, Any]:
        trees: dict[str, Any] = {}

        def read() -> None:
            for file in found.manifest.files:
                if self._is_for(file, {self._place.rank}, found):
                    verify_file(file, folder / file.name)
                    trees[file.part] = _read_file(file, folder)

        self._gang.together(read)
        return trees

    def _download(self, found: Found, folder: Path) -> None:
        first = self._place.rank - self._place.local_rank
        ranks_here = set(range(first, first + self._place.local_world_size))
        store = self._open_store(found.uri)
        for file in found.manifest.files:
            if self._is_for(file, ranks_here, found):
                fetch_file(store, file, folder / file.name)

    def _is_for(self, file: File, ranks: set[int], found: Found) -> bool:
        """What one rank has of its own is of no use in another world."""
        if file.part != RANK_PART:
            return True
        return file.rank in ranks and found.manifest.world_size == self._place.world_size

    @contextmanager
    def _folder_for(self, step: int) -> Iterator[Path]:
        folder = self._staging / f"restore-{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            yield folder
        finally:
            if self._place.local_rank == 0:
                shutil.rmtree(folder, ignore_errors=True)


def _all_damaged(folder: Folder, steps: Sequence[int]) -> str:
    named = ", ".join(map(str, steps[:MAX_NAMED])) + (", …" if len(steps) > MAX_NAMED else "")
    return (
        f"all {len(steps)} checkpoints of this run are damaged (steps {named}; the newest is {folder.uri(steps[0])}), "
        "and a run that has got so far isn't begun again unasked. To begin again, set runPolicy.restartNonce; to go on "
        "from another checkpoint, create the job anew with its URI in spec.checkpoint.resume"
    )


def _read_file(file: File, folder: Path) -> Any:
    try:
        return codec.read(folder / file.name)
    except ValueError as error:
        raise Damaged(f"{file.name}: {error}") from error
