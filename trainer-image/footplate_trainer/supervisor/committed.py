"""Models that are in storage: a manifest, and the files that it names, each of which is believed only as it is read."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from pydantic import ValidationError

from footplate.api.reports import ArtifactStatus
from footplate_trainer.errors import ConfigError, NotFound
from footplate_trainer.model_manifest import ModelFile, ModelManifest
from footplate_trainer.storage.errors import Changed
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.model_files import MANIFEST
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.signing import sign_model

READS = 10
"""Tries to read an object that is being written."""
FILES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Committed:
    """A manifest in storage, and its very bytes."""

    manifest: ModelManifest
    data: bytes

    def is_of(self, pod: Pod) -> bool:
        """True where it is the model of this pod's run."""
        return (self.manifest.uid, self.manifest.run) == (pod.uid, pod.run)

    def is_of_this_name(self, pod: Pod) -> bool:
        """True where a job of the pod's name and namespace has left it: the pod's own, or one that is deleted."""
        return (self.manifest.job, self.manifest.namespace) == (pod.job, pod.config.metadata.namespace)


def find(store: Store) -> Committed | None:
    """The manifest that is there; None where there is none.

    Raises:
        ConfigError: something else has its name.
    """
    try:
        data = store.get(MANIFEST)
        return Committed(ModelManifest.model_validate_json(data), data)
    except NotFound:
        return None
    except ValidationError as error:
        raise ConfigError(
            f"{store.uri}/{MANIFEST} is not a manifest that Footplate wrote; choose another output.uri"
        ) from error


def what_is_wrong(store: Store, files: Iterable[ModelFile]) -> str:
    """Which file isn't there as its manifest says, in words; empty where all of them are. Sizes are asked for before
    anything is read: a model that was cut or overwritten is mostly found out by them.
    """
    files = [*files]
    if not files:
        return "its manifest names no file"
    with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="verify") as pool:
        for holds in (has_size, is_there):
            for file, right in zip(files, pool.map(partial(holds, store), files), strict=True):
                if not right:
                    return f"{file.name!r} isn't what its manifest says"
    return ""


def has_size(store: Store, file: ModelFile) -> bool:
    """True where an object of the model's folder has the file's name and size."""
    name = PurePosixPath(file.name)
    if name.is_absolute() or ".." in name.parts:
        return False
    try:
        return store.head(file.name).size == file.size_bytes
    except NotFound:
        return False


def is_there(store: Store, file: ModelFile) -> bool:
    """True where it has the file's SHA-256, by reading it as a whole."""
    for _ in range(READS):
        try:
            return store.sha256(file.name) == file.sha256
        except NotFound:
            return False
        except Changed:
            continue  # another attempt writes the same bytes
    return False


def to_status(store: Store, committed: Committed, pod: Pod) -> ArtifactStatus:
    """The model as the job's status shows it. It is signed before anybody hears of it; an attempt that dies in between
    leaves that to the next one.
    """
    return ArtifactStatus(
        uri=f"{store.uri}/",
        manifest=f"{store.uri}/{MANIFEST}",
        sha256=hashlib.sha256(committed.data).hexdigest(),
        size_bytes=sum(file.size_bytes for file in committed.manifest.files),
        metrics=committed.manifest.metrics,
        accepted=committed.manifest.accepted,
        step=committed.manifest.step,
        epoch=committed.manifest.epoch,
        ended=committed.manifest.ended,
        signature=sign_model(store, committed.manifest, committed.data, pod),
    )
