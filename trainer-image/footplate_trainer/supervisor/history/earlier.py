"""What earlier attempts of a run have left of its metrics in storage."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import suppress

from footplate import records
from footplate_trainer.storage.runs import OUTAGE_SECONDS
from footplate_trainer.storage.store import Store


def earlier_lines(attempt: int, uri: str, endpoint: str | None) -> Iterator[tuple[int, bytes]]:
    """Lines of all attempts before this one, each with its attempt; `uri` is that of the run's records.

    Raises:
        StorageError: storage doesn't give them.
    """
    if attempt == 0:
        return
    store = Store.open(f"{uri}/{records.METRICS}", endpoint=endpoint, outage_seconds=OUTAGE_SECONDS)
    listed = [item.key for item in store.list()]
    for earlier in records.attempts_of(listed):
        for part in records.to_read(records.metrics(earlier), listed) if earlier < attempt else ():
            yield from ((earlier, line) for line in _unpacked(store.get(part.name)))


def _unpacked(text: bytes) -> list[bytes]:
    with suppress(OSError, EOFError, zlib.error):
        return gzip.decompress(text).splitlines()
    return []
