"""What object storage says, or doesn't, in our words: which of our errors it is, and the way out. Pure."""

import re
from typing import Final

from obstore.exceptions import AlreadyExistsError, PermissionDeniedError, PreconditionError, UnauthenticatedError

from footplate_trainer.errors import Denied, Exists, NotFound, StorageError, StorageUnavailable, Unreachable

FULL: Final = re.compile(r"StorageFull|QuotaExceeded|InsufficientStorage|status code: 507|os error (28|122)\b")
"""How servers and volumes say that there is no room."""
NO_ANSWER: Final = re.compile(r"error sending request|operation timed out|error trying to connect")
"""How the client says that a request got no answer of HTTP at all."""
BAD_KEYS: Final = re.compile(r"ExpiredToken|TokenRefreshRequired|InvalidToken|InvalidAccessKeyId|SignatureDoesNotMatch")
"""What S3 says of keys, perhaps with a 400."""
NO_STORAGE: Final = re.compile(r"Unable to extract metadata from headers|Got invalid \w+ response|XML|xml")
"""How the client says that what answered well is no object storage: a console, a proxy's login page."""

_REASONS: Final = (
    (re.compile(r"failed to lookup address information: ([^\"\n]+)|dns error"), "no such host"),
    (re.compile(r"ConnectionRefused"), "connection refused"),
    (re.compile(r"InvalidCertificate\(\s*(\w+)|certificate"), "its certificate isn't trusted"),
    (re.compile(r"InvalidMessage|InvalidContentType|WRONG_VERSION"), "it doesn't speak TLS: is it http:// ?"),
    (re.compile(r"UnexpectedMessage|Parse\("), "what is there doesn't speak HTTP: is it the right port?"),
    (re.compile(r"NetworkUnreachable|HostUnreachable|code: 11[03]\b"), "no way leads there"),
    (re.compile(r"TimedOut|timed out|Elapsed"), "no answer in time"),
    (re.compile(r"ConnectionReset|IncompleteMessage|BrokenPipe"), "the connection was cut"),
)


class Changed(StorageUnavailable):
    """An object was overwritten while it was read."""


def translate(uri: str, error: Exception) -> StorageError:
    """What obstore has raised, as one of ours, with a message that says what to do."""
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
    denied = isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or status in (401, 403)
    if denied or BAD_KEYS.search(text):
        return Denied(f"{uri}: access denied ({said}); check the keys in storage.secretRef's Secret and their rights")
    if status == 501:
        return Denied(f"{uri}: storage can't do what is needed ({said}); use one that can, or correct storage.endpoint")
    if "incorrectly configured region" in text or (status and 300 <= status < 500 and status not in (408, 429)):
        return Denied(f"{uri}: storage refused the request ({said}); check storage.endpoint and the region")
    if status is None and NO_STORAGE.search(text):
        return Denied(f"{uri}: what answers is no object storage ({said}); correct storage.endpoint: address and port")
    if NO_ANSWER.search(text):
        why = _why(whole)
        return Unreachable(f"{uri}: storage is not available ({why}: {said})", why=why, at=_address(text))
    return StorageUnavailable(f"{uri}: storage is not available ({said})")


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
