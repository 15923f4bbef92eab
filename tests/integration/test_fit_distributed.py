"""`Trainer.fit` and the recipes on several ranks: the same mathematics on any number, and nothing lost when killed."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from footplate.contract import ExitCode
from footplate_trainer import exchange, load_model
from rank_processes import Job

pytestmark = pytest.mark.integration

Result = dict[str, Any]
CHANCE = {"epochs": 5, "accumulate": 2, "dropout": 0.3, "noise": 0.1, "batchNorm": True, "stepSeconds": 0.0}
NO_CHANCE = CHANCE | {"dropout": 0.0, "noise": 0.0, "batchNorm": False}
STEPS = 25
"""101 samples in batches of 24: the last two batches of each epoch have 15 and 14, so shares are uneven."""
CHECKPOINT = {"every": {"steps": 3}, "keep": 2}
EXAMPLES = Path(__file__).parents[2] / "examples"


def finish(job: Job, attempt: int = 0) -> list[Result]:
    """Runs an attempt to its end; what each rank left behind."""
    with job.start(attempt) as gang:
        assert gang.wait() == [ExitCode.OK] * job.world_size, gang.logs()
    return [json.loads((job.output / f"result-{rank}.json").read_text()) for rank in range(job.world_size)]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_number_of_ranks_changes_nothing_but_rounding(tmp_path: Path, accumulate: int) -> None:
    settings = NO_CHANCE | {"accumulate": accumulate}
    (alone,) = finish(Job(tmp_path / "1", "fit.py", 1, NO_CHANCE | {"accumulate": 1}))
    first, *others = finish(Job(tmp_path / "3", "fit.py", 3, settings))
    np.testing.assert_allclose(first["weights"], alone["weights"], rtol=1e-9)
    assert first["history"].keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}
    for name, values in first["history"].items():
        np.testing.assert_allclose(values, alone["history"][name], rtol=1e-7, err_msg=name)
    assert all(other["history"] == first["history"] for other in others)


@pytest.mark.parametrize(
    ("ranks", "strategy", "batch"),
    [
        pytest.param(3, "ddp", 4, id="fewer rows than ranks in the last batch"),
        pytest.param(2, "ddp", 1, id="rank 0 has no rows"),
        pytest.param(2, "fsdp", 4, id="sharded"),
    ],
)
def test_predictions_are_whole_and_in_order_on_every_rank(
    tmp_path: Path, ranks: int, strategy: str, batch: int
) -> None:
    for result in finish(Job(tmp_path, "predict.py", ranks, {"strategy": strategy, "batchSize": batch})):
        assert result == {"inputs": list(range(13)), "same": True, "rows": 13}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return finish(Job(tmp_path_factory.mktemp("reference"), "fit.py", 2, CHANCE))[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_fit_ends_as_one_that_was_not(
    uninterrupted: Result, tmp_path: Path, number: signal.Signals
) -> None:
    """Weights, and each epoch's loss and accuracy, training's own included: no step is counted twice."""
    job = Job(tmp_path, "fit.py", 2, CHANCE | {"stepSeconds": 0.02}, checkpoint=CHECKPOINT)
    chance, attempts, step = random.Random(int(number)), 3, 0
    for attempt in range(attempts):
        step = min(step + chance.randint(3, 8), STEPS - 3)
        with job.start(attempt) as gang:
            assert gang.wait_for_step(step), gang.logs()
            gang.send(number)
            codes = set(gang.wait())
            assert codes == {ExitCode.STOPPED if number is signal.SIGTERM else -signal.SIGKILL}, gang.logs()
            step = max(gang.steps())
    result = finish(job, attempts)[0]
    assert result["sha256"] == uninterrupted["sha256"]
    assert result["history"] == uninterrupted["history"]
    assert result["epochs"] == list(range(5))


def test_a_loss_that_is_no_number_is_named_and_never_saved(tmp_path: Path) -> None:
    """The weights are spoilt after step 3, when a checkpoint is due."""
    job = Job(tmp_path, "fit.py", 2, CHANCE | {"nanAfter": 2}, checkpoint=CHECKPOINT)
    with job.start(0) as gang:
        codes = gang.wait()
        assert ExitCode.USER_ERROR in codes, gang.logs()
        assert set(codes) <= {ExitCode.USER_ERROR, ExitCode.PEER_LOST}, gang.logs()
        error = exchange.read_error(gang.run_dirs[codes.index(ExitCode.USER_ERROR)], codes.index(ExitCode.USER_ERROR))
    assert error is not None
    assert "the weights are no longer finite numbers after step 3" in error.failure.message
    assert "learning rate" in error.failure.message
    assert not list((tmp_path / "checkpoints").rglob("manifest.json"))


def run_recipe(root: Path, recipe: str, inputs: dict[str, Path], **of_recipe: Any) -> exchange.RankReport:
    settings = {
        "recipe": recipe,
        "inputs": {name: str(folder) for name, folder in inputs.items()},
        "of_recipe": of_recipe,
    }
    job = Job(root, "recipe.py", 2, settings)
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.OK] * 2, gang.logs()
        report = exchange.read_report(gang.run_dirs[0])
    assert report is not None
    return report


def make_data(example: str, folder: Path) -> None:
    subprocess.run([sys.executable, EXAMPLES / example / "make_data.py", folder], check=True)


def test_the_digits_are_learnt(tmp_path: Path) -> None:
    make_data("digits", tmp_path / "data")
    report = run_recipe(
        tmp_path, "image-classification", {"train": tmp_path / "data"},
        epochs=30, batchSize=64, learningRate=0.003,
    )  # fmt: skip
    metrics = report.progress.metrics
    assert metrics["testAccuracy"] >= 0.95
    assert {"loss", "accuracy", "valLoss", "valAccuracy", "testLoss"} <= metrics.keys()
    assert report.progress.percent == 100
    model = load_model(tmp_path / "output")
    assert set(model.predict(np.zeros((2, 8, 8), np.uint8))) <= set("0123456789")


def test_wines_are_told_apart(tmp_path: Path) -> None:
    make_data("tabular", tmp_path / "data")
    inputs = {name: tmp_path / "data" / name for name in ("train", "test")}
    report = run_recipe(
        tmp_path, "tabular-classification", inputs,
        target="grower", epochs=60, batchSize=32, learningRate=0.01,
    )  # fmt: skip
    assert report.progress.metrics["testAccuracy"] >= 0.9


def test_the_progression_of_diabetes_is_foreseen_as_scikit_learn_does(tmp_path: Path) -> None:
    """On two ranks with uneven shares: what is told is what scikit-learn says of the very predictions, and they are no
    worse than those of its linear model and of its network with early stopping.
    """
    make_data("tabular-regression", tmp_path / "data")
    asked = yaml.safe_load((EXAMPLES / "tabular-regression/job.yaml").read_text())["spec"]["trainer"]["hyperparameters"]
    inputs = {name: tmp_path / "data" / name for name in ("train", "test")}
    report = run_recipe(tmp_path, "tabular-regression", inputs, **asked)
    tables = [np.loadtxt(folder / "patients.csv", delimiter=",", skiprows=1) for folder in inputs.values()]
    (features, targets), (unseen, expected) = ((table[:, :-1], table[:, -1]) for table in tables)
    names = (inputs["test"] / "patients.csv").read_text().splitlines()[0].replace('"', "").split(",")
    model = load_model(tmp_path / "output")
    found = model.predict([dict(zip(names[:-1], row, strict=True)) for row in unseen.tolist()])
    told = report.progress.metrics
    assert told["testMae"] == pytest.approx(mean_absolute_error(expected, found), rel=1e-5)
    assert told["testRmse"] == pytest.approx(root_mean_squared_error(expected, found), rel=1e-5)
    assert told["testR2"] == pytest.approx(r2_score(expected, found), rel=1e-5)
    assert model.card.metrics["testR2"] == told["testR2"]
    network = MLPRegressor(
        hidden_layer_sizes=(32,), early_stopping=True, max_iter=2000, learning_rate_init=0.003, random_state=0
    )
    for other in (LinearRegression(), make_pipeline(StandardScaler(), network)):
        assert told["testR2"] > r2_score(expected, other.fit(features, targets).predict(unseen)) - 0.05


def test_pictures_are_learnt_with_augmentation(tmp_path: Path) -> None:
    """Bright against dark pictures, which any classifier tells apart."""
    chance = np.random.default_rng(0)
    for name, level in (("bright", 180), ("dark", 40)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(chance.normal(level, 20, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    report = run_recipe(
        tmp_path, "image-classification", {"train": tmp_path / "data"},
        epochs=8, batchSize=8, imageSize=16, augmentation="shift-and-flip", accumulationSteps=2,
    )  # fmt: skip
    assert report.progress.metrics["testAccuracy"] == 1
    model = load_model(tmp_path / "output")
    assert model.predict(tmp_path / "data" / "dark" / "3.png") == ["dark"]
