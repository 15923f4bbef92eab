"""What the recipes find out of an evaluation before they train."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sklearn.metrics import root_mean_squared_error

from footplate.api.recipes import EvaluateHyperparameters, ImageHyperparameters
from footplate.contract import JobConfig
from footplate_trainer import load_model
from footplate_trainer.data.images import read_images, read_splits
from footplate_trainer.data.inputs import Column, ImageInput, TableInput
from footplate_trainer.data.table_quantity import quantities_of_test
from footplate_trainer.data.table_target import classes_of_model
from footplate_trainer.data.tables import Rows, read_rows
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.export import export_model
from footplate_trainer.models.networks import TableRegressor
from footplate_trainer.rank.environment import Context
from footplate_trainer.recipes import evaluate
from footplate_trainer.recipes.evaluating import OTHER, check_gates, evaluate_test, table_slices
from footplate_trainer.recipes.image_models import Fresh
from footplate_trainer.training import trainer

AB = classes_of_model(("a", "b"))
COLUMNS = (
    Column(name="age", origin=40.0),
    Column(name="day", part="month"),
    Column(name="country", categories=("DE", "FR")),
)
ROWS = Rows(torch.tensor([[-1.0, 3.0, 1.0], [2.5, 3.0, 2.0], [float("nan"), 3.0, 0.0]]), torch.tensor([0, 1, 0]))


def context(**evaluation: Any) -> Context:
    spec = {"trainer": {"image": "i", "recipe": "tabular-classification"}, "evaluation": evaluation}
    config = JobConfig.model_validate({"metadata": {"name": "job"}, "run": 1, "spec": spec})
    return Context(device=torch.device("cpu"), config=config)


def card(classes: list[str]) -> ModelCard:
    takes = TableInput(columns=COLUMNS)
    return ModelCard(recipe="r", network="n", arguments={}, classes=tuple(classes), input=takes)


def gate(metric: str) -> list[dict[str, Any]]:
    return [{"metric": metric, "atLeast": 0.5}]


@pytest.mark.parametrize(
    ("evaluation", "has_test", "words"),
    [
        ({"gates": gate("testF1.neutrl")}, True, "did you mean testF1.neutral?"),
        ({"gates": gate("zzz")}, True, "it may be testAccuracy, "),
        ({"gates": gate("testF1Macro"), "metrics": ["accuracy"]}, True, "the evaluation has no such metric"),
        ({"gates": gate("testAccuracy")}, False, "there are no test data to measure it on; bring a channel named test"),
    ],
)
def test_a_gate_that_nothing_could_pass_is_told_before_training(
    evaluation: dict[str, Any], has_test: bool, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_gates(context(**evaluation), card(["neutral", "b"]), has_test=has_test)
    assert str(caught.value).startswith("spec.evaluation.gates[0].metric = ")
    assert words in str(caught.value)


@pytest.mark.parametrize("metric", ["testF1.neutral", "testAccuracy", "valLoss"])
def test_gates_on_what_is_measured_are_fine(metric: str) -> None:
    check_gates(context(gates=gate(metric)), card(["neutral", "b"]), has_test=True)


def test_gates_on_what_is_reported_need_no_test_data() -> None:
    check_gates(context(gates=gate("valAccuracy")), card(["a", "b"]), has_test=False)


def test_slices_have_the_values_that_the_data_have() -> None:
    found = table_slices(context(slices=["country", "age"]), COLUMNS, ROWS)
    assert {name: values.tolist() for name, values in found.items()} == {
        "country": ["DE", "FR", OTHER],
        "age": ["39", "42.5", OTHER],
    }
    assert table_slices(context(slices=["country"]), COLUMNS, None) == {}


@pytest.mark.parametrize(
    "values",
    [
        ["1234567", "1234568", "1000000", "0.1", "-2.5", "1e+20", "0"],
        ["20231001", "20231114", "20231231", "20231114.25"],
    ],
    ids=["from 0", "from their mean"],
)
def test_numbers_that_the_model_tells_apart_are_slices_of_their_own(values: list[str]) -> None:
    origin = sum(map(float, values)) / len(values) if min(map(float, values)) > 1000 else 0.0
    seen = torch.tensor([float(value) - origin for value in values], dtype=torch.float64).float()
    found = table_slices(
        context(slices=["code"]),
        [Column(name="code", origin=origin)],
        Rows(seen[:, None], torch.zeros(len(values), dtype=torch.int64)),
    )
    assert found["code"].tolist() == values


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        (["contry"], 'slices[0] = "contry": the model sees no such column; did you mean country?'),
        (["day"], "the model sees no such column"),
    ],
)
def test_columns_that_are_not_there_are_told(slices: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        table_slices(context(slices=slices), COLUMNS, ROWS)
    assert words in str(caught.value)


def test_too_many_values_are_told_before_training() -> None:
    many = Rows(torch.arange(303.0).reshape(101, 3), torch.zeros(101, dtype=torch.int64))
    with pytest.raises(ConfigError, match="101 different values in the test data, the most is 100"):
        table_slices(context(slices=["age"]), COLUMNS, many)


def test_the_recipe_evaluate_names_its_channels(tmp_path: Path) -> None:
    place = Context(device=torch.device("cpu"), inputs={"train": tmp_path, "model": tmp_path})
    with pytest.raises(ConfigError, match=r"reads the channels model, .* and test, not model, train"):
        evaluate.train(place, EvaluateHyperparameters())


def test_what_is_evaluated_is_the_artifact_in_its_own_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also on an accelerator, where bf16 is what training computes in: of a quantity it leaves three digits."""
    torch.manual_seed(0)
    takes = TableInput(columns=(Column(name="x"),))
    arguments = {"numeric": 1, "categories": [], "target_mean": 1e6, "target_std": 1.0}
    made = ModelCard(recipe="r", network="table-regressor", arguments=arguments, classes=(), input=takes)
    export_model(TableRegressor(**arguments), torch.rand(4, 1), card=made, folder=tmp_path / "model")
    xs = [number / 7 for number in range(50)]
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "rows.csv").write_text("x,y\n" + "".join(f"{x},{1e6 + x}\n" for x in xs))
    predicted = load_model(tmp_path / "model").predict([{"x": x} for x in xs])
    found: dict[str, float] = {}
    monkeypatch.setattr(trainer, "has_bf16", lambda device: True)
    monkeypatch.setattr(evaluate, "evaluate_test", lambda *all, **named: found.update(evaluate_test(*all, **named)))
    place = Context(
        device=torch.device("cpu"),
        inputs={name: tmp_path / name for name in ("model", "test")},
        output_dir=tmp_path / "output",
    )
    place.output_dir.mkdir()
    evaluate.train(place, EvaluateHyperparameters(target="y"))
    assert found["testRmse"] == pytest.approx(root_mean_squared_error([1e6 + x for x in xs], predicted), rel=1e-6)


def test_rows_are_read_as_the_model_takes_them(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("country,extra,age,kind\nFR,1,41,b\nIT,2,,a\n")
    rows = read_rows(tmp_path, columns=(COLUMNS[0], COLUMNS[2]), target="kind", learn_target=AB)
    assert rows.labels.tolist() == [1, 0]
    assert rows.columns[0].tolist() == [1, 2]
    assert rows.columns[1].isnan().tolist() == [True, False]


def test_quantities_are_read_as_the_test_data_write_them(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('country,age,price\nFR,41,"$1,200.50"\nDE,,"$1,200.50"\n')
    columns = (COLUMNS[0], COLUMNS[2])
    rows = read_rows(tmp_path, columns=columns, target="price", learn_target=quantities_of_test)
    assert rows.labels.tolist() == [1200.5, 1200.5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("age,country,kinds\n1,DE,a\n", "no column 'kind'; did you mean kinds?"),
        ("age,country,kind\n1,DE,zebra\n", "zebra"),
        ("country,kind\nDE,a\n", "age"),
    ],
    ids=["no target", "a class that the model lacks", "no such column"],
)
def test_rows_that_the_model_cannot_take_are_told(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        read_rows(tmp_path, columns=(COLUMNS[0], COLUMNS[2]), target="kind", learn_target=AB)
    assert words in str(caught.value)


def pictures(folder: Path, *classes: str) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (12, 12), (200, 0, 0)).save(folder / name / "1.png")
    return folder


@pytest.mark.parametrize(
    ("classes", "labels", "notes"), [(["dog"], [1], 0), (["1", "0"], [0, 1], 1)], ids=["by name", "by number"]
)
def test_pictures_are_read_as_the_model_takes_them(
    tmp_path: Path, classes: list[str], labels: list[int], notes: int
) -> None:
    said: list[str] = []
    folder = pictures(tmp_path, *classes)
    found = read_images(folder, shape=(1, 8, 8), classes=("cat", "dog"), max_corrupt=0, note=said.append)
    assert found.labels.tolist() == labels
    assert tuple(found.pixels.shape) == (len(classes), 1, 8, 8), "grey, as the model's"
    assert len(said) == notes


def test_labels_of_renamed_classes_are_those_of_the_training_data(tmp_path: Path) -> None:
    """Which may begin with 1: as numbers of classes each would be the next one, where the test data lack the last."""
    splits = read_splits(
        {"train": pictures(tmp_path / "train", "1", "2", "4")},
        image_size=8,
        class_names=["ant", "bee", "cat"],
        validation_fraction=0,
        test_fraction=0,
        seed=0,
        note=print,
    )
    written = Fresh(ImageHyperparameters()).make(splits, ()).card.model_dump_json()
    made = ModelCard.model_validate_json(written)
    assert isinstance(made.input, ImageInput)
    said: list[str] = []
    found = read_images(
        pictures(tmp_path / "test", "1", "2"),
        shape=made.input.shape,
        classes=made.classes,
        labelled=made.input.labelled,
        max_corrupt=0,
        note=said.append,
    )
    assert [found.classes[label] for label in found.labels.tolist()] == ["ant", "bee"]
    assert said == [f"{tmp_path / 'test'}: its labels count as those of the training data"]


def test_a_card_says_nothing_of_classes_that_kept_their_names() -> None:
    """Earlier versions refuse what they don't know."""
    assert "labelled" not in ImageInput(shape=(1, 8, 8)).model_dump_json()


def test_a_picture_of_a_class_that_the_model_lacks_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has classes that the model lacks: bird"):
        read_images(pictures(tmp_path, "bird"), shape=(3, 8, 8), classes=("cat", "dog"), max_corrupt=0, note=print)
