"""Signs a model once it is stored, with the key of `output.sign`, which node 0's pod alone has."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from footplate.contract import SIGNING_KEY
from footplate_trainer.errors import ConfigError, NotFound, StorageUnavailable
from footplate_trainer.model_manifest import ModelManifest
from footplate_trainer.signature import (
    INSTALL,
    MAX_BYTES,
    SIGNATURE,
    BadKey,
    BadSignature,
    read_private_key,
    sign,
    verify,
)
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor.model_files import MANIFEST
from footplate_trainer.supervisor.pod import Pod

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


def check_key(pod: Pod) -> None:
    """Finds out before training, not after it, that the model can't be signed. Raises ConfigError."""
    if _wanted(pod) is not None:
        _read_key(pod)


def sign_model(store: Store, manifest: ModelManifest, data: bytes, pod: Pod) -> str | None:
    """Signs what is stored; the signature's URI, None where the job wants none. One that is there and right stays.

    Args:
        store: the model's folder.
        manifest: of the model, whose files are as it says.
        data: its very bytes.
        pod: has the key.

    Raises:
        ConfigError: the key isn't there any more.
        StorageUnavailable: storage stayed away, or returns another signature than it was given.
    """
    if _wanted(pod) is None:
        return None
    key, files = _read_key(pod), _signed_files(manifest, data)
    if not _is_there(store, files, key):
        store.put(SIGNATURE, sign(files, key, name=f"{manifest.job}-{manifest.run}"))
        if not _is_there(store, files, key):
            raise StorageUnavailable(f"{store.uri}/{SIGNATURE} was read back otherwise than it was written")
    return f"{store.uri}/{SIGNATURE}"


def why_unknown(store: Store, manifest: ModelManifest, data: bytes, pod: Pod) -> str:
    """Why a model that was found in storage isn't known to be one of this key's owner, in words; empty where it is, or
    where the job's models aren't signed. Whoever may write to the bucket can leave a manifest there, and must never get
    it signed.

    Raises:
        ConfigError: the key isn't there any more.
    """
    if _wanted(pod) is None or _is_there(store, _signed_files(manifest, data), _read_key(pod)):
        return ""
    return f"its {SIGNATURE} is missing, or not by {_wanted(pod)}"


def _signed_files(manifest: ModelManifest, data: bytes) -> dict[str, str]:
    return {file.name: file.sha256 for file in manifest.files} | {MANIFEST: hashlib.sha256(data).hexdigest()}


def _wanted(pod: Pod) -> str | None:
    """The key's name, for messages."""
    wanted = pod.spec.output.sign if pod.spec.output is not None else None
    if wanted is None:
        return None
    reference = wanted.secret_key_ref
    return f"spec.output.sign.secretKeyRef: key {reference.key!r} of Secret {reference.name!r}"


def _read_key(pod: Pod) -> "EllipticCurvePrivateKey":
    path = os.environ.get(SIGNING_KEY, "")
    try:
        return read_private_key(Path(path).read_bytes())
    except BadKey as error:
        raise ConfigError(f"{_wanted(pod)} {error}") from None
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"spec.output.sign: the image has no {error.name}, with which models are signed; {INSTALL} in it, or "
            "take sign out"
        ) from None
    except OSError:
        raise ConfigError(
            f"{_wanted(pod)} isn't in the job's namespace; put the private key there, in PEM, or correct the name"
        ) from None


def _is_there(store: Store, files: dict[str, str], key: "EllipticCurvePrivateKey") -> bool:
    with suppress(NotFound, BadSignature):
        if store.head(SIGNATURE).size <= MAX_BYTES:
            verify(store.get(SIGNATURE), files, key.public_key())
            return True
    return False
