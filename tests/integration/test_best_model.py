"""Recipes that stop early and keep the best of their models: which one it is, and that kills change nothing of it."""

import hashlib
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from footplate.contract import ExitCode
from footplate_trainer import exchange
from rank_processes import Gang, Job

pytestmark = pytest.mark.integration

ROWS, BATCH = 167, 32
PATIENCE = 3
OF_RECIPE = {
    "target": "y", "epochs": 40, "batchSize": BATCH, "learningRate": 0.03, "hidden": 32, "validationFraction": 0.2,
    "testFraction": 0.1, "accumulationSteps": 2, "earlyStopping": {"patience": PATIENCE},
}  # fmt: skip


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of which a network soon learns more than there is to learn."""
    chance, folder = random.Random(3), tmp_path_factory.mktemp("noise")
    rows = [[chance.gauss(0, 1) for _ in range(6)] for _ in range(ROWS)]
    lines = [",".join(f"{value:.4f}" for value in row) + f",{'ab'[row[0] + chance.gauss(0, 1) > 0]}" for row in rows]
    (folder / "rows.csv").write_text("\n".join(["a,b,c,d,e,f,y", *lines]) + "\n")
    return folder


def job_of(root: Path, data: Path, *, ranks: int = 2, seconds: float = 0.0, **of_recipe: Any) -> Job:
    settings = {
        "recipe": "tabular-classification",
        "inputs": {"train": str(data)},
        "of_recipe": OF_RECIPE | of_recipe,
        "stepSeconds": seconds,
    }
    return Job(root, "recipe.py", ranks, settings, checkpoint={"every": {"steps": 3}, "keep": 2})


def result_of(job: Job, gang: Gang) -> tuple[exchange.RankReport, str]:
    """What rank 0 has told at the end, and the digest of the model."""
    assert gang.wait() == [ExitCode.OK] * job.world_size, gang.logs()
    report = exchange.read_report(gang.run_dirs[0])
    assert report is not None
    return report, hashlib.sha256((job.output / "model.safetensors").read_bytes()).hexdigest()


def finish(job: Job, attempt: int = 0) -> tuple[exchange.RankReport, str]:
    with job.start(attempt) as gang:
        return result_of(job, gang)


def kill_at(job: Job, attempt: int, step: int) -> None:
    with job.start(attempt) as gang:
        assert gang.wait_for_step(step), gang.logs()
        gang.send(signal.SIGKILL)
        gang.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="plain"),
        pytest.param(
            {"emaMomentum": 0.8, "clipNorm": 1.0, "reduceOnPlateau": {"patience": 1, "factor": 0.5}, "dropout": 0.3},
            id="average, clipping, plateau, chance",
        ),
        pytest.param({"strategy": "fsdp", "emaMomentum": 0.8}, id="sharded"),
    ],
)
def test_a_killed_training_stops_at_the_same_epoch_with_the_same_model(
    noise: Path, tmp_path: Path, more: Mapping[str, Any]
) -> None:
    """Killed when half of the patience is used, and once more after the last step, before or while it ends."""
    undisturbed, expected = finish(job_of(tmp_path / "undisturbed", noise, **more))
    assert undisturbed.ended == "earlyStopping"
    assert undisturbed.model is not None
    best, last = undisturbed.model, undisturbed.progress
    assert last.epoch == best.epoch + PATIENCE
    assert last.step is not None
    of_epoch = best.step // best.epoch
    assert last.step == last.epoch * of_epoch

    job = job_of(tmp_path / "killed", noise, seconds=0.02, **more)
    kill_at(job, 0, (best.epoch + 1) * of_epoch + 1)
    kill_at(job, 1, last.step)
    report, model = finish(job, 2)
    assert report.resumed_from_step
    assert report.model is not None
    said = report.model.model_copy(update={"told_at": best.told_at})
    assert (report.ended, said, model) == ("earlyStopping", best, expected)
    assert report.progress.metrics == last.metrics


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [("ddp", "fsdp"), ("fsdp", "ddp")])
def test_the_best_weights_go_on_when_the_model_is_sharded_or_no_longer(
    noise: Path, tmp_path: Path, first: str, then: str
) -> None:
    """Killed after the best epoch, so that its weights come from the checkpoint. Rounding aside."""
    settings: dict[str, Any] = {"accumulationSteps": 1}
    undisturbed, _ = finish(job_of(tmp_path / "undisturbed", noise, **settings))
    assert undisturbed.model is not None
    assert undisturbed.progress.step is not None
    of_epoch = undisturbed.model.step // undisturbed.model.epoch
    root = tmp_path / "job"
    kill_at(job_of(root, noise, seconds=0.02, strategy=first, **settings), 0, undisturbed.progress.step - of_epoch + 1)
    report, _ = finish(job_of(root, noise, strategy=then, **settings), 1)
    assert report.resumed_from_step
    assert report.model is not None
    assert (report.ended, report.model.epoch) == ("earlyStopping", undisturbed.model.epoch)
    assert report.model.metrics == pytest.approx(undisturbed.model.metrics, rel=1e-4)
    weights, expected = (
        load_file(folder / "output" / "model.safetensors") for folder in (root, tmp_path / "undisturbed")
    )
    torch.testing.assert_close(weights, expected, rtol=1e-3, atol=1e-4)


def test_the_model_is_the_best_one_and_not_the_last(noise: Path, tmp_path: Path) -> None:
    """The same training without the restoring ends with other weights; trained no further than to the best epoch, and
    at the same learning rate, with the same.
    """
    constant = {"reduceOnPlateau": {"patience": 1, "factor": 0.999, "minDelta": 1.0, "cooldown": 10_000}}
    best, model = finish(job_of(tmp_path / "best", noise, ranks=1, **constant))
    assert best.model is not None
    kept = OF_RECIPE["earlyStopping"] | {"restoreBest": False}
    last, other = finish(job_of(tmp_path / "last", noise, ranks=1, **constant, earlyStopping=kept))
    assert (last.ended, last.model) == ("earlyStopping", None)
    assert other != model
    shorter = constant | {"earlyStopping": None, "epochs": best.model.epoch}
    short, same = finish(job_of(tmp_path / "short", noise, ranks=1, **shorter))
    assert (short.ended, short.model) == ("epochs", None)
    assert same == model
    assert {name: short.progress.metrics[name] for name in best.model.metrics} == best.model.metrics
    assert short.progress.metrics["testLoss"] == best.progress.metrics["testLoss"] != last.progress.metrics["testLoss"]


def test_what_is_watched_must_be_there(noise: Path, tmp_path: Path) -> None:
    job = job_of(tmp_path, noise, ranks=1, validationFraction=0.0)
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.CONFIG_ERROR], gang.logs()
    error = exchange.read_error(gang.run_dirs[0], 0)
    assert error is not None
    assert "hyperparameters.earlyStopping: it watches a value of the validation data, and there are none; add an" in (
        error.failure.message
    )
    assert not [*tmp_path.rglob("step-*")]
