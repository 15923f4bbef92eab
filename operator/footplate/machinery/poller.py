"""Asks rank 0 of every running gang how far it is.

What a pod answers is a tenant's word: it is bounded in size, time and shape, follows no redirect, and counts only for
the job, run and attempt that the pod belongs to. The addresses asked are those of pods that the job controls.
"""

import asyncio
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime

import structlog
from pydantic import ValidationError

from footplate.api.status import Phase
from footplate.attempt_spec import pod_name
from footplate.contract import MAX_PROGRESS_BYTES, METRICS_PORT, TOKEN_HEADER, Progress
from footplate.machinery.clock import Clock
from footplate.machinery.fair import FairSlots
from footplate.machinery.metrics import Metrics
from footplate.objects import Key, Object, block, is_controlled_by, key_of, number, text, uid_of
from footplate.policy.pod import Pod
from footplate.policy.progress import on_our_clock
from footplate.tokens import token_of

log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = 2.0
_MAX_HEAD_BYTES = 8_192
_POLLS_PER_SECOND = 25.0
"""Many running jobs are asked less often, not faster: each answer that is news takes two looks and a write of the
status, and 1,000 jobs are to take less than 0.3 of a core.
"""
_IN_FLIGHT = 50


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask about which attempt."""

    key: Key
    uid: str
    run: int
    attempt: int
    address: str
    token: str = field(default="", repr=False)
    """What that pod awaits of who asks; empty: nothing."""


def target_of(job: Object, find: Callable[[Key], Object | None]) -> Target | None:
    """Rank 0 of the job's running gang, found by its name; None where nothing runs.

    Only a pod whose trainer runs is asked: the address of one that has ended may be another's by now.
    """
    status = block(job, "status")
    run, attempt = number(status, "run"), number(status, "attempt")
    if text(status, "phase") != Phase.RUNNING or run is None or attempt is None:
        return None
    namespace, name = key_of(job)
    found = find((namespace, pod_name(name, run=run, attempt=attempt, rank=0)))
    if found is None or not is_controlled_by(found, job):
        return None
    rank_0 = Pod.of(found)
    address = text(rank_0.status, "podIP") if rank_0.running else ""
    return Target((namespace, name), uid_of(job), run, attempt, address, token_of(found)) if address else None


class Poller:
    """Keeps the latest progress of each running job, by UID, and says when one has changed."""

    def __init__(
        self,
        targets: Callable[[], Iterable[Target]],
        *,
        on_change: Callable[[Key], None],
        clock: Clock,
        metrics: Metrics,
        interval: float,
        port: int = METRICS_PORT,
    ) -> None:
        self._targets = targets
        self._on_change = on_change
        self._clock = clock
        self._metrics = metrics
        self._interval = interval
        self._port = port
        self._latest: dict[str, Progress] = {}
        self._slots = FairSlots(_IN_FLIGHT)

    def latest(self, uid: str) -> Progress | None:
        """What the job last said of itself."""
        return self._latest.get(uid)

    async def run(self) -> None:
        """Goes round all running jobs, evenly over the interval, until cancelled."""
        async with asyncio.TaskGroup() as polls:
            while True:
                targets = list(self._targets())
                self._forget_all_but(targets)
                random.shuffle(targets)
                period = max(self._interval, len(targets) / _POLLS_PER_SECOND)
                for target in targets:
                    polls.create_task(self._poll(target))
                    await self._clock.sleep(period / len(targets))
                if not targets:
                    await self._clock.sleep(self._interval)

    def _forget_all_but(self, targets: Iterable[Target]) -> None:
        running = {target.uid for target in targets}
        for uid in self._latest.keys() - running:
            del self._latest[uid]

    async def _poll(self, target: Target) -> None:
        namespace, _ = target.key
        await self._slots.acquire(namespace, turn=1)
        try:
            await self._take(target)
        finally:
            self._slots.release(namespace)

    async def _take(self, target: Target) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                said, theirs = await self._ask(target)
            progress = Progress.model_validate_json(said)
            if (progress.uid, progress.run, progress.attempt) != (target.uid, target.run, target.attempt):
                raise ValueError("progress of another job or attempt")
        except (TimeoutError, OSError, EOFError):
            self._metrics.polls.labels("unreachable").inc()
        except ValueError as error:  # pydantic's ValidationError is one, and TooLong
            self._metrics.polls.labels("invalid").inc()
            log.debug("progress_invalid", job="/".join(target.key), error=_first_line(error))
        except Exception:
            self._metrics.polls.labels("invalid").inc()
            log.exception("progress_not_read", job="/".join(target.key))
        else:
            self._metrics.polls.labels("ok").inc()
            if theirs is not None:
                progress = on_our_clock(progress, theirs=theirs, now=self._clock.now())
            if progress != self._latest.get(target.uid):
                self._latest[target.uid] = progress
                self._on_change(target.key)

    async def _ask(self, target: Target) -> tuple[bytes, datetime | None]:
        """The body of the answer, and what the pod's clock shows. Read by hand: a client library reads 1xx answers for
        ever, of which a pod may send ten thousand in one packet; here every byte counts, and the first answer is the
        last.
        """
        reader, writer = await asyncio.open_connection(target.address, self._port, limit=_MAX_HEAD_BYTES)
        try:
            shown = f"{TOKEN_HEADER}: {target.token}\r\n" if target.token else ""
            writer.write(f"GET /progress HTTP/1.0\r\nConnection: close\r\n{shown}\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            status = head.split(None, 2)[1:2]
            if status != [b"200"]:
                raise ValueError(f"status {status}")
            return await _read_to_end(reader), _date_of(head)
        except asyncio.LimitOverrunError as error:
            raise ValueError(f"a head of more than {_MAX_HEAD_BYTES} bytes") from error
        finally:
            writer.close()


def _date_of(head: bytes) -> datetime | None:
    found = re.search(rb"(?im)^date:([^\r\n]{1,64})\r$", head)
    try:
        date = parsedate_to_datetime(found[1].decode("ascii")) if found else None
    except (ValueError, OverflowError):
        return None
    return date if date is not None and date.tzinfo is not None else None


async def _read_to_end(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while chunk := await reader.read(MAX_PROGRESS_BYTES):
        body += chunk
        if len(body) > MAX_PROGRESS_BYTES:
            raise ValueError(f"more than {MAX_PROGRESS_BYTES} bytes")
    return body


def _first_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return f"{error.error_count()} fields are not as agreed"
    return str(error)
