"""The recipe text-classification on several ranks, killed and not, with a pretrained model and without."""

import csv
import math
import signal
from pathlib import Path
from typing import Any

import pytest

from footplate.contract import ExitCode
from footplate_trainer import exchange, load_model
from footplate_trainer.data.inputs import TextInput
from footplate_trainer.evaluation_file import read_evaluation
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.export import export_model
from footplate_trainer.models.pretrained import check_folder, read_network, read_tokens
from footplate_trainer.models.texts import NAME, TextClassifier
from rank_processes import Gang, Job
from text_cases import make_model, make_sentences, write_csv

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3000)]


def make_job(
    root: Path,
    inputs: dict[str, Path],
    *,
    recipe: str = "text-classification",
    ranks: int = 2,
    checkpoints: bool = False,
    **values: Any,
) -> Job:
    settings = {
        "recipe": recipe,
        "inputs": {name: str(folder) for name, folder in inputs.items()},
        "of_recipe": values if recipe == "evaluate" else {"maxLength": 24, **values},
    }
    return Job(root, "recipe.py", ranks, settings, checkpoint={"every": {"steps": 6}} if checkpoints else None)


def run(job: Job, attempt: int = 0) -> exchange.RankReport:
    with job.start(attempt) as gang:
        wait(gang)
        assert gang.wait() == [ExitCode.OK] * job.world_size, gang.logs()
        report = exchange.read_report(gang.run_dirs[0])
    assert report is not None
    return report


SMALL = {"hidden": 32, "layers": 1, "vocabularySize": 400, "batchSize": 8, "epochs": 4, "learningRate": 3e-3}


def wait(gang: Gang, *, until: float = math.inf) -> None:
    """Until a step or the end; transformers takes long to import where much else goes on."""
    gang.wait_until(lambda: max(gang.steps()) >= until or gang.ended(), seconds=600)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "data", make_sentences(400))


def test_sentences_are_learnt_without_a_model(tmp_path: Path, data: Path) -> None:
    job = make_job(tmp_path, {"train": data}, classWeight="balanced", **SMALL)
    metrics = run(job).progress.metrics
    assert metrics["testAccuracy"] >= 0.95
    assert {"loss", "accuracy", "valLoss", "valAccuracy", "testLoss"} <= metrics.keys()
    model = load_model(job.output)
    assert model.predict(["a lovely garden, a happy song", "a awful day, a sad film"]) == ["good", "bad"]

    test = write_csv(tmp_path / "test", [*make_sentences(99, seed=1), ("", "bad")])
    judge = make_job(tmp_path / "judge", {"test": test, "model": job.output}, recipe="evaluate", batchSize=16)
    judged = run(judge).progress.metrics
    evaluation = read_evaluation(judge.output)
    assert evaluation is not None
    found = evaluation.data["test"]
    assert (found.samples, found.classes) == (99, ["bad", "good"])
    right = [
        label == said
        for (_, label), said in zip(rows_of(test), model.predict([text for text, _ in rows_of(test)]), strict=True)
    ]
    assert judged["testAccuracy"] == found.values["accuracy"] == pytest.approx(sum(right) / 99)
    assert "1 of 100 rows are left out, without a text" in (judge.output / "README.md").read_text()
    assert not (judge.output / "model.safetensors").exists()


def rows_of(folder: Path) -> list[tuple[str, str]]:
    with (folder / "rows.csv").open() as file:
        return [(text, label) for text, label in list(csv.reader(file))[1:] if text]


def test_an_evaluation_names_what_is_wrong(tmp_path: Path) -> None:
    """A class that the model doesn't know."""
    folder = make_model(tmp_path / "model")
    tokens = read_tokens(folder, check_folder(folder), 16)
    model = TextClassifier(read_network(folder, ("bad", "good"))[0], tokens)
    takes = TextInput(max_length=16)
    card = ModelCard(recipe="r", network=NAME, arguments={}, classes=("bad", "good"), input=takes)
    export_model(model, tokens.batch(["a"]), card=card, formats=["safetensors"], folder=tmp_path / "made")
    test = write_csv(tmp_path / "test", [*make_sentences(10), ("a day", "odd")])
    job = make_job(tmp_path, {"test": test, "model": tmp_path / "made"}, recipe="evaluate", ranks=1)
    with job.start(0) as gang:
        wait(gang)
        assert gang.wait() == [ExitCode.DATA_ERROR], gang.logs()
        assert "input test has classes that the training data lacks: odd" in gang.logs()


@pytest.mark.slow
@pytest.mark.parametrize("values", [{}, {"fineTuning": "lora", "loraRank": 4}], ids=["full", "lora"])
@pytest.mark.parametrize("ranks", [1, 3])
def test_kills_change_nothing(tmp_path: Path, ranks: int, values: dict[str, Any]) -> None:
    """Batches of like lengths, dropout, a warm-up: the model is the same, bit for bit."""
    inputs = {"train": write_csv(tmp_path / "data", make_sentences(100)), "model": make_model(tmp_path / "model")}
    values = {"batchSize": 8, "epochs": 5, "learningRate": 1e-3, **values}
    whole = make_job(tmp_path / "whole", inputs, ranks=ranks, **values)
    run(whole)
    killed = make_job(tmp_path / "killed", inputs, ranks=ranks, checkpoints=True, **values)
    for attempt, step in enumerate((12, 31)):
        with killed.start(attempt) as gang:
            wait(gang, until=step)
            gang.ranks[-1].send_signal(signal.SIGKILL)
            codes = gang.wait()
        assert -signal.SIGKILL in codes
    run(killed, attempt=2)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "model.json"):
        assert (killed.output / name).read_bytes() == (whole.output / name).read_bytes(), name


@pytest.mark.slow
def test_a_wrong_model_is_told_with_its_way_out(tmp_path: Path, data: Path) -> None:
    folder = make_model(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    job = make_job(tmp_path, {"train": data, "model": folder})
    with job.start(0) as gang:
        wait(gang)
        assert gang.wait() == [ExitCode.DATA_ERROR] * 2, gang.logs()
        assert "only pytorch_model.bin" in gang.logs()
