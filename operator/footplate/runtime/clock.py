"""Time as an argument: everything in `runtime` that waits or compares times takes a `Clock`, so that tests own it."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

# Counts time spent in suspend too, where the system has it: a leader that slept must know that it did.
_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Timer(Protocol):
    """What `Clock.call_later` gives: a call that can still be taken back."""

    def cancel(self) -> None:
        """The callback won't run, if it hasn't yet."""


class Clock(Protocol):
    """Wall time for what others read, monotonic seconds for every comparison, and waiting."""

    def now(self) -> datetime:
        """Wall time, in UTC."""

    def monotonic(self) -> float:
        """Seconds since some start, never set back; suspended time counts."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Runs the callback in the event loop after so many seconds."""


class SystemClock:
    """The real one."""

    def now(self) -> datetime:  # noqa: D102
        return datetime.now(UTC)

    def monotonic(self) -> float:  # noqa: D102
        return time.clock_gettime(_MONOTONIC)

    async def sleep(self, seconds: float) -> None:  # noqa: D102
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:  # noqa: D102
        return asyncio.get_running_loop().call_later(seconds, callback)


def micro_time(moment: datetime) -> str:
    """A time with microseconds, as Kubernetes' MicroTime wants it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
