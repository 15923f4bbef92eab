"""Objects in memory: one revision counter for all of them, and the history that watches read.

Invariants: a `Version` never changes once stored, so that readers and watchers share it and its
serialisation; the revision grows by one with every change of anything; the history of a resource holds
all its changes after `floor`, in order. There are no queues: a watcher is a revision and `since`.
"""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from footplate.devcluster.errors import expired
from footplate.devcluster.values import quote

Body = dict[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True)
class Version:
    """One version of one object: everything but `apiVersion` and `kind`, which depend on who asks."""

    body: Body
    revision: int

    @property
    def key(self) -> Key:
        """Namespace (empty for cluster scope) and name."""
        return self.body["metadata"].get("namespace", ""), self.body["metadata"]["name"]

    @cached_property
    def json(self) -> bytes:
        """The body without its opening brace, so that a head can be put before it."""
        return quote(self.body).encode()[1:]


@dataclass(frozen=True)
class Change:
    """A step in a resource's history; `new` of a deletion is the last state at the deletion's revision."""

    new: Version
    old: Version | None
    deleted: bool = False


@dataclass
class Shelf:
    """All objects of one resource with their history, and the event that wakes its watchers."""

    objects: dict[Key, Version] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    floor: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Store:
    """The objects of a cluster. Not thread-safe: everything happens on one event loop, between awaits."""

    def __init__(self, *, window: int = 20_000) -> None:
        self.revision = 1
        self.listeners: list[Callable[[Key, Change], None]] = []
        self._window = window
        self._shelves: defaultdict[Key, Shelf] = defaultdict(Shelf)

    def get(self, resource: Key, key: Key) -> Version | None:
        """The current version of an object."""
        return self._shelves[resource].objects.get(key)

    def versions(self, resource: Key, namespace: str = "") -> list[Version]:
        """The objects of a resource in key order, of one namespace where it is given."""
        objects = self._shelves[resource].objects
        return [objects[key] for key in sorted(objects) if not namespace or key[0] == namespace]

    def resources(self) -> list[Key]:
        """Every resource that holds an object."""
        return [resource for resource, shelf in self._shelves.items() if shelf.objects]

    def put(self, resource: Key, body: Mapping[str, Any]) -> Version:
        """Commit a new version of an object."""
        version = self._stamp(body)
        objects = self._shelves[resource].objects
        old = objects.get(version.key)
        objects[version.key] = version
        self._record(resource, Change(version, old))
        return version

    def remove(self, resource: Key, body: Mapping[str, Any]) -> Version:
        """Take an object away, with `body` as its last state."""
        version = self._stamp(body)
        old = self._shelves[resource].objects.pop(version.key)
        self._record(resource, Change(version, old, deleted=True))
        return version

    def since(self, resource: Key, revision: int) -> list[Change]:
        """The changes after `revision`; ApiError 410 where the history no longer reaches so far back."""
        shelf = self._shelves[resource]
        if revision < shelf.floor:
            raise expired(f"too old resource version: {revision} ({shelf.floor})")
        start = bisect_right(shelf.history, revision, key=lambda change: change.new.revision)
        return shelf.history[start:]

    async def wait(self, resource: Key, timeout: float) -> None:  # noqa: ASYNC109 - a pause, not a failure
        """Return when the resource changes, or after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._shelves[resource].changed.wait()
        except TimeoutError:
            return

    def compact(self) -> None:
        """Forget all history: a watch that isn't up to date gets 410, as after etcd's compaction."""
        for shelf in self._shelves.values():
            shelf.history.clear()
            shelf.floor = self.revision

    def _stamp(self, body: Mapping[str, Any]) -> Version:
        self.revision += 1
        metadata = body["metadata"] | {"resourceVersion": str(self.revision)}
        return Version({"metadata": metadata} | {k: v for k, v in body.items() if k != "metadata"}, self.revision)

    def _record(self, resource: Key, change: Change) -> None:
        shelf = self._shelves[resource]
        shelf.history.append(change)
        if len(shelf.history) > self._window * 1.2:
            drop = len(shelf.history) - self._window
            shelf.floor = shelf.history[drop - 1].new.revision
            del shelf.history[:drop]
        shelf.changed.set()
        shelf.changed = asyncio.Event()
        for listener in self.listeners:
            listener(resource, change)
