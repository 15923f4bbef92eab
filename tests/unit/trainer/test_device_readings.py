"""Devices are measured where there are some, and cost nothing where the driver is missing, refuses or hangs."""

import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from footplate_trainer.exchange import RankReport
from footplate_trainer.supervisor.device_readings import STALE_SECONDS, DeviceReading, DeviceReadings, read_devices
from footplate_trainer.supervisor.scrape import render
from footplate_trainer.timing.durations import SAVE_BOUNDS, Durations


class Refused(Exception):
    """What the driver's library raises."""


def refuse(*_: Any) -> Any:
    raise Refused("Not Supported")


def driver(devices: int = 2, **changes: Any) -> SimpleNamespace:
    """As the module pynvml."""
    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: devices,
        "nvmlDeviceGetHandleByIndex": lambda number: number,
        "nvmlDeviceGetMemoryInfo": lambda device: SimpleNamespace(used=10 + device, total=100),
        "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=75),
        "nvmlDeviceGetPowerUsage": lambda _: 350_500,
    }
    return SimpleNamespace(**{**answers, **changes})


def text_of(devices: tuple[DeviceReading, ...]) -> list[str]:
    text = render(RankReport(), {}, devices, saves=Durations(SAVE_BOUNDS), now=0.0).decode()
    return [line for line in text.splitlines() if "device" in line]


def wait_for_threads() -> None:
    for thread in threading.enumerate():
        if thread.name == "devices":
            thread.join(10)


def test_all_devices_are_read_and_served() -> None:
    devices = read_devices(driver())
    assert devices[1] == DeviceReading(device="1", memory_used=11.0, memory=100.0, utilization=0.75, power=350.5)
    assert 'footplate_trainer_device_power_watts{device="0"} 350.5' in text_of(devices)
    assert 'footplate_trainer_device_utilization_ratio{device="1"} 0.75' in text_of(devices)


def test_what_a_device_does_not_tell_is_left_out() -> None:
    part = driver(1, nvmlDeviceGetUtilizationRates=refuse, nvmlDeviceGetPowerUsage=refuse)
    assert read_devices(part) == (DeviceReading("0", 10.0, 100.0, None, None),)
    assert not any("utilization" in line for line in text_of(read_devices(part)))
    assert read_devices(driver(2, nvmlDeviceGetHandleByIndex=refuse)) == ()


@pytest.mark.parametrize(
    "library", [None, driver(nvmlInit=refuse), driver(nvmlDeviceGetCount=refuse), driver(0), SimpleNamespace()]
)
def test_without_a_driver_there_are_no_readings(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library)
    readings = DeviceReadings()
    readings.begin()
    wait_for_threads()
    assert readings.newest() == ()


def test_a_driver_that_hangs_holds_nobody_up_and_its_last_words_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now, answer = [1000.0], threading.Event()
    monkeypatch.setitem(sys.modules, "pynvml", driver(nvmlShutdown=answer.wait))
    readings = DeviceReadings(clock=lambda: now[0])
    readings.begin()
    deadline = time.monotonic() + 10
    while not readings.newest() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(readings.newest()) == 2
    readings.end()  # which hangs in the driver
    now[0] += STALE_SECONDS + 1
    assert readings.newest() == ()
    answer.set()
    wait_for_threads()


def test_the_real_library_does_not_break_a_machine_without_devices() -> None:
    readings = DeviceReadings()
    readings.begin()
    readings.end()
    wait_for_threads()


def test_for_how_long_no_device_has_worked() -> None:
    clock = SimpleNamespace(now=0.0)
    readings = DeviceReadings(clock=lambda: clock.now)
    assert readings.idle_seconds() is None, "nobody has looked yet"
    load = SimpleNamespace(gpu=0)
    quiet = driver(nvmlDeviceGetUtilizationRates=lambda _: load)
    for clock.now in (0.0, 30.0, 61.0, 130.0):
        readings._take(read_devices(quiet))
    assert readings.idle_seconds() == 120
    load.gpu = 1
    readings._take(read_devices(quiet))
    assert readings.idle_seconds() == 0


def test_devices_that_dont_tell_their_load_may_work() -> None:
    readings = DeviceReadings(clock=lambda: 0.0)
    readings._take(read_devices(driver(nvmlDeviceGetUtilizationRates=refuse)))
    assert readings.idle_seconds() is None
