"""A queue of keys, as in controller-runtime, but fair: namespaces take turns, and none gets more than its share of the
workers.

A key that waits is there once, however often it is added. A key that is being worked on is handed to nobody else; added
meanwhile, it comes again as soon as it is done. So at most one worker has a key, and no change goes unseen.
"""

from footplate.machinery.backoff import pause_after
from footplate.machinery.clock import Clock, Timer
from footplate.machinery.fair import FairQueue
from footplate.machinery.metrics import Metrics
from footplate.objects import Key

_FIRST_BACKOFF = 0.05
_LAST_BACKOFF = 30.0
"""However long an outage was, every job has been looked at a minute after its end."""


class WorkQueue:
    """Keys to be worked on, in each namespace in the order in which they came."""

    def __init__(self, *, workers: int, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._waiting: FairQueue[Key] = FairQueue(workers)
        self._added_at: dict[Key, float] = {}
        self._dirty: set[Key] = set()
        self._processing: set[Key] = set()
        self._timers: dict[Key, tuple[float, Timer]] = {}
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: Key) -> None:
        """The key must be looked at."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._enqueue(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """The key must be looked at in so many seconds; of several such wishes the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if key in self._timers:
            earlier, timer = self._timers[key]
            if earlier <= due:
                return
            timer.cancel()
        self._timers[key] = due, self._clock.call_later(seconds, lambda: self._fire(key))

    def add_rate_limited(self, key: Key, *, at_least: float = 0.0) -> None:
        """The key failed: it comes again after a pause that doubles with each failure, until `forget`."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self.add_after(key, max(at_least, pause_after(failures, first=_FIRST_BACKOFF, last=_LAST_BACKOFF)))

    def forget(self, key: Key) -> None:
        """The key is well: its next failure starts from the shortest pause."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """The next key, once there is one; `done` must follow."""
        _, key = await self._waiting.get()
        self._dirty.discard(key)
        self._processing.add(key)
        self._metrics.queue_depth.set(len(self._waiting))
        self._metrics.queue_seconds.observe(self._clock.monotonic() - self._added_at.pop(key))
        return key

    def done(self, key: Key) -> None:
        """The worker that got the key has finished with it."""
        self._processing.discard(key)
        if key in self._dirty:
            self._enqueue(key)
        self._waiting.done(key[0])

    def _enqueue(self, key: Key) -> None:
        self._added_at[key] = self._clock.monotonic()
        self._waiting.put(key[0], key)
        self._metrics.queue_depth.set(len(self._waiting))

    def _fire(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)
