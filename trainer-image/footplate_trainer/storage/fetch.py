"""Brings input data to the node: each channel of `spec.inputs` becomes a folder of `FOOTPLATE_INPUT_DIR`.

A file appears under its name only when it is whole and, where the job states a checksum, right. What an interrupted
download leaves behind is `.name.<tag>.part`, which the next try goes on with if the object is still the same.
"""

import errno
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import structlog

from footplate.api.quantities import amount
from footplate.api.trainingjob import InputChannel
from footplate_trainer.errors import ConfigError, DataError, NotFound, TrainerError
from footplate_trainer.storage.delta import check_version, keys_of_rows, log_until, versions_of
from footplate_trainer.storage.store import ObjectInfo, Store, split_uri

FILES_AT_ONCE = 8

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a channel holds: `sha256` as defined for InputChannel.sha256, files and bytes."""

    sha256: str
    files: int
    size_bytes: int
    version: int | None = None
    """Of a Delta Lake table: the one that was fetched."""


def fetch_inputs(channels: Sequence[InputChannel], folder: Path, *, endpoint: str | None) -> dict[str, Fetched]:
    """Downloads all channels and returns what they hold, by name.

    Raises:
        DataError, NotFound: nothing is there, or not what the checksum says.
        ConfigError, Denied: the job's URI, Secret or disk space won't do.
        StorageUnavailable: storage stayed away for minutes.
    """
    return {channel.name: _fetch_channel(channel, folder / channel.name, endpoint=endpoint) for channel in channels}


def _fetch_channel(channel: InputChannel, folder: Path, *, endpoint: str | None) -> Fetched:
    with naming(f"spec.inputs[{channel.name}]"):
        folder.mkdir(parents=True, exist_ok=True)
        store, items = _find(channel, endpoint)
        versions = versions_of(item.key for item in items)
        if channel.version is not None:
            check_version(channel.version, versions)
            items = _of_version(store, items, channel.version, folder)
        size = sum(item.size for item in items)
        if channel.max_size is not None and size > amount(channel.max_size):
            raise DataError(
                f"uri {channel.uri} holds {size:,} bytes, and maxSize is {channel.max_size}; correct the data, or "
                "create the job anew with a larger maxSize"
            )
        is_object = not channel.uri.endswith("/")
        digests = _download_all(store, items, folder, sha256=channel.sha256 if is_object else None)
        digest = digests[items[0].key] if is_object else listing_digest(digests)
        if channel.sha256 not in (None, digest):
            raise DataError(_mismatch(channel.uri, found=digest, expected=str(channel.sha256)))
    version = channel.version if channel.version is not None else next(reversed(versions), None)
    fetched = Fetched(digest, len(items), sum(item.size for item in items), version)
    log.info("input fetched", channel=channel.name, files=fetched.files, bytes=fetched.size_bytes, sha256=digest)
    return fetched


def _of_version(store: Store, items: Sequence[ObjectInfo], version: int, folder: Path) -> list[ObjectInfo]:
    """The objects that hold the rows of a Delta Lake table's version, once its log is there, which ends with it.

    The log isn't among them: it is cleaned up and summed up later on, which changes no row.
    """
    by_key = {item.key: item for item in items}
    _download_all(store, [by_key[key] for key in log_until(by_key, version)], folder)
    return [by_key[key] for key in keys_of_rows(folder, version, by_key)]


def _download_all(
    store: Store, items: Sequence[ObjectInfo], folder: Path, *, sha256: str | None = None
) -> dict[str, str]:
    """The SHA-256 of each object, by its key."""
    check_space(folder, sum(item.size for item in items))
    pool = ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="fetch")
    try:
        return dict(pool.map(lambda item: (item.key, download(store, item, folder, sha256=sha256)), items))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _find(channel: InputChannel, endpoint: str | None) -> tuple[Store, list[ObjectInfo]]:
    uri = channel.uri
    if not uri.endswith("/"):
        folder, name = split_uri(uri)
        store = Store.open(folder, endpoint=endpoint, channel=channel.name)
        try:
            return store, [store.head(name)]
        except NotFound:
            if next(store.list(name), None) is not None:
                raise ConfigError(f"uri {uri} names a folder, not an object; write {uri}/") from None
            raise
    store = Store.open(uri, endpoint=endpoint, channel=channel.name)
    items = _without_markers(sorted(store.list(), key=lambda item: item.key))
    if not items:
        raise DataError(f"uri {uri} holds no data; put the files there, or correct the URI")
    return store, items


def _without_markers(items: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """Leaves out the empty objects by which some tools mark folders."""
    folders = {str(parent) for item in items for parent in PurePosixPath(item.key).parents}
    return [item for item in items if item.key and not (item.size == 0 and item.key in folders)]


def download(store: Store, item: ObjectInfo, folder: Path, *, sha256: str | None = None) -> str:
    """Downloads one object into a folder, under its key, and returns its SHA-256; the file appears when it is whole.

    Raises:
        DataError: its key can't be a file's name, or its bytes aren't what `sha256` says.
        ConfigError: the disk is full.
    """
    target = folder / _safe_name(item.key)
    tag = hashlib.sha256(f"{item.etag}/{item.size}".encode()).hexdigest()[:12]
    part = target.with_name(f".{target.name}.{tag}.part")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = _fill(part, store, item)
        if sha256 not in (None, digest):
            part.unlink()
            raise DataError(_mismatch(f"{store.uri}/{item.key}", found=digest, expected=str(sha256)))
        part.replace(target)
    return digest


def _fill(part: Path, store: Store, item: ObjectInfo) -> str:
    """Makes `part` the whole object, going on where it ends, and returns the SHA-256."""
    digest = hashlib.sha256()
    with part.open("a+b") as file:
        file.seek(0)
        while block := file.read(1 << 20):
            digest.update(block)
        for chunk in store.stream(item, start=file.tell()):
            file.write(chunk)
            digest.update(chunk)
        size = file.tell()
    if size != item.size:
        part.unlink()
        raise DataError(f"{store.uri}/{item.key} is {size:,} bytes, not {item.size:,} as the listing says")
    return digest.hexdigest()


def _safe_name(key: str) -> PurePosixPath:
    path = PurePosixPath(key)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in key:
        raise DataError(f"object key {key!r} can't be a file's name; rename the object")
    return path


def listing_digest(digests: Mapping[str, str]) -> str:
    """SHA-256 of the sorted lines '<sha256>  <relative path>\\n': one checksum for a folder."""
    lines = sorted(f"{digest}  {path}\n" for path, digest in digests.items())
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()  # a name's own bytes


def check_space(folder: Path, size: int) -> None:
    """Raises ConfigError where `size` bytes can't fit."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ConfigError(
            f"{size:,} bytes don't fit on the node's disk, which has {free:,} free; "
            "request more ephemeral-storage in spec.resources, or use less data"
        )


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns what the local disk may do to a write into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ConfigError(
                f"the disk is full while writing {path.name}: {error.strerror}; "
                "request more ephemeral-storage in spec.resources, or use less data"
            ) from error
        if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENAMETOOLONG):
            raise DataError(f"{path.name} can't be a file here: {error.strerror}; rename the object") from error
        raise


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Puts the field that is to blame before the message of any of our errors that names none yet."""
    try:
        yield
    except TrainerError as error:
        if str(error).startswith("spec."):
            raise
        raise type(error)(f"{field}: {error}") from error


def _mismatch(uri: str, *, found: str, expected: str) -> str:
    return (
        f"{uri} has SHA-256 {found}, but sha256 says {expected}: the data was changed or damaged; "
        "restore it, or correct sha256"
    )
