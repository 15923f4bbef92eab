"""Lightning's Trainer on two nodes."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from example_gangs import Example
from example_lives import live_thrice
from footplate.contract import ExitCode

pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(3600)]
VENV = "torch"
STEPS_PER_EPOCH = 20


def test_the_example_trains_on_two_nodes(tmp_path: Path, python: str) -> None:
    example = Example("lightning", tmp_path, python)
    first, second = example.run()
    assert (first.exit_code, second.exit_code) == (0, 0), first.log
    assert (first.verdict.step, first.verdict.notes) == (20 * STEPS_PER_EPOCH, [])
    assert first.verdict.progress is not None
    assert first.verdict.progress.percent == 100
    assert first.verdict.metrics["val_accuracy"] > 0.9
    assert load_file(example.output / "spirals.safetensors").keys()


def test_it_is_suspended_killed_and_goes_on(tmp_path: Path, python: str) -> None:
    lives = live_thrice(
        lambda arguments: Example("lightning", tmp_path, python, arguments),
        endless=["--epochs=1000000", "--save-epochs=12"],
        ending=lambda step: [f"--epochs={step // STEPS_PER_EPOCH + 2}"],
        begins=r"begins at \S*step=(\d+)",
    )
    assert [done.exit_code for done in lives.suspended] == [ExitCode.STOPPED] * 2
    assert lives.kept[0] == lives.suspended[0].verdict.step
    assert lives.began == [0, *lives.kept]
    assert [done.exit_code for done in lives.finished] == [0, 0]
    assert lives.finished[0].verdict.step == (lives.kept[1] // STEPS_PER_EPOCH + 2) * STEPS_PER_EPOCH
