"""A model's signature: a Sigstore bundle as OpenSSF model-signing 1.0 writes and reads it, of an elliptic curve key.

Written with `cryptography` alone: model-signing itself brings Sigstore's client, TUF and OpenSSL's bindings, of which a
signature by a key uses nothing. That its own tool verifies what is written here is a test.

Signed are names and SHA-256 of all files, `manifest.json` among them: so also what the model is made of.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

SIGNATURE = "model.sig"
"""Its name, beside the files."""
MAX_BYTES = 64 * 2**20
INSTALL = "pip install 'footplate[signing]'"

_BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


class BadKey(ValueError):
    """A key that nothing can be signed or verified with; the message goes on after the key's name."""


class BadSignature(ValueError):
    """A signature that isn't one of these files by this key; the message says why."""


def read_private_key(pem: bytes) -> "EllipticCurvePrivateKey":
    """A key to sign with, from PEM. Raises BadKey."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except TypeError:  # cryptography's word for a password that is missing
        raise BadKey("is encrypted, and nobody is there to give a password; store it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey(f"is no private key in PEM{_perhaps(pem)}; {_MAKE}") from None
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise BadKey(f"is no elliptic curve key of P-256, P-384 or P-521; {_MAKE}")
    return key


def read_public_key(pem: bytes) -> "EllipticCurvePublicKey":
    """A key to verify with, from PEM. Raises BadKey."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("is no public key in PEM; openssl ec -in key.pem -pubout makes it of the private one") from None
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise BadKey("is no elliptic curve key of P-256, P-384 or P-521, as signatures are made with")
    return key


_MAKE = "make one with: openssl ecparam -genkey -name prime256v1 -noout -out key.pem"


def _perhaps(pem: bytes) -> str:
    if b"ENCRYPTED SIGSTORE PRIVATE KEY" in pem or b"ENCRYPTED COSIGN PRIVATE KEY" in pem:
        return " but cosign's own, which is encrypted"
    return " but a public one" if b"PUBLIC KEY-----" in pem else ""


def sign(files: Mapping[str, str], key: "EllipticCurvePrivateKey", *, name: str) -> bytes:
    """The bundle.

    Args:
        files: of each its SHA-256 in hex, by name.
        key: signs.
        name: of the model, for whoever reads the bundle.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    payload = json.dumps(_statement(files, name)).encode()
    public = key.public_key()
    signed = key.sign(_pae(payload), ECDSA(_hash_of(public)))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": _PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(signed).decode(), "keyid": ""}],
    }
    material = {"publicKey": {"hint": _hint(public)}, "tlogEntries": []}
    return json.dumps({"mediaType": _BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}).encode()


def verify(bundle: bytes, files: Mapping[str, str], key: "EllipticCurvePublicKey") -> None:
    """Makes sure that a bundle is this key's, and of these files and no other.

    Raises:
        BadSignature: it isn't.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    try:
        envelope = json.loads(bundle)["dsseEnvelope"]
        [signature] = envelope["signatures"]
        payload, signed = (base64.b64decode(each, validate=True) for each in (envelope["payload"], signature["sig"]))
        is_ours = envelope["payloadType"] == _PAYLOAD_TYPE
    except (ValueError, KeyError, TypeError, RecursionError):
        is_ours, payload, signed = False, b"", b""
    if not is_ours:
        raise BadSignature("is no signature of a model")
    try:
        key.verify(signed, _pae(payload), ECDSA(_hash_of(key)))
    except InvalidSignature:
        raise BadSignature("is not by this key, or was changed") from None
    _compare(_signed_files(payload), files)


def _signed_files(payload: bytes) -> dict[str, str]:
    """What the key's owner has signed, so of no odd shape; but maybe something else than a model."""
    try:
        statement = json.loads(payload)
        if (statement["_type"], statement["predicateType"]) != (_STATEMENT_TYPE, _PREDICATE_TYPE):
            raise ValueError(statement["predicateType"])
        resources = statement["predicate"]["resources"]
        found = {each["name"]: each["digest"] for each in resources if each["algorithm"] == "sha256"}
        if len(found) != len(resources):
            raise ValueError("a name twice, or another algorithm")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadSignature("is of something else than a model's files") from None
    return found


def _compare(signed: Mapping[str, str], files: Mapping[str, str]) -> None:
    wrong = sorted(name for name in signed.keys() | files.keys() if signed.get(name) != files.get(name))
    if wrong:
        name, more = wrong[0], f" and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
        raise BadSignature(f"was made of other files: {name!r}{more} differs, is missing or was added")


def _statement(files: Mapping[str, str], name: str) -> dict[str, Any]:
    ordered = sorted(files.items())
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in ordered)).hexdigest()
    resources = [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in ordered]
    how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURE]}
    return {
        "_type": _STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": whole}}],
        "predicateType": _PREDICATE_TYPE,
        "predicate": {"serialization": how, "resources": resources},
    }


def _pae(payload: bytes) -> bytes:
    """What DSSE has signed: type and payload, each with its length before it."""
    return f"DSSEv1 {len(_PAYLOAD_TYPE)} {_PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def _hash_of(key: "EllipticCurvePublicKey") -> Any:
    from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

    return {256: SHA256(), 384: SHA384(), 521: SHA512()}[key.curve.key_size]


def _hint(key: "EllipticCurvePublicKey") -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
