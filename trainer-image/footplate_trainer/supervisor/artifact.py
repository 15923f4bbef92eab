"""The finished model: what training left in `FOOTPLATE_OUTPUT_DIR`, in object storage, verified, with a manifest.

`manifest.json` is written last, once, by a conditional put, after every file was read back and had the right SHA-256:
without a manifest there is no model. All of it may be done again by a later attempt, with the same end.

Nothing that a manifest names is ever replaced: a place holds one run's bytes, fixed before the first of them is written
(`model_claims`). A model whose place holds others, such as a half upload of an older attempt that has trained to other
bytes, goes to a folder of its attempt's own beside them.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog

from footplate.api.reports import ArtifactStatus, EvaluationStatus
from footplate.contract import UID_DIGITS
from footplate_trainer.errors import ConfigError, Exists, StorageUnavailable, UserError
from footplate_trainer.exchange import RankReport
from footplate_trainer.model_manifest import ModelFile, ModelManifest
from footplate_trainer.storage.fetch import Fetched, naming
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor import committed, model_claims
from footplate_trainer.supervisor.committed import FILES_AT_ONCE, Committed
from footplate_trainer.supervisor.manifest import make_manifest
from footplate_trainer.supervisor.model_files import MANIFEST, model_files
from footplate_trainer.supervisor.model_places import ModelPlace, find_place, place_uri
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.signing import why_unknown
from footplate_trainer.supervisor.source import Code

log = structlog.get_logger()


def output_store(pod: Pod, number: int | None = None, *folder: str) -> Store:
    """The place of this number, the run's own where none is given, or a folder in it."""
    return _open(pod, place_uri(pod, str(number or pod.run), *folder))


def _open(pod: Pod, uri: str) -> Store:
    return Store.open(uri, endpoint=pod.spec.storage.endpoint)


def check_output(pod: Pod) -> ModelPlace:
    """Says where the model goes, and claims that place before training; or that the model is there already. Finds out
    now, not after training, that the place can't be used.

    Raises:
        NotFound, Denied, StorageUnavailable: the bucket can't be read or written.
        ConfigError: another job's model is there, or is going to be.
    """
    with naming("spec.output.uri"):
        place = find_place(pod, partial(_open, pod))
        if place.model is None:
            store = output_store(pod, place.number)
            next(store.list(), None)
            _check_manifest(store, pod)
            model_claims.claim(store, pod)
        return place


def _check_manifest(store: Store, pod: Pod) -> None:
    model = committed.find(store)
    if model is not None and not model.is_of(pod):
        raise ConfigError(
            f"{store.uri} holds the model of {_differs(model, pod)} (uid {model.manifest.uid}); choose another "
            "output.uri or job name, or start a new run with runPolicy.restartNonce"
        )


def _differs(model: Committed, pod: Pod) -> str:
    if not model.is_of_this_name(pod) or None in (model.manifest.spec_sha256, pod.spec_sha256 or None):
        return "another TrainingJob of this name"
    return "a TrainingJob of this name with another spec"


def publish(
    pod: Pod,
    *,
    report: RankReport,
    code: Code,
    inputs: Mapping[str, Fetched],
    number: int | None = None,
    history: Path | None = None,
    evaluation: EvaluationStatus | None = None,
    note: Callable[[str], object] = log.warning,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ArtifactStatus:
    """Uploads, verifies and commits the model of this run; one that is committed and verifies is taken as it is, unless
    it should be signed and isn't: whoever may write to the bucket could have left it.
    `number` is that of the place which `check_output` has found, the run's own where none is given. `history` is a file
    that goes with it; what a place holds of that already stays. `evaluation` says whether the model is accepted. `note`
    tells the user what of the folder isn't in it, or has another name there.

    Raises:
        ConfigError: there is nothing to upload.
        UserError: a file can't be read.
        StorageUnavailable: storage stayed away for minutes, or returns other bytes than it was given.
    """
    paths = model_files(pod.output_dir, note, exclude=_excluded(pod))

    def describe(files: Sequence[ModelFile]) -> ModelManifest:
        return make_manifest(
            pod, files, report=report, code=code, inputs=inputs, created=clock(), evaluation=evaluation
        )

    with naming("spec.output.uri"):
        store = output_store(pod, number)
        done = _find_ours(store, pod)
        unknown = why_unknown(store, done.manifest, done.data, pod) if done is not None else ""
        if done is not None and _is_whole(store, done) and not unknown:
            log.info("the model is there already", uri=store.uri)
            return committed.to_status(store, done, pod)
        with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="upload") as pool:
            files = list(pool.map(lambda name: _measure(name, paths[name]), paths))
            if done is not None and unknown and _is_by(describe(files), done):
                unknown = ""
            if why := unknown or _why_not_here(store, files, pod):
                store = output_store(pod, number, f"{pod.uid[:UID_DIGITS]}-attempt-{pod.attempt}")
                note(f"the model is stored beside its place, as {store.uri}/: {why}")
            list(pool.map(lambda file: _upload(store, file, paths[file.name]), files))
        if history is not None and history.name not in paths:
            files.append(_add_history(store, history))
        return committed.to_status(store, _commit(store, describe(files), pod), pod)


def _excluded(pod: Pod) -> Sequence[str]:
    return pod.spec.output.exclude if pod.spec.output is not None else ()


def _find_ours(store: Store, pod: Pod) -> Committed | None:
    """This run's manifest; None where there is none, or somebody has put something of his own under its name."""
    try:
        model = committed.find(store)
    except ConfigError:
        return None
    return model if model is not None and model.is_of(pod) else None


def _may_be_signed(store: Store, model: Committed, manifest: ModelManifest, pod: Pod) -> bool:
    return _is_by(manifest, model) or not why_unknown(store, model.manifest, model.data, pod)


def _is_by(manifest: ModelManifest, model: Committed) -> bool:
    """Whether the attempt that says this of its model has committed the other, and then came to no signature: but for
    the time, and what was noted since, both say the same.
    """
    names = {file.name for file in manifest.files}
    files = [file for file in model.manifest.files if file.name in names]
    same = {"files": files, "created": manifest.created, "notes": manifest.notes}
    return model.manifest.model_copy(update=same) == manifest


def _why_not_here(store: Store, files: Sequence[ModelFile], pod: Pod) -> str:
    """Why the model can't be in the place that was claimed before training, in words; empty where it can. Whatever
    was done to the claim or its neighbours since then costs no model.
    """
    try:
        _check_manifest(store, pod)
        if not model_claims.has_claimed(store, pod):
            model_claims.claim(store, pod)
        if model_claims.holds(store, pod) and model_claims.fix_content(store, files, pod):
            return ""
    except ConfigError as error:
        return str(error)
    return f"{store.uri} is to hold other bytes, those of another attempt or of a later job of this name"


def _is_whole(store: Store, model: Committed) -> bool:
    return all(committed.is_there(store, file) for file in model.manifest.files)


def _measure(name: str, path: Path) -> ModelFile:
    try:
        with path.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        return ModelFile(name=name, size_bytes=path.stat().st_size, sha256=sha256)
    except OSError as error:
        raise UserError(
            f"{name} in $FOOTPLATE_OUTPUT_DIR can't be read ({error.strerror}), and the model isn't whole without it; "
            "let the code leave it so that the container's user may read it, or elsewhere"
        ) from error


def _upload(store: Store, file: ModelFile, path: Path) -> None:
    if committed.is_there(store, file):
        return
    store.put_file(file.name, path)
    if not committed.is_there(store, file):
        raise StorageUnavailable(f"{store.uri}/{file.name} was read back with other bytes than were written")


def _add_history(store: Store, path: Path) -> ModelFile:
    """It tells of times, and so differs where an attempt comes to the same model again: the first one stays."""
    with suppress(Exists):
        store.put(path.name, path.read_bytes(), create=True)
    return ModelFile(name=path.name, size_bytes=store.head(path.name).size, sha256=store.sha256(path.name))


def _commit(store: Store, manifest: ModelManifest, pod: Pod) -> Committed:
    data = manifest.model_dump_json(by_alias=True, exclude_none=True, indent=2).encode() + b"\n"
    try:
        store.put(MANIFEST, data, create=True)
    except Exists:
        # Either our own put, whose answer was lost, or another attempt was faster: both wrote the same bytes.
        model = committed.find(store)
        if (
            model is None
            or not model.is_of(pod)
            or not _is_whole(store, model)
            or not _may_be_signed(store, model, manifest, pod)
        ):
            raise StorageUnavailable(f"{store.uri}/{MANIFEST} was written by another attempt meanwhile") from None
        return model
    log.info("model committed", uri=store.uri, files=len(manifest.files))
    return Committed(manifest, data)
