"""Object storage as a job's user reaches it: with the keys of the Secret that the job names, where he may read it, else
with his own environment's.

Who writes a job chooses its addresses. So keys of the user's own go to no other address than his environment names,
and nothing of a Secret is taken that would name a file of this machine.
"""

import os
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from footplate.api.trainingjob import TrainingJobSpec
from footplate.client.connection import Connection
from footplate.client.errors import ClientError, NotAllowed
from footplate.client.untrusted import plain
from footplate.errors import NotFound, Terminal
from footplate.machinery.resources import CONFIG_MAPS, SECRETS, Resource
from footplate.objects import block, text

if TYPE_CHECKING:
    from footplate_trainer.storage.store import Store

MAX_OBJECTS = 1_000_000
"""Of one folder, that are looked at: more than the largest gang leaves."""
_PATIENCE_SECONDS = 5.0
_FILES_OF_PODS = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT")


class StorageUnreadable(ClientError, Terminal):
    """What the job's pods have left can't be read from here."""


def open_store(connection: Connection, spec: TrainingJobSpec, uri: str, *, namespace: str) -> "Store":
    """A folder in the storage of a job.

    Raises:
        StorageUnreadable: it can't be reached from here with what keys there are.
    """
    try:
        import structlog

        from footplate_trainer.storage.credentials import CREDENTIAL_NAMES
        from footplate_trainer.storage.store import Store
    except ModuleNotFoundError as error:
        raise StorageUnreadable(f"{error.name} isn't installed; run: pip install 'footplate[cli]'") from None
    if not structlog.is_configured():  # it would write to standard output, which is the program's own
        # The stream is looked up for each line: a program, or a notebook, may put another in its place.
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    scheme = uri.partition("://")[0]
    if scheme not in CREDENTIAL_NAMES:
        raise StorageUnreadable(
            f"{plain(uri)} lies in a volume of the job's pods, which isn't mounted here; look there, or give the job "
            "an output or checkpoint in object storage"
        )
    names = [name for name in CREDENTIAL_NAMES[scheme] if name not in _FILES_OF_PODS]
    if spec.storage.endpoint is not None:  # it goes before the Secret's, as in the job's pods
        names = [name for name in names if name != "AWS_ENDPOINT_URL"]
    keys, why_not = _keys(connection, spec, names, namespace=namespace)
    _guard_own_keys(uri, spec, keys, why_not)
    with readable(uri, note=why_not):
        return Store.open(
            uri,
            endpoint=spec.storage.endpoint,
            outage_seconds=_PATIENCE_SECONDS,
            credentials=keys,
            authorities=_authorities(connection, spec, namespace=namespace),
        )


@contextmanager
def readable(uri: str, *, note: str = "") -> Iterator[None]:
    """Says of what storage doesn't give where it would lie, and what to do."""
    from footplate_trainer.errors import StorageError

    try:
        yield
    except StorageError as error:
        raise StorageUnreadable(f"{plain(str(error) or uri, most=4096)}{f'; {note}' if note else ''}") from error


def _keys(
    connection: Connection, spec: TrainingJobSpec, names: list[str], *, namespace: str
) -> tuple[dict[str, str], str]:
    """What the job's Secret holds of these, and why it holds nothing."""
    reference = spec.storage.secret_ref
    if reference is None:
        return {}, "the job names no Secret with keys, so your own environment's were used"
    found, why_not = _read(connection, SECRETS, namespace, reference.name)
    decoded = _decoded(found)
    return {name: decoded[name].decode(errors="replace") for name in names if name in decoded}, why_not


def _guard_own_keys(uri: str, spec: TrainingJobSpec, keys: Mapping[str, str], why_not: str) -> None:
    address = spec.storage.endpoint or keys.get("AWS_ENDPOINT_URL")
    has_keys = keys.get("AWS_ACCESS_KEY_ID") and keys.get("AWS_SECRET_ACCESS_KEY")
    signs_itself = has_keys or keys.get("AWS_SKIP_SIGNATURE", "").lower() == "true"
    if not uri.startswith("s3://") or signs_itself or address in (None, os.environ.get("AWS_ENDPOINT_URL")):
        return
    raise StorageUnreadable(
        f"{plain(uri)} lies at {plain(str(address))}, which the job names, and your own keys go only where your "
        f"environment says: set AWS_ENDPOINT_URL to that address if you trust it{f' ({why_not})' if why_not else ''}"
    )


def _authorities(connection: Connection, spec: TrainingJobSpec, *, namespace: str) -> bytes | None:
    bundle = spec.storage.ca_bundle
    if bundle is None:
        return None
    is_secret = bundle.kind == "Secret"
    found, _ = _read(connection, SECRETS if is_secret else CONFIG_MAPS, namespace, bundle.reference.name)
    if is_secret:
        return _decoded(found).get(bundle.reference.key)
    return text(block(found, "data"), bundle.reference.key).encode() or None


def _read(connection: Connection, resource: Resource, namespace: str, name: str) -> tuple[Mapping[str, object], str]:
    try:
        return connection.run(connection.get(resource, namespace, name)), ""
    except NotAllowed as error:
        return {}, str(error)
    except NotFound:
        return {}, f"there is no {resource.plural.removesuffix('s')} {name!r} in namespace {namespace}"


def _decoded(secret: Mapping[str, object]) -> dict[str, bytes]:
    data = block(secret, "data")
    return {name: b64decode(value) for name, value in data.items() if isinstance(value, str)}
