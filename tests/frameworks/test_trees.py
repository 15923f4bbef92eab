"""What learns from tables on one node, in images without torch: examples/xgboost and examples/scikit-learn."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from example_gangs import PATIENCE_SECONDS, Example
from footplate.contract import ExitCode, Verdict

VENV = "trees"
pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(900)]


def example_of(name: str, root: Path, python: str, wine: Path) -> Example:
    example = Example(name, root, python)
    example.spec["inputs"] = [{"name": split, "uri": f"file://{wine / split}/"} for split in ("train", "test")]
    return example


def run(example: Example, attempt: int = 0) -> Verdict:
    """How its only pod ends."""
    with example.attempt(attempt) as (pod,):
        done = pod.finish(seconds=PATIENCE_SECONDS)
    assert done.exit_code == ExitCode.OK, done.log
    return done.verdict


def said(example: Example) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((example.output / "wine.json").read_text())
    return result


def rounds(path: Path, python: str) -> int:
    code = "import sys, xgboost; print(xgboost.Booster(model_file=sys.argv[1]).num_boosted_rounds())"
    done = subprocess.run([python, "-c", code, path], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_xgboost(tmp_path: Path, python: str, wine: Path) -> None:
    example = example_of("xgboost", tmp_path, python, wine)
    verdict = run(example)
    assert said(example)["testAccuracy"] > 0.9
    assert rounds(example.output / "wine.ubj", python) == 60, "hyperparameters came as arguments"
    assert verdict.progress is not None
    assert verdict.progress.step == 59
    assert 0 < verdict.metrics["loss"] < verdict.metrics["testLoss"] < 0.5


def test_xgboost_goes_on_after_a_suspension(tmp_path: Path, python: str, wine: Path) -> None:
    example = example_of("xgboost", tmp_path, python, wine)
    example.spec["trainer"]["hyperparameters"]["rounds"] = 100_000
    with example.attempt() as (pod,):
        pod.wait_for_log("[50]", seconds=PATIENCE_SECONDS)
        pod.process.terminate()
        assert pod.finish(seconds=PATIENCE_SECONDS).exit_code == ExitCode.STOPPED
    with example.attempt(1) as (pod,):
        pod.wait_for_log("begins after round", seconds=PATIENCE_SECONDS)
        log = pod.log_path.read_text()
    begun = int(log.partition("begins after round ")[2].split()[0])
    assert begun >= 50


def test_an_entrypoint_here_is_told_to_be_a_command(tmp_path: Path, python: str, wine: Path) -> None:
    example = example_of("scikit-learn", tmp_path, python, wine)
    del example.spec["trainer"]["command"]
    example.spec["trainer"]["entrypoint"] = "train.py"
    with example.attempt() as (pod,):
        done = pod.finish(seconds=PATIENCE_SECONDS)
    assert done.exit_code != ExitCode.OK
    assert done.verdict.error is not None
    assert "start code that needs no torch by trainer.command" in done.verdict.error.message


def test_scikit_learn(tmp_path: Path, python: str, wine: Path) -> None:
    example = example_of("scikit-learn", tmp_path, python, wine)
    run(example)
    assert said(example)["testAccuracy"] > 0.9
    code = "import sys, joblib; print(joblib.load(sys.argv[1]).predict([[13.0] * 13])[0])"
    used = subprocess.run(
        [python, "-c", code, example.output / "wine.joblib"], capture_output=True, text=True, check=True
    )
    assert used.stdout.strip() in {"class_0", "class_1", "class_2"}
