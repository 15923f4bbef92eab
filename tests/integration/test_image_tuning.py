"""The recipe image-classification with a pretrained model on several ranks, killed and not, and what can be done with
what it leaves.
"""

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest

from footplate.contract import ExitCode
from footplate_trainer import exchange, load_model
from image_cases import make_model, write_pictures
from rank_processes import Gang, Job

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3000)]


def make_job(
    root: Path,
    inputs: dict[str, Path],
    *,
    recipe: str = "image-classification",
    ranks: int = 2,
    every: int = 0,
    **values: Any,
) -> Job:
    settings = {
        "recipe": recipe,
        "inputs": {name: str(folder) for name, folder in inputs.items()},
        "of_recipe": values,
    }
    return Job(root, "recipe.py", ranks, settings, checkpoint={"every": {"steps": every}} if every else None)


def run(job: Job, attempt: int = 0) -> exchange.RankReport:
    with job.start(attempt) as gang:
        wait(gang)
        assert gang.wait() == [ExitCode.OK] * job.world_size, gang.logs()
        report = exchange.read_report(gang.run_dirs[0])
    assert report is not None
    return report


def wait(gang: Gang, *, until: float = math.inf) -> None:
    """Until a step or the end; transformers takes long to import where much else goes on."""
    gang.wait_until(lambda: max(gang.steps()) >= until or gang.ended(), seconds=600)


TUNED = {"batchSize": 8, "epochs": 5, "learningRate": 1e-3, "numWorkers": 0}


@pytest.mark.slow
def test_a_pretrained_model_is_tuned_evaluated_and_tuned_again(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", count=40)
    job = make_job(tmp_path / "first", {"train": data, "model": make_model(tmp_path / "model", kind="resnet")}, **TUNED)
    metrics = run(job).progress.metrics
    assert metrics["testAccuracy"] >= 0.95
    assert {"loss", "accuracy", "valLoss", "valAccuracy", "testLoss"} <= metrics.keys()
    assert load_model(job.output).predict([data / "dark/3.png", data / "bright/5.png"]) == ["dark", "bright"]

    judge = make_job(tmp_path / "judge", {"test": data, "model": job.output}, recipe="evaluate", batchSize=16)
    assert run(judge).progress.metrics["testAccuracy"] >= 0.95
    found = json.loads((judge.output / "evaluation.json").read_text())["data"]["test"]
    assert (found["samples"], found["classes"]) == (80, ["bright", "dark"])

    again = make_job(tmp_path / "again", {"train": data, "model": job.output}, ranks=1, **{**TUNED, "epochs": 1})
    assert run(again).progress.metrics["accuracy"] >= 0.95, "it goes on where the first has ended"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "values"),
    [("vit", {}), ("vit", {"fineTuning": "lora", "loraRank": 4}), ("mobilenet_v2", {})],
    ids=["full", "lora", "batch norm"],
)
@pytest.mark.parametrize("ranks", [1, 2])
def test_kills_change_nothing(tmp_path: Path, ranks: int, kind: str, values: dict[str, Any]) -> None:
    """With random shifts, dropout, a warm-up: the model is the same, bit for bit."""
    inputs = {"train": write_pictures(tmp_path / "data"), "model": make_model(tmp_path / "model", kind=kind)}
    values = {**TUNED, "batchSize": 4, "augmentation": "shift-and-flip", **values}
    whole = make_job(tmp_path / "whole", inputs, ranks=ranks, **values)
    run(whole)
    killed = make_job(tmp_path / "killed", inputs, ranks=ranks, every=5, **values)
    for attempt, step in enumerate((8, 22)):
        with killed.start(attempt) as gang:
            wait(gang, until=step)
            gang.ranks[-1].send_signal(signal.SIGKILL)
            codes = gang.wait()
        assert -signal.SIGKILL in codes
    run(killed, attempt=2)
    for name in ("model.safetensors", "config.json", "preprocessor_config.json", "model.json"):
        assert (killed.output / name).read_bytes() == (whole.output / name).read_bytes(), name


@pytest.mark.slow
def test_a_wrong_model_is_told_with_its_way_out(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    job = make_job(tmp_path, {"train": write_pictures(tmp_path / "data"), "model": folder})
    with job.start(0) as gang:
        wait(gang)
        assert gang.wait() == [ExitCode.DATA_ERROR] * 2, gang.logs()
        assert "has no preprocessor_config.json" in gang.logs()
