"""TrainingJobs as they change: a list, then a watch from there on, which goes on after cuts and gaps.

What changed while nothing was heard is told as well, deletions too: a caller sees every job's last state.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from footplate.client.connection import Connection
from footplate.client.errors import ClusterUnreachable, explained
from footplate.errors import Gone
from footplate.machinery.resources import TRAINING_JOBS
from footplate.objects import Key, Object, block, key_of, text, uid_of, version_of

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
Event = tuple[ChangeType, Object]

PATIENCE_SECONDS = 60.0
"""How long a cluster that doesn't answer is tried again before the watch fails."""
_PAUSE_SECONDS = 1.0
_INACTIVE_SECONDS = 300.0
"""A connection that was cut without a word looks like a quiet one: it is made anew."""


@dataclass
class _Seen:
    """What has been told of each job, and since when the watch is to go on."""

    jobs: dict[Key, Object] = field(default_factory=dict)
    version: str = ""

    def take_list(self, items: Sequence[Object], version: str) -> Iterator[Event]:
        """The changes between what was told and a whole list."""
        found = {key_of(item): item for item in items}
        for key in self.jobs.keys() - found.keys():
            yield "DELETED", self.jobs.pop(key)
        for item in found.values():
            yield from self.take("MODIFIED", item)
        self.version = version

    def take(self, kind: ChangeType, job: Object) -> Iterator[Event]:
        """What a job's change is to who heard all before it; nothing where it isn't new."""
        key, before = key_of(job), self.jobs.get(key_of(job))
        self.version = version_of(job) or self.version
        if kind == "DELETED":
            if self.jobs.pop(key, None) is not None:
                yield kind, job
            return
        if before is not None and uid_of(before) != uid_of(job):
            yield "DELETED", before
            before = None
        if before is None or version_of(before) != version_of(job):
            self.jobs[key] = job
            yield "ADDED" if before is None else "MODIFIED", job


async def watch_jobs(
    connection: Connection, *, namespace: str, selector: str = "", fields: str = ""
) -> AsyncGenerator[list[Event]]:
    """Changes of TrainingJobs, those that are there as ADDED first; it ends only by an error.

    Raises:
        ClusterUnreachable: it has not answered for `PATIENCE_SECONDS`.
        NotAllowed: the rights to list or watch them are missing, or were taken.
    """
    seen, clock = _Seen(), asyncio.get_running_loop().time
    heard = clock()
    while True:
        try:
            if not seen.version:
                items, version = await connection.list(
                    TRAINING_JOBS, namespace=namespace, selector=selector, fields=fields
                )
                yield [*seen.take_list(items, version)]
            heard = clock()
            with explained("watch", TRAINING_JOBS, namespace=namespace, server=connection.server):
                async for batch in connection.kube.watch(
                    TRAINING_JOBS,
                    since=seen.version,
                    namespace=namespace,
                    selector=selector,
                    fields=fields,
                    inactivity=_INACTIVE_SECONDS,
                ):
                    heard = clock()
                    if told := [event for line in batch for event in _read(line, seen)]:
                        yield told
        except Gone:
            seen.version = ""
        except ClusterUnreachable:
            if clock() - heard > PATIENCE_SECONDS:
                raise
            await asyncio.sleep(_PAUSE_SECONDS)


def _read(line: Mapping[str, Any], seen: _Seen) -> list[Event]:
    kind, obj = line.get("type"), block(line, "object")
    if kind == "ERROR":  # mostly 410; whatever it is, a list says how things stand
        raise Gone(410, text(obj, "reason"), text(obj, "message"))
    if kind == "BOOKMARK":
        seen.version = version_of(obj) or seen.version
        return []
    return [*seen.take(cast(ChangeType, kind), obj)] if kind in ("ADDED", "MODIFIED", "DELETED") else []
