"""Values on a GPU are read by the thread that reports them, without waiting, and never while a graph is captured."""

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from footplate_trainer import exchange
from footplate_trainer.rank.readings import Readings
from footplate_trainer.rank.report import Reporter
from footplate_trainer.rank.values import Values


class Gpu:
    """Stands in for a device: its copies arrive when the test says so, and it knows which threads have called it."""

    def __init__(self) -> None:
        self.threads: set[threading.Thread] = set()
        self.capturing = False
        self.done = True
        self.waits = 0

    def call(self) -> None:
        assert not self.capturing, "operation not permitted when stream is capturing"
        self.threads.add(threading.current_thread())

    def is_current_stream_capturing(self) -> bool:
        self.threads.add(threading.current_thread())
        return self.capturing

    def event(self) -> Any:
        self.call()

        def query() -> bool:
            self.call()
            return self.done

        def synchronize() -> None:
            self.call()
            self.waits += 1

        return SimpleNamespace(record=self.call, query=query, synchronize=synchronize)


class OnGpu:
    """A tensor there."""

    device = SimpleNamespace(type="cuda")

    def __init__(self, gpu: Gpu, value: float, numel: int = 1) -> None:
        self._gpu, self._value, self._numel = gpu, value, numel

    def numel(self) -> int:
        return self._numel

    def detach(self) -> "OnGpu":
        return self

    def to(self, device: str, *, non_blocking: bool) -> torch.Tensor:
        assert (device, non_blocking) == ("cpu", True)
        self._gpu.call()
        return torch.tensor(self._value)

    def item(self) -> float:
        pytest.fail("waits for the device")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    gpu = Gpu()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", gpu.is_current_stream_capturing)
    monkeypatch.setattr(torch.cuda, "Event", gpu.event)
    return gpu


@pytest.fixture
def reporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reporter]:
    monkeypatch.setattr(sys.modules[Reporter.__module__], "WRITE_SECONDS", 0.02)
    reporter = Reporter(0, tmp_path)
    yield reporter
    reporter._closed.set()


def test_copies_are_begun_when_wanted_and_taken_in_when_done(gpu: Gpu) -> None:
    readings = Readings()
    gpu.done = False
    readings.offer({"loss": OnGpu(gpu, 0.5), "rows": OnGpu(gpu, 0.0, numel=2), "host": torch.tensor(3.0)}, {})
    readings.offer({"loss": OnGpu(gpu, 0.4)}, {})
    assert readings.numbers == {}
    gpu.done = True
    readings.offer({"loss": OnGpu(gpu, 0.3)}, {})
    assert readings.numbers == {"loss": 0.5, "rows": None}
    readings.offer({"loss": OnGpu(gpu, 0.2)}, {})
    assert readings.numbers["loss"] == 0.5, "nobody wanted another one"
    readings.want()
    readings.offer({"loss": OnGpu(gpu, 0.2)}, {})
    readings.offer({"loss": OnGpu(gpu, 0.1)}, {})
    assert readings.numbers["loss"] == pytest.approx(0.2)
    assert gpu.waits == 0


def test_while_a_graph_is_captured_nothing_is_asked(gpu: Gpu) -> None:
    readings = Readings()
    readings.offer({"loss": OnGpu(gpu, 0.5)}, {})
    gpu.capturing = True
    readings.offer({"loss": OnGpu(gpu, 0.5)}, {})
    readings.read({"loss": OnGpu(gpu, 0.5)}, {})
    assert readings.numbers == {}
    gpu.capturing = False
    readings.offer({}, {})
    assert readings.numbers == {"loss": 0.5}


def test_the_thread_that_writes_never_asks_the_gpu(gpu: Gpu, reporter: Reporter, tmp_path: Path) -> None:
    shown: dict[str, float] = {}
    deadline = time.monotonic() + 60
    while shown.get("loss") != 0.25 and time.monotonic() < deadline:
        reporter.step_done(1, OnGpu(gpu, 0.25), None, {"accuracy": torch.tensor(0.75)})
        time.sleep(0.005)
        found = exchange.read_report(tmp_path)
        shown = found.progress.metrics if found else {}
    assert shown == {"loss": 0.25, "accuracy": 0.75}
    assert any(thread.name == "footplate-report" for thread in threading.enumerate())
    assert gpu.threads == {threading.current_thread()}
    assert gpu.waits == 0


def test_a_value_counts_as_reported_once_its_own_number_is_known(gpu: Gpu) -> None:
    """An evaluation says its value once in many steps: the one before it must not be told in its place."""
    values = Values(lambda note: None)

    def report(loss: float, **metrics: float) -> None:
        values.take(int(10 - 10 * loss), OnGpu(gpu, loss), {name: OnGpu(gpu, value) for name, value in metrics.items()})
        values.offer()

    def look() -> tuple[dict[str, float], dict[str, int]]:
        numbers, reported = values.look()
        values.want()
        new = {name: step for name, (time, step) in reported.items() if (time, step) != told.get(name)}
        told.update(reported)
        return numbers, new

    told: dict[str, tuple[float, int]] = {}
    report(0.5, accuracy=0.25)
    report(0.4)
    assert look() == ({"loss": 0.5, "accuracy": 0.25}, {"loss": 5, "accuracy": 5})
    report(0.3)
    report(0.2, accuracy=0.75)
    numbers, reported = look()
    assert (numbers["accuracy"], reported) == (0.25, {"loss": 7}), "which is old"
    report(0.1)
    report(0.0)
    numbers, reported = look()
    assert (numbers["accuracy"], reported) == (0.75, {"loss": 9, "accuracy": 8})


def test_the_last_values_are_waited_for(gpu: Gpu, reporter: Reporter, tmp_path: Path) -> None:
    gpu.done = False
    reporter.step_done(1, OnGpu(gpu, 0.25), None, {})
    reporter.step_done(2, OnGpu(gpu, 0.125), None, {})
    reporter.close()
    found = exchange.read_report(tmp_path)
    assert found is not None
    assert found.progress.metrics == {"loss": 0.125}
    assert gpu.waits == 1


def test_a_broken_device_is_told_by_the_programs_own_next_call(
    gpu: Gpu, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu.capturing = True
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)  # then every call of it fails
    reporter.step_done(1, OnGpu(gpu, 0.25), None, {})
    reporter.flush()


def test_other_ranks_read_nothing(gpu: Gpu, tmp_path: Path) -> None:
    reporter = Reporter(1, tmp_path)
    reporter.step_done(1, OnGpu(gpu, 0.25), None, {})
    reporter.close()
    assert gpu.threads == set()
