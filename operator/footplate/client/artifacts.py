"""A run's model, proven: the manifest by its digest in the job's status, and each file by its digest in the manifest.

Nothing half is left behind: a download goes into a folder beside the one that is asked for, and takes its name once
every byte is right. Names in a manifest are a stranger's: one that leads out of the folder is refused before anything
is written.
"""

import hashlib
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from footplate.api.reports import ArtifactStatus
from footplate.client.connection import Connection
from footplate.client.errors import ClientError, NothingThere
from footplate.client.resolved import read_spec
from footplate.client.status import read_status
from footplate.client.storage import StorageUnreadable, open_store, readable
from footplate.client.untrusted import plain
from footplate.errors import Terminal
from footplate.objects import Object, key_of
from footplate_trainer.errors import NotFound
from footplate_trainer.model_manifest import ModelFile, ModelManifest
from footplate_trainer.signature import INSTALL, SIGNATURE, BadKey, BadSignature, read_public_key, verify
from footplate_trainer.signature import MAX_BYTES as MAX_SIGNATURE_BYTES
from footplate_trainer.supervisor.model_files import MANIFEST

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from footplate_trainer.models.loading import LoadedModel
    from footplate_trainer.storage.store import Store

MAX_MANIFEST_BYTES = 64 * 2**20
MAX_NAMED = 10
"""Files that a message names."""


class ArtifactDamaged(ClientError, Terminal):
    """What is stored isn't what was trained: missing, other bytes, or a manifest that nobody vouches for."""


class Artifact:
    """The model that a run has left."""

    def __init__(self, status: ArtifactStatus, open_store: Callable[[str], "Store"]) -> None:
        self.status = status
        self._open_store = open_store

    def __repr__(self) -> str:
        return f"<Artifact {plain(self.uri)}>"

    @property
    def uri(self) -> str:
        """Its folder in object storage."""
        return self.status.uri

    @cached_property
    def manifest(self) -> ModelManifest:
        """What the model is and comes from, and which files it has; none of them is read.

        Raises:
            ArtifactDamaged: it isn't the one that the job's status names.
            StorageUnreadable: it can't be read from here.
        """
        with readable(self.uri):
            return self._manifest(self._store)[1]

    def read(self, name: str, *, most: int) -> bytes | None:
        """One file of the model, proven; None where it has none of that name. Raises as `manifest` does, and
        ClientError where the file has more than so many bytes.
        """
        file = next((each for each in self.manifest.files if each.name == name), None)
        if file is None:
            return None
        if file.size_bytes > most:
            raise ClientError(
                f"{plain(self.uri)}: {plain(name)} has {file.size_bytes:,} bytes, and at most {most:,} are read here; "
                "download the model"
            )
        parts: list[bytes] = []
        with readable(self.uri):
            wrong = _wrong_of(self._store, file, parts.append)
        _raise_for({name: wrong} if wrong else {}, self.uri)
        return b"".join(parts)

    @cached_property
    def _store(self) -> "Store":
        return self._open_store(self.uri)

    def verify(self, *, key: bytes | None = None) -> ModelManifest:
        """Reads every file, and compares it with what was trained. What the model is and comes from is in the manifest.

        Args:
            key: public key in PEM that must have signed it.

        Raises:
            ClientError: the key can't be used, or the model wasn't signed.
            ArtifactDamaged: it isn't what was trained, with all files that aren't; or isn't what the key has signed.
            StorageUnreadable: it can't be read from here.
        """
        public = _read_key(key) if key is not None else None
        with readable(self.uri):
            store = self._store
            raw, manifest = self._manifest(store)
            if public is not None:
                self._verify_signature(store, raw, manifest, public)
            _raise_for({file.name: why for file in manifest.files if (why := _wrong_of(store, file))}, self.uri)
        return manifest

    def download(self, folder: str | Path) -> Path:
        """Copies the model and its manifest into a folder that isn't there yet, or is empty; whole, or not at all.

        Raises:
            ClientError: the folder holds something, or the disk has no room.
            ArtifactDamaged: it isn't what was trained, or has names that lead out of the folder.
            StorageUnreadable: it can't be read from here.
        """
        target = Path(folder).absolute()
        with _appearing(target) as unfinished, readable(self.uri):
            store = self._store
            raw, manifest = self._manifest(store)
            _check_room(unfinished, manifest)
            wrong = {file.name: why for file in manifest.files if (why := _fetch(store, file, unfinished))}
            _raise_for(wrong, self.uri)
            (unfinished / MANIFEST).write_bytes(raw)
            if manifest.signature is not None:
                (unfinished / SIGNATURE).write_bytes(self._signature(store))
        return target

    def load(self) -> "LoadedModel":
        """A recipe's model, ready to `predict`. Needs `pip install 'footplate[trainer]'`.

        Raises as `download` does, and ClientError where it is no recipe's.
        """
        try:
            from footplate_trainer import load_model
            from footplate_trainer.errors import DataError
        except ModuleNotFoundError as error:
            raise ClientError(f"{error.name} isn't installed; run: pip install 'footplate[trainer]'") from None
        with tempfile.TemporaryDirectory(prefix="footplate-") as folder:
            whole = self.download(Path(folder) / "model")
            try:
                return load_model(whole)
            except DataError as error:
                raise ClientError(
                    f"{plain(self.uri)} is no recipe's model that can be loaded here: download it, and load it as its "
                    f"code says ({plain(str(error).replace(str(whole), plain(self.uri)))})"
                ) from error

    def _verify_signature(
        self, store: "Store", raw: bytes, manifest: ModelManifest, key: "EllipticCurvePublicKey"
    ) -> None:
        if manifest.signature is None:
            raise ClientError(f"{plain(self.uri)} wasn't signed; spec.output.sign has the next run's model signed")
        files = {file.name: file.sha256 for file in manifest.files} | {MANIFEST: hashlib.sha256(raw).hexdigest()}
        try:
            verify(self._signature(store), files, key)
        except BadSignature as error:
            raise ArtifactDamaged(f"{plain(self.uri)}: {SIGNATURE} {plain(str(error))}") from error

    def _signature(self, store: "Store") -> bytes:
        try:
            item = store.head(SIGNATURE)
        except NotFound as error:
            raise ArtifactDamaged(f"{plain(self.uri)}: {SIGNATURE} is missing, and the model was signed") from error
        if item.size > MAX_SIGNATURE_BYTES:
            raise ArtifactDamaged(f"{plain(self.uri)}: its {SIGNATURE} is larger than any of ours")
        return b"".join(store.stream(item))

    def _manifest(self, store: "Store") -> tuple[bytes, ModelManifest]:
        """The manifest as it is stored, once it is the one that the job's status names."""
        item = store.head(MANIFEST)
        if item.size > MAX_MANIFEST_BYTES:
            raise ArtifactDamaged(f"{plain(self.uri)}: its {MANIFEST} is larger than any of ours")
        raw = b"".join(store.stream(item))
        found = hashlib.sha256(raw).hexdigest()
        if found != self.status.sha256:
            raise ArtifactDamaged(
                f"{plain(self.uri)}: {MANIFEST} has SHA-256 {found}, and the job's status says {self.status.sha256}: "
                "it was replaced, so none of these files is proven"
            )
        try:
            manifest = ModelManifest.model_validate_json(raw, extra="ignore")
        except ValidationError as error:
            raise ArtifactDamaged(f"{plain(self.uri)}: {MANIFEST} isn't one that Footplate wrote") from error
        _raise_for(_unsafe_names(manifest), self.uri)
        return raw, manifest


def artifact_of(connection: Connection, job: Object) -> Artifact:
    """The model of a job's run. Raises NothingThere where there is none."""
    status, (namespace, name) = read_status(job), key_of(job)
    if status.artifact is None:
        raise NothingThere(
            f"TrainingJob {name!r} is {status.phase or 'new'}, and has no model: one is there once a run with an "
            "output has Succeeded; `why` says what keeps it from that"
        )

    def open_folder(uri: str) -> "Store":
        spec = connection.run(read_spec(connection, job))
        if spec is None:
            raise StorageUnreadable(f"{plain(uri)}: this version of the client doesn't understand the job's spec")
        return open_store(connection, spec, uri, namespace=namespace)

    return Artifact(status.artifact, open_folder)


def _read_key(pem: bytes) -> "EllipticCurvePublicKey":
    try:
        return read_public_key(pem)
    except BadKey as error:
        raise ClientError(f"the key {error}") from None
    except ModuleNotFoundError as error:
        raise ClientError(f"{error.name} isn't installed; run: {INSTALL}") from None


def _unsafe_names(manifest: ModelManifest) -> dict[str, str]:
    """Names that can't be those of files in a folder, and why."""
    names = [file.name for file in manifest.files]
    ordered = sorted(name.replace("/", "\0") for name in names)  # what lies in a folder comes right after its name
    folders = {one.replace("\0", "/") for one, other in pairwise(ordered) if other.startswith(one + "\0")}
    wrong = {name: "leads out of the folder" for name in names if _leads_out(name)}
    wrong |= {name: "has control characters" for name in names if not name.isprintable()}
    wrong |= {name: "comes twice" for name, count in Counter(names).items() if count > 1}
    taken = {*folders, MANIFEST, SIGNATURE}
    return wrong | {name: "is a folder's name too" for name in names if name in taken}


def _leads_out(name: str) -> bool:
    parts = name.split("/")
    return "\\" in name or ":" in parts[0] or any(part in ("", ".", "..") for part in parts)


def _wrong_of(store: "Store", file: ModelFile, keep: Callable[[bytes], object] = lambda part: None) -> str:
    """Why a stored file isn't the one that was trained; empty where it is. `keep` gets its bytes in order."""
    try:
        item = store.head(file.name)
    except NotFound:
        return "is missing"
    if item.size != file.size_bytes:
        return f"has {item.size:,} bytes, not {file.size_bytes:,}"
    digest = hashlib.sha256()
    for part in store.stream(item):
        digest.update(part)
        keep(bytes(part))
    return "" if digest.hexdigest() == file.sha256 else "has other bytes"


def _fetch(store: "Store", file: ModelFile, folder: Path) -> str:
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as opened:
        return _wrong_of(store, file, opened.write)


def _raise_for(wrong: dict[str, str], uri: str) -> None:
    if not wrong:
        return
    named = [f"{plain(name)!r} {why}" for name, why in list(wrong.items())[:MAX_NAMED]]
    more = f", and {len(wrong) - MAX_NAMED:,} more" if len(wrong) > MAX_NAMED else ""
    raise ArtifactDamaged(f"{plain(uri)}: {', '.join(named)}{more}; restore it from a backup, or start another run")


def _check_room(folder: Path, manifest: ModelManifest) -> None:
    needed, free = sum(file.size_bytes for file in manifest.files), shutil.disk_usage(folder).free
    if needed > free:
        raise ClientError(f"{folder.parent}: the model takes {needed:,} bytes, and {free:,} are free; make room")


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A folder that takes this name when all is well, and is gone when it isn't."""
    try:
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise ClientError(f"{target} is there already, and isn't an empty folder; name another one")
        unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise ClientError(f"{target}: {error.strerror}; name a folder that you may create") from error
    try:
        yield unfinished
        unfinished.replace(target)
    except OSError as error:
        raise ClientError(f"{target}: {error.strerror}; nothing was left there") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
