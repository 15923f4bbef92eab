"""The texts that a run's pods have left in storage, logs and metrics, read as `footplate.records` says."""

import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from footplate import records
from footplate.api.trainingjob import TrainingJobSpec
from footplate.client.connection import Connection
from footplate.client.status import read_status
from footplate.client.storage import MAX_OBJECTS, StorageUnreadable, open_store, readable
from footplate.objects import Object, key_of, uid_of

if TYPE_CHECKING:
    from footplate_trainer.storage.store import ObjectInfo, Store

MAX_BYTES = 256 << 20
"""Of one text, as it lies there and unpacked: of more than that the rest is left out."""
_LEAST_BYTES = 1 << 16
"""What an object counts at least: a million of nothing take a million requests."""
_PIECE = 1 << 20
_SLICE = 1 << 14
"""What zlib is given at once: at the end of each member it copies the rest."""
_GAP = b"... some of it is missing here ...\n"
_TOO_LONG = b"... it is longer than is read here ...\n"


class Records:
    """The records of one run."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self.uri = store.uri

    def names(self, folder: str) -> dict[str, "ObjectInfo"]:
        """The objects right in a folder of the records, by name."""
        with readable(f"{self.uri}/{folder}"):
            listed = self._store.list(folder, most=MAX_OBJECTS)
            found = {item.key.removeprefix(f"{folder}/"): item for item in listed}
        return {name: item for name, item in found.items() if "/" not in name}

    def folders(self, folder: str) -> set[str]:
        """The folders in a folder."""
        with readable(f"{self.uri}/{folder}"):
            keys = [item.key.removeprefix(f"{folder}/") for item in self._store.list(folder, most=MAX_OBJECTS)]
        return {key.partition("/")[0] for key in keys if "/" in key}

    def text(self, folder: str, name: str) -> Iterator[bytes]:
        """A text piece by piece; nothing where it isn't there."""
        given = 0
        for _ in range(2):
            skip = given
            try:
                for piece in self._pieces(folder, name):
                    new, skip = piece[skip:], max(0, skip - len(piece))
                    given += len(new)
                    if new:
                        yield new
                    if given > MAX_BYTES:
                        yield _TOO_LONG
                        return
                return
            except _Replaced:  # by the whole, which begins with the same bytes
                continue

    def document(self, key: str, *, most: int) -> bytes | None:
        """An object as a whole; None where it isn't there.

        Raises:
            StorageUnreadable: it can't be read, or has more than so many bytes.
        """
        from footplate_trainer.errors import NotFound
        from footplate_trainer.storage.store import ObjectInfo

        with readable(f"{self.uri}/{key}"):
            try:
                size = self._store.head(key).size
                if size > most:
                    raise StorageUnreadable(f"{self.uri}/{key} has {size:,} bytes, and at most {most:,} are read here")
                return b"".join(self._store.stream(ObjectInfo(key, size, None)))
            except NotFound:
                return None

    def _pieces(self, folder: str, name: str) -> Iterator[bytes]:
        from footplate_trainer.errors import NotFound
        from footplate_trainer.storage.errors import Changed

        listed = self.names(folder)
        packed = 0
        for part in records.to_read(name, listed):
            packed += max(listed[part.name].size, _LEAST_BYTES)
            if packed > MAX_BYTES:
                yield _TOO_LONG
                return
            if part.follows_gap:
                yield _GAP
            with readable(f"{self.uri}/{folder}/{part.name}"):
                try:
                    yield from _unpacked(map(bytes, self._store.stream(listed[part.name])))
                except (NotFound, Changed) as error:
                    raise _Replaced from error


def open_records(connection: Connection, job: Object, spec: TrainingJobSpec | None) -> Records:
    """The records of a job's run, as its spec was resolved.

    Raises:
        StorageUnreadable: it keeps none, or they can't be reached from here.
    """
    base = records.base_uri(spec) if spec is not None else None
    if spec is None or base is None:
        raise StorageUnreadable(
            "the job has neither output nor checkpoint, so nothing of it is kept: give it one of them in object storage"
            if spec is not None
            else "this version doesn't understand the job's spec"
        )
    namespace, name = key_of(job)
    uri = records.records_uri(base, job=name, run=read_status(job).run or 1, uid=uid_of(job))
    return Records(open_store(connection, spec, uri, namespace=namespace))


class _Replaced(Exception):
    """A part is gone, or was written anew, while it was read."""


def _unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What gzip has packed, in one member or several; up to the first byte that isn't gzip's, or a member that holds
    nothing: of those a stranger's few bytes could hold millions.
    """
    decoder, is_empty = zlib.decompressobj(wbits=31), True
    for piece in pieces:
        for start in range(0, len(piece), _SLICE):
            rest = piece[start : start + _SLICE]
            while rest:
                try:
                    unpacked = decoder.decompress(rest, _PIECE)
                except zlib.error:
                    return
                if unpacked:
                    is_empty = False
                    yield unpacked
                rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
                if decoder.eof:
                    if is_empty:
                        return
                    decoder, is_empty = zlib.decompressobj(wbits=31), True
