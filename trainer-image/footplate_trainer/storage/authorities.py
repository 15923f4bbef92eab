"""Whose certificates are trusted besides the public ones: those in `storage.caBundle`, which the operator mounts."""

import codecs
import os
import ssl
from pathlib import Path
from typing import Final

from footplate.api.blocks import Storage
from footplate.contract import StorageEnv
from footplate_trainer.errors import ConfigError

PUBLIC: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",
)
"""Where systems keep the public authorities, in one file."""


def read_authorities() -> bytes | None:
    """The job's own, in PEM; None where it names none."""
    path = os.environ.get(StorageEnv.CA_BUNDLE)
    try:
        return Path(path).read_bytes().removeprefix(codecs.BOM_UTF8) if path else None  # Windows' editors write it
    except FileNotFoundError:
        return None  # `check_authorities` has said so, where there is one to hear it


def check_authorities(storage: Storage) -> None:
    """Makes sure, before anything is fetched, that what the job names is there and can be used.

    Raises:
        ConfigError: it isn't, or can't.
    """
    bundle = storage.ca_bundle
    if bundle is None:
        return
    key, found = bundle.reference.key, read_authorities()
    name = f"storage.caBundle: key {key!r} of {bundle.kind} {bundle.reference.name!r}"
    create = "configmap" if bundle.kind == "ConfigMap" else "secret generic"
    if found is None:
        raise ConfigError(
            f"{name} isn't in the job's namespace; put the authority's certificate there, in PEM: kubectl create "
            f"{create} {bundle.reference.name} --from-file={key}=ca.crt, or correct the name"
        )
    if problem := _problem(found):
        raise ConfigError(
            f"{name} must hold one or more certificates in PEM, from -----BEGIN CERTIFICATE----- to -----END "
            f"CERTIFICATE-----, but {problem}; put the certificate of the authority there that has signed the server's"
        )


def _problem(data: bytes) -> str:
    """Why it can't be used, in words; empty where it can."""
    if not data.strip():
        return "is empty"
    if b"-----BEGIN CERTIFICATE-----" not in data and b"-----BEGIN TRUSTED CERTIFICATE-----" not in data:
        if b"PRIVATE KEY-----" in data:
            return "holds a private key"
        return "is DER (openssl x509 -inform der -in FILE makes PEM of it)" if data[:1] == b"0" else "holds none"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data.decode("ascii", "ignore"))  # comments
    except (ssl.SSLError, ValueError) as error:
        return f"one in it can't be read ({getattr(error, 'reason', None) or error})"
    return ""


def bundle_with_public(folder: Path) -> Path | None:
    """A file in `folder` with the job's own and the public ones, for programs that know one file alone; None where the
    job names none.
    """
    own = read_authorities()
    if own is None:
        return None
    public = (os.environ.get("GIT_SSL_CAINFO"), os.environ.get("SSL_CERT_FILE"), *PUBLIC)
    there = next((Path(path) for path in public if path and Path(path).is_file()), None)
    bundle = folder / "authorities.pem"
    bundle.write_bytes((there.read_bytes().rstrip() + b"\n" if there else b"") + own)
    return bundle
