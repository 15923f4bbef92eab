"""Kubernetes events for users, one a transition; the same again within a window becomes a count on the first.

Best effort, and fair: recording never waits; each namespace has a queue and its share of the writers; each job may say
so much at once, then something every five minutes, as client-go's spam filter has it. Where something must be dropped,
what says that training failed outranks all else, and notes about a run that goes on come last.
"""

import asyncio
import uuid
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from footplate.errors import FootplateError, Retryable
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock, micro_time
from footplate.machinery.fair import FairQueue
from footplate.machinery.metrics import Metrics
from footplate.machinery.resources import EVENTS, TRAINING_JOBS
from footplate.objects import Object, key_of, uid_of, version_of
from footplate.policy.plan import Event
from footplate.policy.reasons import NOTICES
from footplate.text import clean

log = structlog.get_logger(__name__)

WINDOW_SECONDS = 600.0
BURST = 25
"""What one job may say at once; notes leave `_KEPT_FROM_NOTES` of it to what is more important."""
REFILL_SECONDS = 300.0
CAPACITY = 100
"""Events of one namespace that wait."""

_KEPT_FROM_NOTES = 10
_WRITERS = 12
_TRIES = 5
_FIRST_PAUSE = 0.5
_SERIES_KEPT = 4_096
_JOBS_KEPT = 4_096
_TURN = 1_000_000
"""Behind what the jobs of the namespace need: the writes of a plan have their numbers as turns."""
_INSTANCE_LENGTH = 128
_CONTROLLER = "footplate.dev/operator"


@dataclass(frozen=True, slots=True)
class _Said:
    """One event about one version of a job, of which nothing else is kept."""

    event: Event
    namespace: str
    name: str
    uid: str
    version: str
    time: datetime
    tries: int = 0


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    last: float


class SpamFilter:
    """A bucket of tokens for each job."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def lets_pass(self, uid: str, *, keep: int = 0) -> bool:
        """Takes a token of the job's, where more than `keep` are left."""
        now = self._clock.monotonic()
        tokens, since = self._buckets.pop(uid, (float(BURST), now))
        tokens = min(BURST, tokens + (now - since) / REFILL_SECONDS)
        passes = tokens >= keep + 1
        self._buckets[uid] = tokens - passes, now
        if len(self._buckets) > _JOBS_KEPT:
            self._buckets.popitem(last=False)
        return passes


class Recorder:
    """Writes events about TrainingJobs."""

    def __init__(self, client: KubeClient, *, clock: Clock, metrics: Metrics, identity: str) -> None:
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._identity = identity[:_INSTANCE_LENGTH]
        self._queue: FairQueue[_Said] = FairQueue(_WRITERS)
        self._filter = SpamFilter(clock=clock)
        self._series: OrderedDict[tuple[str, Event], _Series] = OrderedDict()

    def record(self, job: Object, event: Event) -> None:
        """Queues an event about a job."""
        keep = _KEPT_FROM_NOTES if event.reason in NOTICES else 0
        if not self._filter.lets_pass(uid_of(job), keep=keep):
            self._metrics.events.labels("filtered").inc()
            return
        self._enqueue(_Said(event, *key_of(job), uid_of(job), version_of(job), self._clock.now()))

    async def run(self) -> None:
        """Writes what was recorded, until cancelled."""
        async with asyncio.TaskGroup() as writers:
            for _ in range(_WRITERS):
                writers.create_task(self._write_for_ever())

    def _enqueue(self, said: _Said) -> None:
        waiting = self._queue.waiting(said.namespace)
        if len(waiting) >= CAPACITY:
            self._metrics.events.labels("dropped").inc()
            least = min(waiting, key=_weight)
            if _weight(least) >= _weight(said):
                return
            self._queue.remove(said.namespace, least)
        self._queue.put(said.namespace, said)

    async def _write_for_ever(self) -> None:
        while True:
            namespace, said = await self._queue.get()
            try:
                await self._write(said)
                self._metrics.events.labels("written").inc()
            except Retryable as error:
                self._try_again(said, error)
            except FootplateError as error:
                self._give_up(said, error)
            except Exception:
                self._metrics.events.labels("failed").inc()
                log.exception("event_not_written", reason=said.event.reason)
            finally:
                self._queue.done(namespace)

    def _try_again(self, said: _Said, error: Retryable) -> None:
        tries = said.tries + 1
        if tries == _TRIES:
            self._give_up(said, error)
            return
        pause = max(error.retry_after or 0.0, _FIRST_PAUSE * 2**said.tries)
        self._clock.call_later(pause, lambda: self._enqueue(replace(said, tries=tries)))

    def _give_up(self, said: _Said, error: FootplateError) -> None:
        self._metrics.events.labels("failed").inc()
        log.debug("event_not_written", reason=said.event.reason, error=str(error))

    async def _write(self, said: _Said) -> None:
        key = said.uid, said.event
        series = self._series.get(key)
        if series is not None and self._clock.monotonic() - series.last < WINDOW_SECONDS:
            await self._count_up(said, series)
            return
        # Known before it is written: another writer may have the same event in hand.
        event = self._event(said)
        self._series[key] = _Series(event["metadata"]["name"], 1, self._clock.monotonic())
        self._series.move_to_end(key)
        if len(self._series) > _SERIES_KEPT:
            self._series.popitem(last=False)
        try:
            await self._client.create(event, turn=_TURN)
        except BaseException:
            self._series.pop(key, None)
            raise

    async def _count_up(self, said: _Said, series: _Series) -> None:
        series.count += 1
        series.last = self._clock.monotonic()
        patch = {"series": {"count": series.count, "lastObservedTime": micro_time(said.time)}}
        await self._client.patch(EVENTS, said.namespace, series.name, patch, turn=_TURN)

    def _event(self, said: _Said) -> Object:
        return {
            "apiVersion": EVENTS.api,
            "kind": "Event",
            "metadata": {"namespace": said.namespace, "name": f"{said.name}.{uuid.uuid4().hex[:16]}"},
            "eventTime": micro_time(said.time),
            "type": said.event.type,
            "reason": said.event.reason,
            "action": said.event.action,
            "note": clean(said.event.message),
            "reportingController": _CONTROLLER,
            "reportingInstance": self._identity,
            "regarding": {
                "apiVersion": TRAINING_JOBS.api,
                "kind": "TrainingJob",
                "namespace": said.namespace,
                "name": said.name,
                "uid": said.uid,
                "resourceVersion": said.version,
            },
        }


def _weight(said: _Said) -> int:
    """Failures before what goes as it should, notes last; of equals the older stays."""
    if said.event.reason in NOTICES:
        return 0
    return 2 if said.event.type == "Warning" else 1
