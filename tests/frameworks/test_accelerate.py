"""A loop of one's own with accelerate, and our tracker."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from example_gangs import Example
from example_lives import live_thrice
from footplate.contract import ExitCode

pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(3600)]
VENV = "torch"


def test_the_example_trains_on_two_nodes(tmp_path: Path, python: str) -> None:
    example = Example("accelerate", tmp_path, python)
    first, second = example.run()
    assert (first.exit_code, second.exit_code) == (0, 0), first.log
    assert (first.verdict.step, first.verdict.notes) == (200, [])
    assert first.verdict.progress is not None
    assert first.verdict.progress.percent == 100
    assert first.verdict.metrics["accuracy"] > 0.9
    assert load_file(example.output / "model.safetensors").keys()


def test_it_is_suspended_killed_and_goes_on(tmp_path: Path, python: str) -> None:
    lives = live_thrice(
        lambda arguments: Example("accelerate", tmp_path, python, arguments),
        endless=["--steps=1000000", "--save-steps=300"],
        ending=lambda step: [f"--steps={step + 20}"],
        begins=r"begins at step (\d+)",
    )
    assert [done.exit_code for done in lives.suspended] == [ExitCode.STOPPED] * 2
    assert lives.kept[0] == lives.suspended[0].verdict.step
    assert lives.began == [0, *lives.kept]
    assert [done.exit_code for done in lives.finished] == [0, 0]
    assert lives.finished[0].verdict.step == lives.kept[1] + 20
