"""A model's card and plots: the card as Hugging Face's own parser reads it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from footplate.api.reports import GateStatus
from footplate_trainer import evaluate
from footplate_trainer.evaluation import plots
from footplate_trainer.evaluation.card import card_text
from footplate_trainer.evaluation.plots import draw, draw_curves
from footplate_trainer.evaluation_file import DataEvaluation, EvaluationFile

NASTY = ["a|b", "<script>$x$</script>", "中\x07文\n---", "`c` [d](e)"]


def classified(classes: list[str]) -> DataEvaluation:
    chance = np.random.default_rng(3)
    targets = chance.integers(0, len(classes), 60)
    scores = chance.random((60, len(classes))) + 0.7 * np.eye(len(classes))[targets]
    parts = {"country": ["DE", "FR"] * 30}
    return evaluate(scores / scores.sum(axis=1, keepdims=True), targets, classes=classes, slices=parts)


def card(**options: Any) -> str:
    defaults: dict[str, Any] = {"job": "wine", "recipe": "tabular-classification", "hyperparameters": {"epochs": 2}}
    inputs = {"train": "s3://datasets/wine/train/"}
    return card_text(**{**defaults, "inputs": inputs, "evaluation": None, **options})


def test_hugging_faces_parser_reads_the_card() -> None:
    found = classified(["a", "b", "c"])
    read = ModelCard(card(evaluation=EvaluationFile(data={"test": found}), plots=["plots/test-roc.png"]))
    read.data.to_dict()
    assert read.data.library_name == "footplate"
    assert read.data.pipeline_tag == "tabular-classification"
    assert read.data.tags == ["footplate", "tabular-classification"]
    assert read.data.model_name == "wine"
    assert read.data.eval_results is not None
    results = {result.metric_name: result for result in read.data.eval_results}
    assert results["accuracy"].metric_value == found.values["accuracy"]
    assert (results["f1Macro"].metric_type, results["f1Macro"].dataset_name) == ("f1", "test")
    assert "![plots/test-roc.png](plots/test-roc.png)" in read.text
    assert "| DE | 30 |" in read.text
    assert '"epochs": 2' in read.text


def test_a_card_says_how_the_gates_are_met() -> None:
    text = card(
        gates=[
            GateStatus(metric="testF1Macro", at_least=0.7, value=0.7606, passed=True),
            GateStatus(metric="testLogLoss", at_most=0.4, value=0.421, passed=False),
            GateStatus(metric="testF1.a|b", at_least=0.5, passed=False, why="no such class"),
        ]
    )
    assert "| testF1Macro | at least 0.7 | 0.7606 | yes |" in text
    assert "| testLogLoss | at most 0.4 | 0.421 | **no** |" in text
    assert r"| testF1.a\|b | at least 0.5 | no value | **no** |" in text
    assert "## Gates" not in card()


def test_a_card_without_an_evaluation_is_one_too() -> None:
    read = ModelCard(card())
    assert read.data.eval_results is None
    assert "load_model" in read.text
    assert "load_model" not in card(loads=False)


def test_nobodys_text_is_markup_in_it() -> None:
    found = EvaluationFile(data={"test": classified(NASTY)})
    text = card(evaluation=found, notes=["# no\nheading <b>"])
    read = ModelCard(text)
    assert read.data.model_name == "wine"
    assert text.count("\n---\n") == 1, "the end of the metadata"
    assert "<script>" not in read.text
    assert r"| a\|b |" in read.text
    assert r"- # no heading \<b\>" in read.text


def test_what_has_no_value_is_in_the_card_with_its_reason() -> None:
    found = evaluate(np.array([[0.9, 0.1], [0.4, 0.6]]), [0, 0], classes=["no", "yes"])
    text = card(evaluation=EvaluationFile(data={"test": found}))
    assert "- rocAuc has no value: class 'yes' does not occur among the targets" in text


def test_each_plot_is_a_picture_and_the_same_one_again(tmp_path: Path) -> None:
    found = classified(NASTY)
    drawn = draw("test", found, tmp_path / "plots")
    kinds = ("confusion", "roc", "precision-recall", "calibration")
    assert [path.name for path in drawn] == [f"test-{kind}.png" for kind in kinds]
    before = [path.read_bytes() for path in drawn]
    for path in drawn:
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("PNG", (640, 480))
            assert len(picture.getcolors(maxcolors=2**20) or ()) > 10, "something is drawn"
    assert [path.read_bytes() for path in draw("test", found, tmp_path / "plots")] == before


def test_regressions_have_their_residuals_and_nothing_else(tmp_path: Path) -> None:
    found = evaluate(np.linspace(0, 1, 900), np.linspace(0, 2, 900))
    assert [path.name for path in draw("test", found, tmp_path)] == ["test-residuals.png"]


def test_what_could_not_be_measured_has_no_plots(tmp_path: Path) -> None:
    assert draw("test", evaluate(np.zeros((0, 3)), np.zeros(0, int)), tmp_path) == []


def test_loss_and_metrics_have_a_plot_each(tmp_path: Path) -> None:
    history = {"loss": [2.0, 1.0], "accuracy": [0.1, 0.5], "val_loss": [3.0, 2.0]}
    assert [path.name for path in draw_curves([0, 1], history, tmp_path)] == ["curve-loss.png", "curve-accuracy.png"]


@pytest.mark.parametrize("classes", [2, 13, 31, 201], ids=str)
def test_any_number_of_classes_can_be_drawn(tmp_path: Path, classes: int) -> None:
    drawn = [path.name for path in draw("test", classified([str(number) for number in range(classes)]), tmp_path)]
    assert ("test-confusion.png" in drawn) is (classes <= 200)
    assert ("test-roc.png" in drawn) is (classes <= 20)


@pytest.mark.parametrize("epochs", [1, 2, 3, 100])
def test_epochs_are_whole_numbers_on_the_axis(epochs: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: drawn.append(figure) or path)
    draw_curves(range(epochs), {"loss": [0.5] * epochs}, tmp_path)
    drawn[0].draw_without_rendering()
    low, high = drawn[0].axes[0].get_xlim()
    ticks = [tick for tick in drawn[0].axes[0].get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == round(tick) for tick in ticks)
