"""What a job's pods have written: from the pods while there are any, else from the run's records in storage."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from footplate import records
from footplate.api.status import Attempt, TrainingJobStatus
from footplate.api.trainingjob import TrainingJobSpec
from footplate.attempt_spec import pod_name, processes_per_node
from footplate.client.connection import Connection
from footplate.client.errors import ClientError, ClusterUnreachable, JobDeleted, NotAllowed
from footplate.client.log_lines import LineSplitter, LogLine
from footplate.client.resolved import read_spec
from footplate.client.status import is_so, read_status
from footplate.client.storage import StorageUnreadable
from footplate.client.stored import Records, open_records
from footplate.contract import CONTAINER_NAME
from footplate.errors import NotFound, Refused, Terminal
from footplate.machinery.resources import PODS, TRAINING_JOBS, Resource
from footplate.objects import Object, block, key_of, number, uid_of

MAX_FOLLOWED = 200
"""Pods whose logs are followed at once."""
POD_LOGS = Resource("v1", "pods/log")
_FIRST_POLL_SECONDS = 0.05
_POLL_SECONDS = 1.0
_QUIET_SECONDS = 60.0
"""A pod that writes nothing for so long is asked anew: a connection that was cut without a word looks the same."""
_CUT = "… the connection to this log was cut: a few lines may be missing or come twice …"
GONE = "… this pod is gone already: where its log is kept, it is read by the attempt's number …"
_WAITED_FOR = 64


class LogsNotFound(ClientError, Terminal):
    """Nobody has what was asked for any more."""


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Whose log is meant, and how much of it: see `Job.logs`."""

    rank: int | None = None
    attempt: int | None = None
    tail: int | None = None
    failed: bool = False


def read_logs(connection: Connection, job: Object, asked: LogRequest) -> Iterator[LogLine]:
    """The lines that there are, pod after pod."""
    spec = connection.run(read_spec(connection, job))
    attempt, ranks = _choose(job, spec, asked)
    stored = _Stored(connection, job, spec)
    missing, found = [], False
    for rank in ranks:
        try:
            for line in _read_pod(connection, job, stored, attempt, rank, tail=asked.tail):
                found = True
                yield LogLine(rank, attempt, line)
        except LogsNotFound as error:
            missing.append(LogLine(rank, attempt, f"… no log of this pod: {error} …"))
    if missing and not found:
        raise LogsNotFound(_nowhere(job, attempt, missing))
    yield from missing


def _read_pod(
    connection: Connection, job: Object, stored: "_Stored", attempt: int, rank: int, *, tail: int | None
) -> Iterator[str]:
    """A pod's log; of one whose log its node doesn't give, what storage has of it. One that breaks off is no log: what
    storage has would begin anew.
    """
    there = False
    try:
        for line in connection.iterate(_pod_log(connection, job, attempt, rank, tail=tail, since=None)):
            there = True
            yield line
    except (NotFound, Refused, NotAllowed, ClusterUnreachable) as error:
        if there:
            raise
        try:
            for line in stored.lines(attempt, rank, tail=tail):
                there = True
                yield line
        except StorageUnreadable as unreadable:
            raise LogsNotFound(f"{error}; in storage: {unreadable}") from unreadable
        if not there:
            raise LogsNotFound(f"{error}; in storage there is none") from error


def follow_logs(connection: Connection, job: Object, asked: LogRequest) -> Iterator[LogLine]:
    """The lines as they are written, attempt after attempt, to the end of the run."""
    return connection.iterate(_follow(connection, job, asked))


def _choose(job: Object, spec: TrainingJobSpec | None, asked: LogRequest) -> tuple[int, Sequence[int]]:
    """The attempt, and the node ranks whose logs are meant."""
    status = read_status(job)
    attempt = asked.attempt if asked.attempt is not None else status.attempt or 0
    blamed: int | None = None
    if asked.failed:
        last = _last_failed(status)
        attempt = last.attempt
        if status.failure is not None and status.failure.rank is not None and spec is not None:
            blamed = status.failure.rank // processes_per_node(spec)
    nodes = _nodes(job, status, attempt)
    if asked.rank is not None and not 0 <= asked.rank < nodes:
        raise ClientError(f"rank: {asked.rank} is none of attempt {attempt}, whose nodes have ranks 0 to {nodes - 1}")
    rank = asked.rank if asked.rank is not None else blamed
    return attempt, [rank] if rank is not None and rank < nodes else range(nodes)


def _last_failed(status: TrainingJobStatus) -> Attempt:
    well = ("Completed", "AlreadyComplete", "DataPrepared", "Stopped", "Resized", "SchedulingTimeout", None)
    failed = [each for each in status.attempts if each.reason not in well]
    if not failed:
        raise ClientError("failed: no attempt of this run has failed")
    return failed[-1]


def _nodes(job: Object, status: TrainingJobStatus, attempt: int) -> int:
    known = next((each.nodes for each in status.attempts if each.attempt == attempt and each.nodes), None)
    present = status.nodes.desired if status.nodes is not None and attempt == (status.attempt or 0) else None
    return known or present or number(block(job, "spec"), "nodes") or 1


class _Stored:
    """The run's records, opened once they are needed."""

    def __init__(self, connection: Connection, job: Object, spec: TrainingJobSpec | None) -> None:
        self._connection, self._job, self._spec = connection, job, spec
        self._records: Records | None = None
        self._why_not: StorageUnreadable | None = None

    def lines(self, attempt: int, rank: int, *, tail: int | None) -> Iterator[str]:
        """A pod's log. Raises StorageUnreadable."""
        lines = self._lines(attempt, rank)
        return lines if tail is None else iter(deque(lines, maxlen=tail))

    def _lines(self, attempt: int, rank: int) -> Iterator[str]:
        splitter = LineSplitter()
        for piece in self._open().text(records.pod_logs_folder(attempt), records.pod_log(rank)):
            yield from splitter.feed(piece)
        yield from splitter.end()

    def _open(self) -> Records:
        if self._why_not is not None:
            raise self._why_not
        try:
            self._records = self._records or open_records(self._connection, self._job, self._spec)
        except StorageUnreadable as error:
            self._why_not = error
            raise
        return self._records


def _nowhere(job: Object, attempt: int, missing: Sequence[LogLine]) -> str:
    spec = block(job, "spec")
    keeps = "once training has begun"
    if not block(spec, "output") and not block(spec, "checkpoint"):
        keeps = "where the job has an output or a checkpoint in object storage"
    return (
        f"there is no log of attempt {attempt} of TrainingJob {key_of(job)[1]!r}: {missing[0].text.strip('… ')}. Logs "
        f"outlive their pods {keeps}"
    )


async def _pod_log(
    connection: Connection, job: Object, attempt: int, rank: int, *, tail: int | None, since: float | None
) -> AsyncGenerator[list[str]]:
    """A pod's log up to now; with `since`, what it has written for so many seconds, and what it writes to its end."""
    namespace, name = key_of(job)
    pod = pod_name(name, run=read_status(job).run or 1, attempt=attempt, rank=rank)
    query = {"container": CONTAINER_NAME}
    if tail is not None:
        query["tailLines"] = str(tail)
    if since is not None:
        query["follow"] = "true"
        if math.isfinite(since):
            query["sinceSeconds"] = str(math.ceil(since))
    splitter = LineSplitter()
    pieces = connection.stream(
        POD_LOGS,
        PODS.path(namespace, pod, "log"),
        namespace=namespace,
        query=query,
        seconds=None,
        quiet_seconds=_QUIET_SECONDS,
    )
    async with aclosing(pieces):
        async for piece in pieces:
            if lines := [*splitter.feed(piece)]:
                yield lines
    if lines := [*splitter.end()]:
        yield lines


async def _follow(connection: Connection, job: Object, asked: LogRequest) -> AsyncGenerator[list[LogLine]]:
    spec = await read_spec(connection, job)
    attempt, ranks = _choose(job, spec, asked)
    tail = asked.tail
    while True:
        if len(ranks) > MAX_FOLLOWED:
            raise ClientError(f"rank: {len(ranks)} pods are too many to follow at once; name one of their ranks")
        async with aclosing(_merged(connection, job, attempt, ranks, tail=tail)) as batches:
            async for batch in batches:
                yield batch
        job, pauses = await _again(connection, job), _pauses()
        while not is_so(job, "Finished") and (read_status(job).attempt or 0) <= attempt:
            await asyncio.sleep(next(pauses))
            job = await _again(connection, job)
        newest = read_status(job).attempt or 0
        if newest <= attempt or asked.attempt is not None:
            return
        attempt, tail = attempt + 1, None
        nodes = _nodes(job, read_status(job), attempt)
        ranks = [asked.rank] if asked.rank is not None else range(nodes)


async def _merged(
    connection: Connection, job: Object, attempt: int, ranks: Iterable[int], *, tail: int | None
) -> AsyncGenerator[list[LogLine]]:
    """The logs of several pods as they grow; a reader that is slow holds the pods' connections up, not the pods."""
    queue: asyncio.Queue[list[LogLine] | Exception | None] = asyncio.Queue(_WAITED_FOR)

    async def pump(rank: int) -> None:
        try:
            async for lines in _whole_log(connection, job, attempt, rank, tail=tail):
                await queue.put([LogLine(rank, attempt, line) for line in lines])
            await queue.put(None)
        except Exception as error:
            await queue.put(error)

    pumps = [asyncio.create_task(pump(rank)) for rank in ranks]
    left = len(pumps)
    try:
        while left:
            got = await queue.get()
            if isinstance(got, Exception):
                raise got
            if got is None:
                left -= 1
            else:
                yield got
    finally:
        for each in pumps:
            each.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _whole_log(
    connection: Connection, job: Object, attempt: int, rank: int, *, tail: int | None
) -> AsyncGenerator[list[str]]:
    """A pod's log from its first line, or the last few, to its end; awaits its start."""
    clock = asyncio.get_running_loop().time
    heard, since, pauses = clock(), math.inf, _pauses()
    while True:
        try:
            async for lines in _pod_log(connection, job, attempt, rank, tail=tail, since=since):
                heard = clock()
                yield lines
            return
        except (NotFound, Refused):
            if math.isfinite(since):
                return
            if await _is_over(connection, job, attempt):
                yield [GONE]
                return
            await asyncio.sleep(next(pauses))
        except ClusterUnreachable:
            if await _is_over(connection, job, attempt):
                return
            silent = clock() - heard
            if silent < _QUIET_SECONDS:
                yield [_CUT]
                await asyncio.sleep(_POLL_SECONDS)
            since, tail = max(1.0, clock() - heard), None


def _pauses() -> Iterator[float]:
    """Seconds between two looks for something that is about to be: a pod that fails at once lives for less than one."""
    pause = _FIRST_POLL_SECONDS
    while True:
        yield pause
        pause = min(1.5 * pause, _POLL_SECONDS)


async def _is_over(connection: Connection, job: Object, attempt: int) -> bool:
    now = await _again(connection, job)
    return is_so(now, "Finished") or (read_status(now).attempt or 0) > attempt


async def _again(connection: Connection, job: Object) -> Object:
    namespace, name = key_of(job)
    try:
        now = await connection.get(TRAINING_JOBS, namespace, name)
    except NotFound:
        raise JobDeleted(name, namespace=namespace) from None
    if uid_of(now) != uid_of(job):
        raise JobDeleted(name, namespace=namespace)
    return now
