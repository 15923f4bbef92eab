"""What follows from what code expects: percent, an ETA that is never guessed, tokens a second, MFU."""

from collections.abc import Callable
from typing import Any

import pytest

from footplate_trainer import expect
from footplate_trainer.errors import ConfigError
from footplate_trainer.rank import expecting
from footplate_trainer.rank.peaks import mfu, peak_flops
from footplate_trainer.rank.progress import RankProgress
from footplate_trainer.rank.report import Reporter


@pytest.fixture
def progress() -> RankProgress:
    return RankProgress()


@pytest.fixture
def eta(progress: RankProgress) -> Callable[[int, float], int | None]:
    """The ETA after a report of so many steps at such a time."""

    def report(step: int, time: float) -> int | None:
        progress.step = step
        return progress.status(time, metrics={}).eta_seconds

    return report


def test_right_after_a_resume_nothing_is_guessed(
    progress: RankProgress, eta: Callable[[int, float], int | None]
) -> None:
    progress.expect(total_steps=1000)
    progress.step = 900
    assert progress.status(None, metrics={}).eta_seconds is None
    assert eta(901, 5000.0) is None, "one report tells no speed: its step has loaded and compiled"
    assert eta(911, 5020.0) == 178
    assert progress.status(5020.0, metrics={}).percent == 91.1


def test_without_a_whole_there_is_no_eta(eta: Callable[[int, float], int | None]) -> None:
    assert eta(1, 0.0) is None
    assert eta(2, 1.0) is None


def test_the_next_training_does_not_inherit_the_speed_of_the_one_before(
    progress: RankProgress, eta: Callable[[int, float], int | None]
) -> None:
    progress.begin("first", steps={})
    progress.expect(total_steps=10)
    eta(1, 0.0)
    assert eta(10, 9.0) == 0
    progress.begin("second", steps={"first": 10})
    progress.expect(total_steps=10)
    assert eta(11, 20.0) is None
    assert eta(12, 80.0) == 480


def test_tokens_and_operations_a_second_follow_from_those_of_a_step(progress: RankProgress) -> None:
    assert (progress.tokens_per_second, progress.flops_per_second) == (None, None)
    progress.expect(tokens=1000, flops=1e15)
    assert progress.tokens_per_second is None
    for step in (1, 3):
        progress.step = step
        progress.status(step * 2.0, metrics={})
    assert (progress.tokens_per_second, progress.flops_per_second) == (500.0, 5e14)


def test_it_is_said_through_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Reporter()
    monkeypatch.setattr(expecting, "reporter", lambda: said)
    expect(steps=10, epochs=2)
    expect(steps=20)
    said.step_done(5, None, None, {})
    status = said.progress.status(1.0, metrics={})
    assert (status.total_steps, status.epochs, status.percent) == (20, 2, 25.0)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"steps": 0}, r"expect\(steps=0\): it must be a whole number from 1 to"),
        ({"steps": 1.5}, r"expect\(steps=1.5\)"),
        ({"epochs": True}, r"expect\(epochs=True\)"),
        ({"tokens_per_step": float("inf")}, r"expect\(tokens_per_step=inf\): it must be a number above 0"),
        ({"flops_per_step": "many"}, r"expect\(flops_per_step='many'\)"),
    ],
)
def test_what_cannot_be_expected_is_said(said: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        expect(**said)


@pytest.mark.parametrize(
    ("device", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA H200", 989.5),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA A10G", 70.0),
        ("NVIDIA A10", 125.0),
        ("NVIDIA L40S", 362.05),
        ("Tesla V100-SXM2-16GB", 125.0),
        ("Tesla V100-PCIE-16GB", 112.0),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("NVIDIA GeForce GTX 1080", None),
        ("cpu", None),
        ("", None),
        (None, None),
    ],
)
def test_peaks_are_those_of_devices_that_are_known(device: str | None, teraflops: float | None) -> None:
    assert peak_flops(device) == (None if teraflops is None else teraflops * 1e12)


def test_mfu_is_a_share_of_all_devices_peaks() -> None:
    assert mfu(8 * 312e12 / 2, device="NVIDIA A100-SXM4-80GB", devices=8) == 0.5
    assert mfu(None, device="NVIDIA A100-SXM4-80GB", devices=8) is None
    assert mfu(1e12, device="cpu", devices=8) is None
