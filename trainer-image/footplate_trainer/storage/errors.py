"""What object storage says, or doesn't, in our words: which of our errors it is, and the way out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from footplate_trainer.errors import Denied, Exists, NotFound, StorageError, StorageUnavailable, Unreachable

FULL: Final = re.compile(r"StorageFull|QuotaExceeded|InsufficientStorage|status code: 507|os error (28|122)\b")
"""How servers and volumes say that there is no room."""
NO_ANSWER: Final = re.compile(r"error sending request|operation timed out|error trying to connect")
"""How the client says that a request got no answer of HTTP at all."""
BAD_KEYS: Final = re.compile(r"ExpiredToken|TokenRefreshRequired|InvalidToken|InvalidAccessKeyId|SignatureDoesNotMatch")
"""What S3 says of keys, perhaps with a 400."""
NO_STORAGE: Final = re.compile(r"Unable to extract metadata from headers|Got invalid \w+ response|XML|xml")
"""How the client says that what answered well is no object storage: a console, a proxy's login page."""

CLOCKS: Final = re.compile(
    r"RequestTimeTooSkewed|RequestInTheFuture|RequestExpired|Request is not valid yet|"
    r"Signature (expired|not yet current)"
)
"""What S3 says where the clocks differ by more than a quarter of an hour."""
NO_CERTIFICATE: Final = re.compile(r"InvalidCertificate\((.{1,200})", re.DOTALL)
"""How the client says that it doesn't trust the server, and why."""
UNREADABLE: Final = re.compile(r"HTTP client error: builder error|`root_certificate`")
"""How the client says that it can't use an authority that it was given."""
AUTHORITY: Final = (
    "name the certificate of its authority in storage.caBundle: a key of a ConfigMap or Secret, in PEM, that holds it"
)

_KEYS: Final = (
    (
        re.compile(r"ExpiredToken|TokenRefreshRequired|token (included in the request )?(is|has) expired"),
        "they have run out; put fresh ones there, all of a session's, and pods that run take them up within minutes",
    ),
    (re.compile(r"InvalidAccessKeyId"), "AWS_ACCESS_KEY_ID isn't known there, or not any more"),
    (re.compile(r"SignatureDoesNotMatch"), "AWS_SECRET_ACCESS_KEY isn't that of AWS_ACCESS_KEY_ID"),
    (re.compile(r"InvalidToken"), "AWS_SESSION_TOKEN isn't that of the other keys"),
)
"""What is wrong with the keys, in our words."""

_CERTIFICATES: Final = (
    (re.compile(r"NotValidYet"), "set this node's clock, or wait until the server's certificate is valid"),
    (re.compile(r"Expired"), "the server needs a new certificate, which storage.caBundle can't stand in for"),
    (re.compile(r"NotValidForName"), "write a name that the certificate has into storage.endpoint, or issue another"),
    (
        re.compile(r"CaUsedAsEndEntity"),
        "it is an authority's own (CA:TRUE), which servers can't use: issue the server a certificate of its own, and "
        "name that of the authority in storage.caBundle",
    ),
)
"""What to do where it isn't the authority that is missing."""

_REASONS: Final = (
    (re.compile(r"failed to lookup address information: ([^\"\n]+)|dns error"), "no such host"),
    (re.compile(r"ConnectionRefused"), "connection refused"),
    (re.compile(r"InvalidCertificate\(\s*(\w+)"), "its certificate isn't trusted"),
    (re.compile(r"InvalidMessage|InvalidContentType|WRONG_VERSION"), "it doesn't speak TLS: is it http:// ?"),
    (re.compile(r"UnexpectedMessage|Parse\("), "what is there doesn't speak HTTP: is it the right port?"),
    (re.compile(r"NetworkUnreachable|HostUnreachable|code: 11[03]\b"), "no way leads there"),
    (re.compile(r"TimedOut|timed out|Elapsed"), "no answer in time"),
    (re.compile(r"ConnectionReset|IncompleteMessage|BrokenPipe"), "the connection was cut"),
)


class Changed(StorageUnavailable):
    """An object was overwritten while it was read."""


class ClockSkew(StorageUnavailable):
    """The clocks of this node and of storage differ by more than it takes: the infrastructure's fault."""


@contextmanager
def translated(uri: str, *, to: str = "") -> Iterator[None]:
    """Turns whatever obstore raises into one of ours, with a message that says what to do; `to` is what was tried."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise translate(uri, error, to=to) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of pyo3, which gives it no other name
            raise
        raise Denied(
            f"{uri}: storage's client can't use what it was given ({error}); check the Secret of storage.secretRef, "
            "storage.endpoint and the URI"
        ) from error


def translate(uri: str, error: Exception, *, to: str = "") -> StorageError:
    """What obstore has raised, as one of ours, with a message that says what to do; `to` is what was tried."""
    whole = str(error)
    text = whole.partition("\n\nDebug source")[0]
    status = int(found[1]) if (found := re.search(r"status code: (\d{3})", text)) else None
    said = _server_words(text)
    if isinstance(error, AlreadyExistsError):
        return Exists(f"{uri} exists already")
    if isinstance(error, PreconditionError):
        return Changed(f"{uri} was overwritten while it was read")
    if "Generic Config error" in text:
        return Denied(f"{uri}: a setting of storage can't be used ({said}); correct it in storage.secretRef's Secret")
    if UNREADABLE.search(text):
        return Denied(f"{uri}: a certificate in storage.caBundle can't be used ({said}); put one in PEM there")
    if FULL.search(text):
        return StorageUnavailable(f"{uri}: storage is full ({said}); free space there, or raise its quota")
    if "NoSuchUpload" in text:  # completed already, by a request whose answer was lost; or swept
        return StorageUnavailable(f"{uri}: an upload was interrupted ({said})")
    if "NoSuchBucket" in text or "ContainerNotFound" in text:
        return NotFound(f"{uri}: no such bucket; create it, or correct the URI or storage.endpoint")
    if isinstance(error, FileNotFoundError) or status == 404:
        return NotFound(f"{uri} does not exist; correct the URI, or put the data there")
    if "169.254.169.254" in text:
        return Denied(f"{uri}: no credentials; name a Secret in storage.secretRef, or give the pod a workload identity")
    if "os error 13" in text or "os error 30" in text:
        return Denied(f"{uri}: {said}; check the volume's permissions and podTemplate.volumeMounts")
    if CLOCKS.search(text):
        return ClockSkew(
            f"{uri}: storage refuses requests since this node's clock and its own differ too much ({said}): here it is "
            f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC; set the clock that is wrong, as by NTP"
        )
    denied = isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or status in (401, 403)
    if denied or BAD_KEYS.search(text):
        return Denied(
            f"{uri}: access denied ({said}); check the keys in storage.secretRef's Secret{_about_keys(text, to)}"
        )
    if status == 501:
        need = f"what is needed, to {to}" if to else "what is needed"
        return Denied(f"{uri}: storage can't do {need} ({said}); use one that can, or correct storage.endpoint")
    if "incorrectly configured region" in text or (status and 300 <= status < 500 and status not in (408, 429)):
        tried = f", to {to}" if to else ""
        return Denied(f"{uri}: storage refused the request{tried} ({said}); check storage.endpoint and the region")
    if status is None and NO_STORAGE.search(text):
        return Denied(f"{uri}: what answers is no object storage ({said}); correct storage.endpoint: address and port")
    if NO_ANSWER.search(text):
        why = _why(whole)
        if way_out := _about_certificate(whole):
            return Unreachable(
                f"{uri}: storage is not available ({why}); {way_out}",
                why=why,
                at=_address(text),
                way_out=way_out,
                untrusted=True,
            )
        return Unreachable(f"{uri}: storage is not available ({why}: {said})", why=why, at=_address(text))
    return StorageUnavailable(f"{uri}: storage is not available ({said})")


def _about_keys(text: str, to: str) -> str:
    """What is wrong with the keys, and what to do."""
    for pattern, words in _KEYS:
        if pattern.search(text):
            return f": {words}"
    return f" and their rights{f': they must allow to {to}' if to else ''}"


def _about_certificate(text: str) -> str:
    """The way out where the server's certificate isn't trusted; empty where it is."""
    found = NO_CERTIFICATE.search(text)
    return next((words for pattern, words in _CERTIFICATES if pattern.search(found[1])), AUTHORITY) if found else ""


def _why(text: str) -> str:
    for pattern, words in _REASONS:
        if found := pattern.search(text):
            detail = next((group for group in found.groups() if group), "")
            return f"{words}: {detail}" if detail else words
    return "no answer"


def _address(text: str) -> str:
    found = re.search(r"\bhttps?://[^/\s?]+", text)
    return found[0] if found else ""


def _server_words(text: str) -> str:
    """What the server said, without the client's wrapping."""
    found = re.search(r"<Code>(.*?)</Code>.*?<Message>(.*?)</Message>", text, re.DOTALL)
    return f"{found[1]}: {found[2]}"[:300] if found else " ".join(text.split())[:300]
