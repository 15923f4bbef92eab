"""A run's checkpoints in object storage.

    run-<n>-<uid>/
      attempts/<n>              an attempt's claim; a committer that finds a newer one is a zombie, and loses
      step-<n>/<part>-<sha>…    files, named after their content
      step-<n>/manifest.json    written last: a step without it is no checkpoint
      finished                  the run has succeeded: none of its job's later runs goes on from it
      step-<n>/bad-<sha>        condemns the manifest with that digest: it was found damaged, and is never tried again
      trainings/<name>/step-…   the same of a training that has a name; claims and `finished` are the whole run's

Invariants: a manifest is put only when all its files are there, and deleted before any of them; nothing is deleted
that could still become, or may still be needed as, the checkpoint to resume from. Objects of other names are nobody's
business here: they count for nothing and are left alone.

Trainings that are saved together have a checkpoint each, whose manifests name all of them and are put one after the
other: one counts only if all are there, so that all go on from the same moment (`is_half`).

Zombies. Between a zombie's look at the claims and its put of a manifest a newer attempt may have made its claim, so a
manifest can slip through. That is harmless. Its files were all there, so what it completes is a true state of this
run, from which whoever finds it may go on; an heir that has already restored an older one replaces it when it comes to
that step itself. If the put was so late that the heir has swept the files as debris, a lone manifest is left, older
than the heir's newest checkpoint: it is no good one (`_is_good`), doesn't count in `keep`, and is swept next time.
Deleting is what a zombie could do harm with, so `prune` looks at the claims after the listing that it deletes from.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from footplate_trainer.checkpoint import manifest as manifests
from footplate_trainer.checkpoint.manifest import File, Manifest
from footplate_trainer.checkpoint.names import MAIN, folder_of
from footplate_trainer.errors import DataError, Exists, NotFound
from footplate_trainer.storage import attempts
from footplate_trainer.storage.runs import FINISHED
from footplate_trainer.storage.store import Store

_STEP = re.compile(r"step-(\d{8,})/(.+)")


class Damaged(DataError):
    """A checkpoint isn't what its manifest says."""


@dataclass(frozen=True, slots=True)
class Found:
    """A complete checkpoint: its folder's URI, its manifest, and the manifest's digest."""

    uri: str
    step: int
    manifest: Manifest
    sha256: str


class Folder:
    """The checkpoints of one training of a run, as one of the run's attempts sees them."""

    def __init__(self, store: Store, *, attempt: int, training: str = MAIN) -> None:
        self._store = store
        self._attempt = attempt
        self._training = training
        self._under = folder_of(training)

    def claim(self) -> None:
        """Makes this attempt the one that may commit.

        Raises:
            PeerLost: a newer attempt has made its claim: this one is a zombie.
            Denied, ConfigError: checkpoints can't be written there, or storage has no conditional puts.
        """
        attempts.claim(self._store, self._attempt)

    def uri(self, step: int) -> str:
        """Where a step's checkpoint lies."""
        return f"{self._store.uri}/{self._key(step)}/"

    def complete_steps(self) -> list[int]:
        """Steps that have a manifest, newest first."""
        return sorted((step for step, names in self._names().items() if manifests.NAME in names), reverse=True)

    def is_finished(self) -> bool:
        """True once the run has succeeded."""
        return any(item.key == FINISHED for item in self._store.list())

    def find(self, step: int) -> Found | None:
        """A complete checkpoint, or None if it is condemned, or gone meanwhile.

        Raises:
            Damaged: its manifest can't be read; it is condemned from now on.
        """
        try:
            data = self._store.get(self._key(step, manifests.NAME))
        except NotFound:
            return None
        sha256 = hashlib.sha256(data).hexdigest()
        if _bad_name(sha256) in self._names(step).get(step, ()):
            return None
        try:
            return Found(self.uri(step), step, _parse_of_step(step, data, self.uri(step)), sha256)
        except Damaged as error:
            self._condemn(step, sha256, str(error))
            raise

    def condemn(self, found: Found, reason: str) -> None:
        """Marks a damaged checkpoint, so that no attempt tries it again."""
        self._condemn(found.step, found.sha256, reason)

    def _condemn(self, step: int, sha256: str, reason: str) -> None:
        self._store.put(self._key(step, _bad_name(sha256)), reason.encode())

    def is_half(self, found: Found) -> bool:
        """True where trainings that were saved together with this one have no such checkpoint, or a damaged one."""
        others = found.manifest.together.keys() - {self._training}
        return not all(self._has_same(found.manifest, name) for name in others)

    def _has_same(self, manifest: Manifest, name: str) -> bool:
        other = Folder(self._store, attempt=self._attempt, training=name)
        try:
            there = other.find(manifest.together[name])
        except Damaged:
            return False
        return there is not None and there.manifest.is_of_one_moment_with(manifest)

    def put_file(self, step: int, name: str, path: Path) -> None:
        """Uploads one file of a checkpoint."""
        self._store.put_file(self._key(step, name), path)

    def commit(self, manifest: Manifest) -> None:
        """Makes a checkpoint complete; all its files must be there.

        What an older attempt has committed at this step is replaced: it was damaged, or is of a history that was left.

        Raises:
            PeerLost: a newer attempt runs.
        """
        key = self._key(manifest.step, manifests.NAME)
        data = manifest.to_bytes()
        self._check_claim()
        try:
            self._store.put(key, data, create=True)
        except Exists:
            there = self._store.get(key)
            if there == data:
                return  # our own put, whose answer was lost
            self._check_claim()
            self._store.put(key, data)
            names = self._names(manifest.step)[manifest.step]
            self._store.delete([self._key(manifest.step, name) for name in names if name.startswith("bad-")])

    def prune(self, *, newest: int, keep: int, protected: Collection[int]) -> None:
        """Deletes what `choose_garbage` chooses.

        Raises:
            PeerLost: a newer attempt runs: what to keep is its business.
        """
        keys = [item.key.removeprefix(self._under) for item in self._store.list(self._under)]
        self._check_claim()
        garbage = choose_garbage(keys, newest=newest, keep=keep, protected=protected)
        self._store.delete([f"{self._under}{key}" for key in garbage])

    def _check_claim(self) -> None:
        attempts.check_claim(self._store, self._attempt)

    def _names(self, step: int | None = None) -> Mapping[int, set[str]]:
        """Names of objects by step; of one step alone where it is given."""
        listed = self._store.list(self._under if step is None else self._key(step))
        return _by_step(item.key.removeprefix(self._under) for item in listed)

    def _key(self, step: int, name: str = "") -> str:
        return f"{self._under}{_step_key(step)}/{name}".rstrip("/")


def choose_garbage(keys: Iterable[str], *, newest: int, keep: int, protected: Collection[int]) -> list[str]:
    """The objects to delete after a commit, in the order to delete them in.

    Args:
        keys: all objects of the training.
        newest: step of this commit. What has no manifest and is older can't become a checkpoint any more.
        keep: complete checkpoints to keep, this one included.
        protected: steps that stay whatever `keep` says: the last one that was read back and verified.
    """
    steps = _by_step(keys)
    complete = sorted((step for step, names in steps.items() if step <= newest and _is_good(names)), reverse=True)
    kept = {newest, *complete[:keep], *protected}
    garbage = [step for step, names in steps.items() if step not in kept and (step < newest or _is_condemned(names))]
    return [
        f"{_step_key(step)}/{name}" for step in sorted(garbage) for name in sorted(steps[step], key=_deletion_order)
    ]


def fetch_file(store: Store, file: File, target: Path) -> None:
    """Downloads one file of a checkpoint, whose folder `store` is.

    Raises:
        Damaged: it is missing, or has another size than the manifest says.
    """
    try:
        item = store.head(file.name)
        if item.size != file.size:
            raise Damaged(f"{file.name} has {item.size:,} bytes, its manifest says {file.size:,}")
        with target.open("wb") as output:
            for part in store.stream(item):
                output.write(part)
    except NotFound:
        raise Damaged(f"{file.name} is missing") from None


def verify_file(file: File, path: Path) -> None:
    """Raises Damaged unless the bytes are the manifest's."""
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != file.sha256:
        raise Damaged(f"{file.name} has SHA-256 {digest}, its manifest says {file.sha256}")


def parse_manifest(data: bytes, uri: str) -> Manifest:
    """Reads a manifest. Raises Damaged if it isn't one."""
    try:
        return Manifest.from_bytes(data)
    except ValueError as error:
        raise Damaged(f"{uri}{manifests.NAME} is no checkpoint manifest: {error}") from error


def _parse_of_step(step: int, data: bytes, uri: str) -> Manifest:
    manifest = parse_manifest(data, uri)
    if manifest.step != step:
        raise Damaged(f"{uri}{manifests.NAME} is that of step {manifest.step}")
    return manifest


def _by_step(keys: Iterable[str]) -> dict[int, set[str]]:
    names: dict[int, set[str]] = defaultdict(set)
    for key in keys:
        if found := _STEP.fullmatch(key):
            names[int(found[1])].add(found[2])
    return names


def _is_condemned(names: Collection[str]) -> bool:
    return any(name.startswith("bad-") for name in names)


def _is_good(names: Collection[str]) -> bool:
    """A manifest alone is one that came too late."""
    return manifests.NAME in names and len(names) > 1 and not _is_condemned(names)


def _deletion_order(name: str) -> tuple[int, str]:
    """The manifest first, so that no broken checkpoint looks whole; its condemnation last."""
    return (0 if name == manifests.NAME else 2 if name.startswith("bad-") else 1), name


def _step_key(step: int) -> str:
    return f"step-{step:08d}"


def _bad_name(sha256: str) -> str:
    return f"bad-{sha256[:12]}"
