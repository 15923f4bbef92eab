"""Watch streams: a revision that moves through a resource's history, written out as JSON lines.

An event's line is made once for each form it is sent in and kept with the stored version, so that a
thousand watchers cost one serialisation.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from footplate.devcluster.errors import ApiError
from footplate.devcluster.faults import WatchFault
from footplate.devcluster.resources import Resource
from footplate.devcluster.selectors import Predicate
from footplate.devcluster.store import Change, Store, Version
from footplate.devcluster.values import quote

BOOKMARK_SECONDS = 10.0
INITIAL_END = {"k8s.io/initial-events-end": "true"}


@dataclass(frozen=True)
class Watch:
    """One watch request. `render` gives the bytes of an object; `revision` None starts with the present state."""

    store: Store
    resource: Resource
    namespace: str
    predicate: Predicate | None
    render: Callable[[Resource, Version], bytes]
    revision: int | None
    bookmarks: bool
    initial_end: bool
    seconds: float
    fault: WatchFault | None

    async def run(self, response: web.StreamResponse) -> None:
        """Write events until the time is over, the client goes, or a fault ends it."""
        loop = asyncio.get_running_loop()
        end, bookmark, sent = loop.time() + self.seconds, loop.time() + BOOKMARK_SECONDS, 0
        revision, lines = self._begin()
        while True:
            if lines and self.fault and self.fault.kind == "lag":
                await asyncio.sleep(self.fault.seconds)
            for line in lines:
                if self.fault and self.fault.kind != "lag" and sent >= self.fault.after:
                    await self._fail(response, line, self.fault.kind)
                await response.write(line)
                sent += 1
            left = end - loop.time()
            if left <= 0:
                break
            await self.store.wait(self.resource.storage, max(min(left, bookmark - loop.time()), 0))
            revision, lines = self._next(revision)
            if loop.time() >= bookmark:
                bookmark = loop.time() + BOOKMARK_SECONDS
                lines += [self._bookmark(revision, {})] if self.bookmarks else []

    def _begin(self) -> tuple[int, list[bytes]]:
        if self.revision is not None:
            return self._next(self.revision)
        versions = self.store.versions(self.resource.storage, self.namespace)
        lines = [self._line("ADDED", each) for each in versions if self.predicate is None or self.predicate(each.body)]
        if self.initial_end:
            lines.append(self._bookmark(self.store.revision, INITIAL_END))
        return self.store.revision, lines

    def _next(self, revision: int) -> tuple[int, list[bytes]]:
        """The lines after a revision, and the revision that they reach."""
        changes = self.store.since(self.resource.storage, revision)
        lines = [line for change in changes for line in self._lines(change)]
        return self.store.revision, lines

    def _lines(self, change: Change) -> Iterator[bytes]:
        """The event that a change is to this watcher: crossing a selector adds or deletes."""
        if self.namespace and change.new.key[0] != self.namespace:
            return
        new = change.new
        matches = self.predicate or (lambda _: True)
        was = change.old is not None and matches(change.old.body)
        is_now = not change.deleted and matches(new.body)
        if is_now:
            yield self._line("MODIFIED" if was else "ADDED", new)
        elif was:
            yield self._line("DELETED", new if change.deleted or not change.old else _at(change.old, new.revision))

    def _line(self, kind: str, version: Version) -> bytes:
        return b'{"type":"' + kind.encode() + b'","object":' + self.render(self.resource, version) + b"}\n"

    def _bookmark(self, revision: int, annotations: dict[str, str]) -> bytes:
        metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        metadata |= {"annotations": annotations} if annotations else {}
        body = {"kind": self.resource.kind, "apiVersion": self.resource.api_version, "metadata": metadata}
        return b'{"type":"BOOKMARK","object":' + quote(body).encode() + b"}\n"

    async def _fail(self, response: web.StreamResponse, line: bytes, kind: str) -> None:
        """Do what was ordered, in place of writing a line."""
        if kind == "stall":
            await asyncio.Event().wait()
        if kind == "half-line":
            await response.write(line[: len(line) // 2])
        raise ConnectionAbortedError(kind)


def _at(version: Version, revision: int) -> Version:
    """The last state that matched a selector, at the revision at which it ceased to."""
    metadata = version.body["metadata"] | {"resourceVersion": str(revision)}
    return Version(version.body | {"metadata": metadata}, revision)


def error_line(error: ApiError) -> bytes:
    """The ERROR event that ends a watch."""
    return b'{"type":"ERROR","object":' + quote(error.status()).encode() + b"}\n"
