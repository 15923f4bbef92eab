"""Plain PyTorch under torchrun, with a checkpoint of its own, and nothing of Footplate's."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from example_gangs import Example
from example_lives import live_thrice
from footplate.contract import ExitCode
from laptop import EXAMPLES

pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(3600)]
VENV = "torch"


def saved_step(snapshot: Mapping[str, Path]) -> int:
    file = snapshot.get("checkpoint.pt")
    return 0 if file is None else torch.load(file)["step"]


def test_it_imports_nothing_of_ours() -> None:
    assert "import footplate" not in (EXAMPLES / "gpt/train.py").read_text()


def test_the_example_trains_on_two_nodes(tmp_path: Path, python: str) -> None:
    example = Example("gpt", tmp_path, python)
    first, second = example.run()
    assert (first.exit_code, second.exit_code) == (0, 0), first.log
    assert (first.verdict.step, first.verdict.notes) == (300, [])
    assert first.verdict.progress is not None
    assert first.verdict.progress.percent == 100
    assert first.verdict.metrics["loss"] < 1.5
    assert load_file(example.output / "gpt.safetensors").keys()


def test_it_is_suspended_killed_and_goes_on(tmp_path: Path, python: str) -> None:
    lives = live_thrice(
        lambda arguments: Example("gpt", tmp_path, python, arguments),
        endless=["--steps=1000000", "--save-steps=200"],
        ending=lambda step: [f"--steps={step + 20}"],
        begins=r"begins at step (\d+)",
        kept=saved_step,
    )
    assert [done.exit_code for done in lives.suspended] == [ExitCode.STOPPED] * 2
    assert lives.began == [0, *lives.kept]
    assert [done.exit_code for done in lives.finished] == [0, 0]
    assert lives.finished[0].verdict.step == lives.kept[1] + 20
