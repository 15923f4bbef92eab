"""The one door to object storage: s3://, gs://, az:// and, inside mounted volumes, file://.

A `Store` is a folder of objects; keys are relative to it. All calls block, and obstore lets go of the GIL meanwhile:
call from a thread where signals must be answered. Credentials come from the environment (AWS_*, GOOGLE_*, AZURE_*) or
the workload's identity. Outages are waited out for minutes; what remains is raised as one of `errors.StorageError`.

obstore itself tries again what is safe to repeat without asking; a conditional put, a deletion or an answer cut in its
middle it gives up at once. Here every call is repeated until the outage is over or has lasted too long. So a
conditional put may find its own object, whose answer was lost: `Exists` then says nothing about whose it is.

Where storage refuses the credentials, or its certificate isn't trusted, the job's Secret and its authorities are looked
at again: what is new there is used from then on.
"""

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import obstore
from obstore import Bytes
from obstore.store import LocalStore, ObjectStore

from footplate_trainer.errors import Denied, NotFound, StorageError, StorageUnavailable, Unreachable
from footplate_trainer.storage.clients import Clients
from footplate_trainer.storage.contact import Contact
from footplate_trainer.storage.credentials import own_credentials
from footplate_trainer.storage.errors import Changed, translated

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta  # exist in the type stubs only

PART_BYTES: Final = 8 * 1024 * 1024
PARALLEL: Final = 8
OUTAGE_SECONDS = 180.0
"""How long a call is tried again before storage counts as gone."""
PAUSE_SECONDS: Final = 1.0
"""Between tries."""
MAX_PARTS: Final = 9_000
"""S3 takes 10,000 parts an upload."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object: its key in the store, its size in bytes, and the tag that changes when it does."""

    key: str
    size: int
    etag: str | None


def split_uri(uri: str) -> tuple[str, str]:
    """An object's URI as its folder's URI and its name: `s3://b/x/y.tar` is `('s3://b/x', 'y.tar')`."""
    folder, _, name = uri.rpartition("/")
    return folder, name


class Store:
    """A folder of objects at `uri`. `bulk` is the connection for whole parts, which may take longer."""

    def __init__(
        self,
        uri: str,
        backend: ObjectStore,
        prefix: str,
        *,
        bulk: ObjectStore | None = None,
        contact: Contact | None = None,
        outage_seconds: float = 0.0,
        renew: Callable[[], tuple[ObjectStore, ObjectStore] | None] = lambda: None,
    ) -> None:
        self.uri = uri.rstrip("/")
        self._contact = contact or Contact()
        self._backend = backend
        self._bulk = bulk or backend
        self._prefix = prefix.strip("/")
        self._outage_seconds = outage_seconds
        self._renew = renew
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="storage")

    @classmethod
    def open(
        cls,
        uri: str,
        *,
        endpoint: str | None = None,
        channel: str | None = None,
        outage_seconds: float | None = None,
        credentials: Mapping[str, str] | None = None,
        authorities: bytes | None = None,
    ) -> "Store":
        """A store for a folder's URI, which need not exist. Asks nothing of the server yet.

        Args:
            uri: of the folder.
            endpoint: `storage.endpoint` of the job.
            channel: input channel whose own Secret, where it has one, goes before the job's.
            outage_seconds: how long a call is tried again; `OUTAGE_SECONDS` where not given.
            credentials: variables that go before the environment's, of who isn't in the job's pod.
            authorities: certificates in PEM that are trusted besides the public ones, of the same.

        Raises:
            Denied: there are no credentials to try, or they can't be any.
            WrongEndpoint: the endpoint is no URL.
        """
        scheme, _, rest = uri.partition("://")
        if scheme == "file":
            return cls(uri, LocalStore(), rest)
        bucket, _, prefix = rest.partition("/")
        patience = OUTAGE_SECONDS if outage_seconds is None else outage_seconds
        clients = Clients(uri, endpoint, credentials or own_credentials(scheme, channel), patience, authorities)
        small, bulk = clients.connect()
        contact = Contact(clients.address or f"{scheme}://{bucket}")
        return cls(
            uri, small, prefix, bulk=bulk, contact=contact, outage_seconds=patience, renew=clients.connect_if_changed
        )

    def head(self, key: str) -> ObjectInfo:
        """Looks an object up. Raises NotFound where there is none."""
        return self._info(self._patiently(key, lambda: obstore.head(self._backend, self._path(key)), to="read"))

    def list(self, prefix: str = "", *, most: int | None = None) -> Iterator[ObjectInfo]:
        """All objects under a folder of this store, in no promised order. Nothing there yields nothing, but a missing
        bucket raises NotFound. With `most`, raises StorageError where there are more: a server may list for ever.
        """
        return iter(self._patiently(prefix, lambda: self._listed(prefix, most), to="list"))

    def _listed(self, prefix: str, most: int | None) -> Sequence[ObjectInfo]:
        found = [*islice(self._walk(prefix), None if most is None else most + 1)]
        if most is not None and len(found) > most:
            raise StorageError(f"{self.uri}/{prefix}: more than {most:,} objects lie there, and no more are looked at")
        return found

    def _walk(self, prefix: str) -> Iterator[ObjectInfo]:
        # A long listing is not begun anew for each hiccup; but a first call is to fail fast, to be told of.
        backend = self._bulk if self._contact.answered else self._backend
        for batch in obstore.list(backend, self._path(prefix) or None, chunk_size=1000):
            yield from map(self._info, batch)

    def folders(self) -> Sequence[str]:
        """Names of the folders right below this one, whatever lies in them; none where there is nothing."""
        found = self._patiently("", lambda: obstore.list_with_delimiter(self._backend, self._prefix or None), to="list")
        return [path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"]]

    def get(self, key: str) -> bytes:
        """A small object as a whole."""
        return self._patiently(key, lambda: bytes(obstore.get(self._backend, self._path(key)).bytes()), to="read")

    def get_range(self, key: str, start: int, end: int, *, etag: str | None = None) -> Bytes:
        """All bytes from `start` to `end` (exclusive). With `etag`, raises Changed if the object has changed since."""
        options: GetOptions = {"range": (start, end)}
        if etag is not None:
            options["if_match"] = etag

        def call() -> Bytes:
            answer = obstore.get(self._bulk, self._path(key), options=options)
            part = Bytes(next(iter(answer.stream(min_chunk_size=end - start)), b""))  # a liar's has no end
            if len(part) != end - start:  # of what a proxy has cut the client says nothing
                raise StorageUnavailable(
                    f"{self.uri}/{key}: storage gave {len(part):,} bytes where it was asked for {end - start:,}"
                )
            return part

        return self._patiently(key, call, to="read")

    def stream(self, item: ObjectInfo, *, start: int = 0) -> Iterator[Bytes]:
        """An object's bytes from `start` on, in order, read ahead by parallel ranged requests: at most `PARALLEL`
        parts of `PART_BYTES` are in memory. Raises Changed if the object has changed since it was looked up.
        """
        if item.size - start <= PART_BYTES:
            if item.size > start:
                yield self._part(item, start)
            return
        starts = iter(range(start, item.size, PART_BYTES))
        window = deque(self._pool.submit(self._part, item, at) for at in islice(starts, PARALLEL))
        try:
            while window:
                part = window.popleft().result()
                if (at := next(starts, None)) is not None:
                    window.append(self._pool.submit(self._part, item, at))
                yield part
        finally:
            for future in window:
                future.cancel()

    def _part(self, item: ObjectInfo, start: int) -> Bytes:
        return self.get_range(item.key, start, min(start + PART_BYTES, item.size), etag=item.etag)

    def sha256(self, key: str) -> str:
        """SHA-256 of an object in hex, by reading it as a whole."""
        digest = hashlib.sha256()
        for part in self.stream(self.head(key)):
            digest.update(part)
        return digest.hexdigest()

    def put(self, key: str, data: bytes, *, create: bool = False) -> None:
        """Writes a small object. With `create`, raises Exists, atomically, where there is one already: it may be this
        very call's, whose answer was lost.
        """
        mode: Literal["create", "overwrite"] = "create" if create else "overwrite"
        self._patiently(
            key,
            lambda: obstore.put(self._backend, self._path(key), data, mode=mode, use_multipart=False),
            to="write by a conditional put (If-None-Match: *)" if create else "write",
        )

    def put_file(self, key: str, path: Path) -> None:
        """Uploads a file, a big one in parallel parts; the object appears when it is whole."""
        part = max(PART_BYTES, -(-path.stat().st_size // MAX_PARTS))
        self._patiently(
            key,
            lambda: obstore.put(self._bulk, self._path(key), path, chunk_size=part, max_concurrency=PARALLEL),
            to="write",
        )

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes objects; one that isn't there is no error."""
        for key in keys:
            with suppress(NotFound):
                self._patiently(key, partial(obstore.delete, self._backend, self._path(key)), to="delete")

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}".strip("/")

    def _info(self, meta: "ObjectMeta") -> ObjectInfo:
        key = meta["path"].removeprefix(self._prefix).lstrip("/")
        return ObjectInfo(key, meta["size"], meta["e_tag"])

    def _patiently(self, key: str, call: Callable[[], T], *, to: str) -> T:
        """What a call returns, once storage is there."""
        uri, patience = f"{self.uri}/{key}".rstrip("/"), self._outage_seconds
        began = time.monotonic()
        while True:
            try:
                with self._contact.call(uri, patience=patience), translated(uri, to=to):
                    return call()
            except Changed:
                raise
            except Denied:
                if not self._is_renewed():
                    raise
            except StorageUnavailable as error:
                if isinstance(error, Unreachable) and error.untrusted and self._is_renewed():
                    continue
                worth = self._contact.patience(error, patience)
                if time.monotonic() + PAUSE_SECONDS > began + worth:
                    self._contact.give_up(error, uri, patience=worth)
                time.sleep(PAUSE_SECONDS)

    def _is_renewed(self) -> bool:
        clients = self._renew()
        if clients is not None:
            self._backend, self._bulk = clients
        return clients is not None
