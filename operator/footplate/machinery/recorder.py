"""Kubernetes events for users, one a transition; the same again within a window becomes a count on the first.

Best effort: recording never waits, a full queue drops, and an event that can't be written is forgotten.
"""

import asyncio
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

import structlog

from footplate.errors import FootplateError
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock, micro_time
from footplate.machinery.metrics import Metrics
from footplate.machinery.resources import EVENTS, TRAINING_JOBS
from footplate.objects import Object, key_of, uid_of
from footplate.policy.plan import Event

log = structlog.get_logger(__name__)

WINDOW_SECONDS = 600.0

_CAPACITY = 1_000
_SERIES_KEPT = 4_096
_NOTE_LENGTH = 1_024
_INSTANCE_LENGTH = 128
_CONTROLLER = "footplate.dev/operator"


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    last: float


class Recorder:
    """Writes events about TrainingJobs."""

    def __init__(self, client: KubeClient, *, clock: Clock, metrics: Metrics, identity: str) -> None:
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._identity = identity[:_INSTANCE_LENGTH]
        self._queue: asyncio.Queue[tuple[Object, Event, datetime]] = asyncio.Queue(_CAPACITY)
        self._series: OrderedDict[tuple[str, Event], _Series] = OrderedDict()

    def record(self, job: Object, event: Event) -> None:
        """Queues an event about a job."""
        try:
            self._queue.put_nowait((job, event, self._clock.now()))
        except asyncio.QueueFull:
            self._metrics.events.labels("dropped").inc()

    async def run(self) -> None:
        """Writes what was recorded, until cancelled."""
        while True:
            job, event, time = await self._queue.get()
            try:
                await self._write(job, event, time)
                self._metrics.events.labels("written").inc()
            except FootplateError as error:
                self._metrics.events.labels("failed").inc()
                log.debug("event_not_written", reason=event.reason, error=str(error))
            except Exception:
                self._metrics.events.labels("failed").inc()
                log.exception("event_not_written", reason=event.reason)

    async def _write(self, job: Object, event: Event, time: datetime) -> None:
        key = (uid_of(job), event)
        series = self._series.get(key)
        if series is not None and self._clock.monotonic() - series.last < WINDOW_SECONDS:
            await self._count_up(job, series, time)
            return
        created = await self._client.create(self._event(job, event, time))
        self._series[key] = _Series(created["metadata"]["name"], 1, self._clock.monotonic())
        self._series.move_to_end(key)
        if len(self._series) > _SERIES_KEPT:
            self._series.popitem(last=False)

    async def _count_up(self, job: Object, series: _Series, time: datetime) -> None:
        series.count += 1
        series.last = self._clock.monotonic()
        patch = {"series": {"count": series.count, "lastObservedTime": micro_time(time)}}
        await self._client.patch(EVENTS, key_of(job)[0], series.name, patch)

    def _event(self, job: Object, event: Event, time: datetime) -> Object:
        namespace, name = key_of(job)
        return {
            "apiVersion": EVENTS.api,
            "kind": "Event",
            "metadata": {"namespace": namespace, "name": f"{name}.{uuid.uuid4().hex[:16]}"},
            "eventTime": micro_time(time),
            "type": event.type,
            "reason": event.reason,
            "action": event.action,
            "note": event.message[:_NOTE_LENGTH],
            "reportingController": _CONTROLLER,
            "reportingInstance": self._identity,
            "regarding": {
                "apiVersion": TRAINING_JOBS.api,
                "kind": "TrainingJob",
                "namespace": namespace,
                "name": name,
                "uid": uid_of(job),
                "resourceVersion": job["metadata"].get("resourceVersion", ""),
            },
        }
