"""The finished model: what training left in `FOOTPLATE_OUTPUT_DIR`, in object storage, verified, with a manifest.

`manifest.json` is written last, once, by a conditional put, after every file was read back and had the right SHA-256:
without a manifest there is no model. All of it may be done again by a later attempt, with the same end.
"""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from pydantic import ValidationError

from footplate.api.status import ArtifactStatus
from footplate_trainer.errors import ConfigError, Exists, NotFound, StorageUnavailable
from footplate_trainer.exchange import RankReport
from footplate_trainer.fetch import Fetched, naming
from footplate_trainer.manifest import File, Manifest, describe
from footplate_trainer.pod import Pod
from footplate_trainer.source import Code
from footplate_trainer.storage import Store

MANIFEST = "manifest.json"
FILES_AT_ONCE = 4

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Committed:
    """A manifest in storage, and its very bytes."""

    manifest: Manifest
    data: bytes


def output_store(pod: Pod) -> Store:
    """Where the model of this run goes. Call where `spec.output` is set."""
    if pod.spec.output is None:
        raise ConfigError("spec.output is not set")
    uri = f"{pod.spec.output.uri.rstrip('/')}/{pod.job}/{pod.run}"
    return Store.open(uri, endpoint=pod.spec.storage.endpoint)


def check_output(pod: Pod) -> None:
    """Finds out before training, not after it, that the model's place can't be used.

    Raises:
        NotFound, Denied, StorageUnavailable: the bucket can't be read.
        ConfigError: another job's model is there.
    """
    with naming("spec.output.uri"):
        store = output_store(pod)
        next(store.list(), None)
        _find_own(store, pod)


def publish(
    pod: Pod,
    *,
    report: RankReport,
    code: Code,
    inputs: Mapping[str, Fetched],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ArtifactStatus:
    """Uploads, verifies and commits the model of this run; one that is committed and verifies is taken as it is.

    Raises:
        ConfigError: there is nothing to upload, or another job's model is in its place.
        StorageUnavailable: storage stayed away for minutes, or returns other bytes than it was given.
    """
    paths = _output_files(pod.output_dir)
    with naming("spec.output.uri"):
        store = output_store(pod)
        if (done := _find_own(store, pod)) is not None:
            if _is_whole(store, done):
                log.info("the model is there already", uri=store.uri)
                return _status(store, done)
            store.delete([MANIFEST])
        with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="upload") as pool:
            files = list(pool.map(lambda name: _upload(store, name, paths[name]), paths))
        manifest = describe(pod, files, report=report, code=code, inputs=inputs, created=clock())
        return _status(store, _commit(store, manifest, pod))


def _output_files(folder: Path) -> dict[str, Path]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): path for path in paths}
    if not files:
        raise ConfigError(
            "spec.output is set, but the code ended without leaving a file in $FOOTPLATE_OUTPUT_DIR "
            f"({folder}) on node 0; save the model there, or remove spec.output"
        )
    if MANIFEST in files:
        raise ConfigError(
            f"{MANIFEST} in $FOOTPLATE_OUTPUT_DIR is the name of the model's own manifest; rename the file"
        )
    return files


def _find_own(store: Store, pod: Pod) -> Committed | None:
    """The manifest that an earlier attempt of this run left; None where there is none."""
    try:
        data = store.get(MANIFEST)
        manifest = Manifest.model_validate_json(data)
    except NotFound:
        return None
    except ValidationError as error:
        raise ConfigError(
            f"{store.uri}/{MANIFEST} is not a manifest that Footplate wrote; choose another output.uri"
        ) from error
    if (manifest.uid, manifest.run) != (pod.uid, pod.run):
        raise ConfigError(
            f"{store.uri} holds the model of another TrainingJob of this name (uid {manifest.uid}); "
            "choose another output.uri or job name, or start a new run with runPolicy.restartNonce"
        )
    return Committed(manifest, data)


def _is_whole(store: Store, committed: Committed) -> bool:
    try:
        return all(store.sha256(file.name) == file.sha256 for file in committed.manifest.files)
    except NotFound:
        return False


def _upload(store: Store, name: str, path: Path) -> File:
    with path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    store.put_file(name, path)
    if store.sha256(name) != sha256:
        raise StorageUnavailable(f"{store.uri}/{name} was read back with other bytes than were written")
    return File(name=name, size_bytes=path.stat().st_size, sha256=sha256)


def _commit(store: Store, manifest: Manifest, pod: Pod) -> Committed:
    data = manifest.model_dump_json(by_alias=True, exclude_none=True, indent=2).encode() + b"\n"
    try:
        store.put(MANIFEST, data, create=True)
    except Exists:
        # Either our own put, whose answer was lost, or another attempt was faster: both wrote this run's model.
        committed = _find_own(store, pod)
        if committed is None or not _is_whole(store, committed):
            raise StorageUnavailable(f"{store.uri}/{MANIFEST} was written by another attempt meanwhile") from None
        return committed
    log.info("model committed", uri=store.uri, files=len(manifest.files))
    return Committed(manifest, data)


def _status(store: Store, committed: Committed) -> ArtifactStatus:
    return ArtifactStatus(
        uri=f"{store.uri}/",
        manifest=f"{store.uri}/{MANIFEST}",
        sha256=hashlib.sha256(committed.data).hexdigest(),
        size_bytes=sum(file.size_bytes for file in committed.manifest.files),
        metrics=committed.manifest.metrics,
    )
