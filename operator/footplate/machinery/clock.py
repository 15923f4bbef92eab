"""Time as an argument: everything in `machinery` that waits or compares times takes a `Clock`, so that tests own it."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

# Counts time spent in suspend too, where the system has it: a leader that slept must know that it did.
_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


MAX_SLEW = 0.1
"""How much faster or slower than the monotonic clock time may pass, to catch up with the wall clock."""

MAX_SKEW = timedelta(seconds=30)
"""Between our clock and the API server's: more than an answer is ever under way, and less than any limit on a job."""


def wall_time() -> datetime:
    """What the system's wall clock says, which somebody may set at any moment."""
    return datetime.now(UTC)


class Timer(Protocol):
    """What `Clock.call_later` gives: a call that can still be taken back."""

    def cancel(self) -> None:
        """The callback won't run, if it hasn't yet."""


class Clock(Protocol):
    """Wall time for what others read, monotonic seconds for every comparison, and waiting."""

    def now(self) -> datetime:
        """Wall time, in UTC; it never jumps."""

    def monotonic(self) -> float:
        """Seconds since some start, never set back; suspended time counts."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Runs the callback in the event loop after so many seconds."""


class SteadyTime:
    """Wall time that never jumps. A job has limits on time, and a jump would use them up.

    Any two readings are as far apart as the monotonic clock says, give or take `MAX_SLEW`: where the wall clock jumps,
    it is followed slowly. It never goes back, and a clock that was set wrong for a while leaves hardly a trace.
    """

    def __init__(self, wall: datetime, monotonic: float) -> None:
        self._time = wall
        self._monotonic = monotonic

    def read(self, wall: datetime, monotonic: float) -> datetime:
        """The time, as the two clocks stand now."""
        elapsed = monotonic - self._monotonic
        behind = (wall - self._time).total_seconds() - elapsed
        most = MAX_SLEW * elapsed
        self._time += timedelta(seconds=elapsed + min(max(behind, -most), most))
        self._monotonic = monotonic
        return self._time


class SystemClock:
    """The real one; of two wall clocks the API server's, once it was heard."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self._steady: SteadyTime | None = None

    def now(self) -> datetime:  # noqa: D102
        wall = wall_time() + self._ahead
        if self._steady is None:
            self._steady = SteadyTime(wall, self.monotonic())
        return self._steady.read(wall, self.monotonic())

    def hear(self, server: datetime) -> None:
        """What the API server's clock says. Times that it, the scheduler and kubelets wrote are compared with ours, and
        a few minutes between the two would use up a job's limits, or never let them come.
        """
        error = server - (wall_time() + self._ahead)
        if abs(error) > MAX_SKEW:
            self._ahead += error

    def monotonic(self) -> float:  # noqa: D102
        return time.clock_gettime(_MONOTONIC)

    async def sleep(self, seconds: float) -> None:  # noqa: D102
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:  # noqa: D102
        return asyncio.get_running_loop().call_later(seconds, callback)


def micro_time(moment: datetime) -> str:
    """A time with microseconds, as Kubernetes' MicroTime wants it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
