"""Keras 3's fit, evaluate and predict, computed with torch."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from example_gangs import Example
from example_lives import live_thrice
from footplate.contract import ExitCode
from laptop import EXAMPLES

pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(3600)]
VENV = "torch"


def example(root: Path, python: str, *arguments: str) -> Example:
    made = root / "datasets/mnist"
    if not made.exists():
        subprocess.run([sys.executable, str(EXAMPLES / "keras/make_data.py"), str(made)], check=True)
    return Example("keras", root, python, arguments)


def next_epoch(snapshot: Mapping[str, Path]) -> int:
    """Number of the epoch to go on with, from 1."""
    metadata = snapshot.get("keras/main/training_metadata.json")
    return 0 if metadata is None else json.loads(metadata.read_text())["epoch"] + 1  # type: ignore[no-any-return]


def test_the_example_trains_evaluates_and_predicts(tmp_path: Path, python: str) -> None:
    job = example(tmp_path, python)
    (done,) = job.run()
    assert (done.exit_code, done.verdict.notes) == (0, []), done.log
    progress = done.verdict.progress
    assert progress is not None
    assert (progress.epoch, progress.percent) == (8, 100)
    assert done.verdict.metrics["val_accuracy"] > 0.9
    assert "the first ten are read as" in done.log
    assert (job.output / "digits.keras").is_file()


def test_it_is_suspended_killed_and_goes_on(tmp_path: Path, python: str) -> None:
    lives = live_thrice(
        lambda arguments: example(tmp_path, python, *arguments),
        endless=["--epochs=1000000"],
        ending=lambda epoch: [f"--epochs={epoch + 1}"],
        begins=r"Epoch (\d+)/",
        kept=next_epoch,
    )
    assert lives.suspended[0].exit_code == ExitCode.STOPPED
    assert lives.began == [1, *lives.kept]
    assert lives.finished[0].exit_code == 0
    before, after = (done[0].verdict.step for done in (lives.suspended, lives.finished))
    assert before is not None
    assert after is not None
    assert after > before + 21  # steps of one epoch: the optimizer's own count, which is in what was saved
