"""The snapshots of one run in storage, as one node of one of its attempts sees them. What lies where: `__init__.py`."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeGuard

from footplate_trainer.errors import Exists, NotFound, StorageUnavailable
from footplate_trainer.storage import attempts
from footplate_trainer.storage.runs import FINISHED
from footplate_trainer.storage.store import ObjectInfo, Store
from footplate_trainer.supervisor.snapshots.manifest import Damaged, Manifest

LAST = 99_999_999
"""Number of the snapshot of an attempt's end."""
_FOLDER = "snapshots"
_PART = re.compile(_FOLDER + r"/(\d{8,})-(\d{8})/(?:node-(\d+)-of-(\d+)\.json|bad-\d+)")


class Number(NamedTuple):
    """Which snapshot of a run; a later one is greater."""

    attempt: int
    number: int

    def __str__(self) -> str:
        return f"{self.attempt:08d}-{self.number:08d}"


class Part(NamedTuple):
    """Whose manifest it is: a node's, of a gang of so many."""

    node: int
    nodes: int


Listing = Mapping[Number, Collection[Part | None]]
"""What is there of each snapshot; None is a mark that it is damaged."""


class Archive:
    """Snapshots in the folder of a run."""

    def __init__(self, store: Store, *, attempt: int, node: int, nodes: int) -> None:
        self._store = store
        self._attempt = attempt
        self._part = Part(node, nodes)
        self._contents: dict[Number, set[str]] = {}
        """What this node's manifests name, as far as is known."""

    def claim(self) -> None:
        """See `attempts.claim`."""
        attempts.claim(self._store, self._attempt)

    def uri(self, number: Number) -> str:
        """The folder of a snapshot's manifests."""
        return f"{self._store.uri}/{_FOLDER}/{number}/"

    def has(self, uri: str) -> bool:
        """True where a snapshot's URI is one of this run's."""
        return uri.startswith(f"{self._store.uri}/")

    def is_finished(self) -> bool:
        """True once the run has succeeded."""
        try:
            self._store.head(FINISHED)
        except NotFound:
            return False
        return True

    def listing(self) -> Listing:
        """All snapshots, complete or not."""
        return parse(item.key for item in self._store.list(_FOLDER))

    def read(self, number: Number, part: Part) -> Manifest:
        """A node's manifest. Raises Damaged where it isn't what it was."""
        key = _key(number, part)
        try:
            return Manifest.from_bytes(self._store.get(key), f"{self._store.uri}/{key}")
        except NotFound:
            raise Damaged(f"{self._store.uri}/{key} is missing") from None

    def condemn(self, number: Number, reason: str) -> None:
        """Marks a damaged snapshot, so that no attempt tries it again."""
        self._store.put(f"{_FOLDER}/{number}/bad-{self._part.node}", reason.encode())

    def content(self, node: int, sha256: str, size: int) -> ObjectInfo:
        """Where the bytes of a node's file are."""
        return ObjectInfo(_content(node, sha256), size, None)

    @property
    def store(self) -> Store:
        """The run's folder."""
        return self._store

    def send(self, sha256: str, path: Path) -> None:
        """Uploads the bytes of a file of this node."""
        self._store.put_file(_content(self._part.node, sha256), path)

    def commit(self, number: Number, manifest: Manifest) -> None:
        """Makes a snapshot complete, as far as this node is concerned; all its contents must be there.

        Raises:
            PeerLost: a newer attempt runs.
        """
        key, data = _key(number, self._part), manifest.to_bytes()
        attempts.check_claim(self._store, self._attempt)
        try:
            self._store.put(key, data, create=True)
        except Exists:
            if self._store.get(key) != data:  # else our own put, whose answer was lost
                raise StorageUnavailable(f"{self._store.uri}/{key} was written by another pod meanwhile") from None
        self._contents[number] = manifest.contents

    def _is_mine(self, part: Part | None) -> TypeGuard[Part]:
        """True for what this node has to sweep: the first also sweeps after nodes that the gang has no more."""
        mine = self._part
        return part is not None and (part.node == mine.node or (mine.node == 0 and part.node >= mine.nodes))

    def prune(self, keep: int) -> set[str]:
        """Deletes what is older than the newest `keep` complete snapshots, of this node and, if it is the first, of
        nodes that the gang has no more. Returns the contents of this node that stay.

        Raises:
            PeerLost: a newer attempt runs: what to keep is its business.
        """
        listing, node = self.listing(), self._part.node
        sent = [item.key for item in self._store.list(f"{_content(node, '')}")]
        attempts.check_claim(self._store, self._attempt)
        old = too_old(listing, keep=keep)
        self._store.delete([_key(number, part) for number in old for part in listing[number] if self._is_mine(part)])
        kept = {
            number: part
            for number in listing.keys() - set(old)
            for part in listing[number]
            if part and part.node == node
        }
        named: set[str] = set()
        for number, part in kept.items():
            if number not in self._contents:
                self._contents[number] = self.read(number, part).contents
            named |= self._contents[number]
        self._contents = {number: self._contents[number] for number in kept}
        self._store.delete([key for key in sent if key.rpartition("/")[2] not in named])
        return named


def parse(keys: Iterable[str]) -> Listing:
    """What objects' keys say of a run's snapshots; others are nobody's business here."""
    found: dict[Number, set[Part | None]] = defaultdict(set)
    for key in keys:
        if match := _PART.fullmatch(key):
            part = Part(int(match[3]), int(match[4])) if match[3] is not None else None
            found[Number(int(match[1]), int(match[2]))].add(part)
    return dict(found)


def complete(listing: Listing) -> list[Number]:
    """The snapshots of which all nodes' manifests are there, and that nobody found damaged; the newest first."""
    return sorted((number for number, parts in listing.items() if _is_complete(parts)), reverse=True)


def _is_complete(parts: Collection[Part | None]) -> bool:
    there = {part for part in parts if part is not None}
    return None not in parts and any(all(Part(node, nodes) in there for node in range(nodes)) for _, nodes in there)


def too_old(listing: Listing, *, keep: int) -> list[Number]:
    """What need not be kept: the oldest first."""
    kept = complete(listing)[:keep]
    return sorted(number for number in listing if kept and number < kept[-1])


def newest_of(listing: Listing, attempt: int) -> int:
    """The highest number that a node of an attempt has begun before its end; 0 where there is none."""
    return max((each.number for each in listing if each.attempt == attempt and each.number != LAST), default=0)


def _key(number: Number, part: Part) -> str:
    return f"{_FOLDER}/{number}/node-{part.node}-of-{part.nodes}.json"


def _content(node: int, sha256: str) -> str:
    return f"snapshot-files/node-{node}/{sha256}"
