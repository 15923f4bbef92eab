"""Memory, load and power of this pod's NVIDIA devices, by the driver's own library.

A driver that is broken may hang in any call: it is asked in a thread of its own, and nobody waits for that. Where there
is no driver, or its library says no, there are no readings, and nothing else is different.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

ASK_SECONDS = 10.0
STALE_SECONDS = 60.0
MAX_DEVICES = 64
T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """One device; None where its driver doesn't tell, as of parts of one (MIG)."""

    device: str
    """Number of the device among those of the pod."""
    memory_used: float | None
    """Bytes."""
    memory: float | None
    """Bytes."""
    utilization: float | None
    """Share of the last second or less, 0 to 1."""
    power: float | None
    """Watts."""


class DeviceReadings:
    """The newest readings. `begin` starts to ask, and ends by itself where there is nothing to be asked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._newest: tuple[DeviceReading, ...] = ()
        self._read_at = 0.0
        self._worked_at: float | None = None
        self._ended = threading.Event()

    def begin(self) -> None:
        """Asks from now on, about every ten seconds."""
        # What it logs names the pod's place, as all lines do: a thread begins without that context.
        threading.Thread(target=copy_context().run, args=(self._ask,), name="devices", daemon=True).start()

    def end(self) -> None:
        """Asks no more."""
        self._ended.set()

    def newest(self) -> tuple[DeviceReading, ...]:
        """Of each device; empty where there is none, or the driver hasn't answered for a minute."""
        return self._newest if self._clock() - self._read_at <= STALE_SECONDS else ()

    def idle_seconds(self) -> float | None:
        """For how long none of them has worked, in whole minutes, so that it is news once a minute; None where that
        isn't known of all of them.
        """
        newest = self.newest()
        if self._worked_at is None or not newest or any(each.utilization is None for each in newest):
            return None
        return max(0.0, self._clock() - self._worked_at) // 60 * 60

    def _ask(self) -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception:  # no driver, an old one, or another library under that name
            return
        try:
            while True:
                self._take(read_devices(pynvml))
                if not self._newest or self._ended.wait(ASK_SECONDS):
                    return
        except Exception as error:
            log.warning("devices are not measured any more", why=str(error))
        finally:
            with suppress(Exception):
                pynvml.nvmlShutdown()

    def _take(self, readings: tuple[DeviceReading, ...]) -> None:
        self._newest, self._read_at = readings, self._clock()
        if self._worked_at is None or any(each.utilization for each in readings):
            self._worked_at = self._read_at


def read_devices(nvml: Any) -> tuple[DeviceReading, ...]:
    """Asks the driver for all of them. `nvml` is the module pynvml, initialised.

    Raises:
        NVMLError: the driver doesn't even tell how many there are.
    """
    count = min(int(nvml.nvmlDeviceGetCount()), MAX_DEVICES)
    return tuple(reading for number in range(count) if (reading := _read(nvml, number)) is not None)


def _read(nvml: Any, number: int) -> DeviceReading | None:
    handle = _known(lambda: nvml.nvmlDeviceGetHandleByIndex(number))
    if handle is None:
        return None
    memory: Any = _known(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    return DeviceReading(
        device=str(number),
        memory_used=_known(lambda: float(memory.used)),
        memory=_known(lambda: float(memory.total)),
        utilization=_known(lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100),
        power=_known(lambda: float(nvml.nvmlDeviceGetPowerUsage(handle)) / 1000),
    )


def _known(ask: Callable[[], T]) -> T | None:
    """What the driver answers; None where it refuses, as each device knows other questions."""
    try:
        return ask()
    except Exception:
        return None
