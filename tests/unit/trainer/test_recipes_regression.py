"""Quantities as targets: each is read right, or refused with row, value and way out; and what is told of a model."""

import datetime
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from footplate_trainer import load_model
from footplate_trainer.data.inputs import Column, TableInput
from footplate_trainer.data.table_quantity import learn_quantity
from footplate_trainer.data.tables import TableSplits, read_splits
from footplate_trainer.errors import DataError
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.export import FORMATS, export_model
from footplate_trainer.models.networks import TableRegressor
from footplate_trainer.recipes.tabular_regression import mae, scores

DAY = datetime.date(2026, 1, 1)


def csv(folder: Path, cells: list[str], name: str = "rows.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("x,y\n" + "".join(f"{place},{cell}\n" for place, cell in enumerate(cells)))
    return folder


def read(*, fraction: float = 0, **inputs: Path) -> TableSplits:
    return read_splits(
        inputs,
        target="y",
        learn_target=learn_quantity,
        ignore=(),
        validation_fraction=fraction,
        test_fraction=fraction,
        seed=0,
    )


def quantities(cells: list[str], folder: Path) -> list[float]:
    return [float(value) for value in read(train=csv(folder, cells)).train.labels]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        pytest.param(["1", "2.5", "-3e2"], [1, 2.5, -300], id="numbers"),
        pytest.param(["$1.50", "$3", "$-2"], [1.5, 3, -2], id="currency"),
        pytest.param(['"1,234.5"', "2.5", "3"], [1234.5, 2.5, 3], id="groups"),
        pytest.param(['"3,5"', '"1.234,5"', "2"], [3.5, 1234.5, 2], id="decimal comma"),
        pytest.param(["1000000000.25", "1000000000.5", "999999999"], [1e9 + 0.25, 1e9 + 0.5, 1e9 - 1], id="far from 0"),
    ],
)
def test_quantities_are_read_as_people_write_them(cells: list[str], expected: list[float], tmp_path: Path) -> None:
    assert quantities(cells, tmp_path) == expected


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        pytest.param(["1", "n/a", "", "4"], r"is empty in 2 of 4 rows, first in row 2 of .*rows.csv", id="missing"),
        pytest.param(["1", "2", "nan"], r"is empty in 1 of 3 rows, first in row 3", id="not a number"),
        pytest.param(
            ["1", "2", "tall", "4", "small"],
            r"holds no number, .*, in 2 of 5 rows, first 'tall' in row 3 of .*; correct .*classes, .*tabular-classif",
            id="texts",
        ),
        pytest.param(["1", "inf", "3"], r"in 1 of 3 rows, first 'inf' in row 2", id="infinite"),
        pytest.param(["1", "1e39", "3"], r"or one beyond .3e\+38, in 1 of 3 rows, first '1e\+39' in row 2", id="huge"),
        pytest.param(["5", "5.0", "5"], r"'y' is 5 in all 3 rows, so there is nothing to learn; name", id="constant"),
        pytest.param(["$5", "€6"], "writes its numbers in several ways, such as .*: their signs", id="two currencies"),
        pytest.param(["red", "blue"], "in 2 of 2 rows, first 'red' in row 1", id="no number at all"),
    ],
)  # fmt: skip
def test_what_is_no_quantity_is_refused(cells: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(train=csv(tmp_path, cells))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param([True, False], "of type bool; .* True and False are classes: the recipe tabular-", id="bool"),
        pytest.param([DAY, DAY.replace(day=2)], "Of dates, give the number that is meant", id="dates"),
        pytest.param([[1.0], [2.0]], "Several quantities a row aren't learnt", id="lists"),
        pytest.param([None, None], "is empty in 2 of 2 rows", id="nothing"),
        pytest.param([1.5, None], "is empty in 1 of 2 rows, first in row 2", id="null"),
    ],
)  # fmt: skip
def test_a_column_of_another_type_is_refused(values: list[Any], message: str, tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"x": [1, 2], "y": values}), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=message):
        read(train=tmp_path)


def test_a_wrong_row_is_found_in_the_file_and_split_that_has_it(tmp_path: Path) -> None:
    train = csv(csv(tmp_path / "a", ["1", "2"], "1.csv"), ["3", "4"], "2.csv")
    with pytest.raises(DataError, match=r"input test: .* first 'x' in row 2 of .*b/rows\.csv"):
        read(train=train, test=csv(tmp_path / "b", ["1", "x", "3"]))
    csv(train, ["5", ""], "2.csv")
    with pytest.raises(DataError, match=r"input train: .*row 2 of .*2\.csv"):
        read(train=train)


def test_held_out_rows_are_drawn_from_all(tmp_path: Path) -> None:
    splits = read(train=csv(tmp_path, [f"{place}.5" for place in range(100)]), fraction=0.2)
    assert splits.validation is not None
    assert splits.test is not None
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (64, 16, 20)
    parts = [splits.train, splits.validation, splits.test]
    assert sorted(torch.cat([part.labels for part in parts]).tolist()) == [place + 0.5 for place in range(100)]
    assert 30 < float(splits.test.labels.mean()) < 70
    assert all((part.columns[:, 0] + 0.5 == part.labels).all() for part in parts)


def test_two_values_may_be_classes(tmp_path: Path) -> None:
    assert any("two different values alone" in note for note in read(train=csv(tmp_path, ["0", "1", "1"])).notes)


def test_what_is_told_is_what_scikit_learn_says() -> None:
    chance = np.random.default_rng(0)
    for size in (2, 3, 50):
        targets, found = chance.normal(1e4, 30, size), chance.normal(1e4, 40, size)
        unit = 17.0
        loss = float(np.mean(((found - targets) / unit) ** 2))
        told = scores(loss, unit=unit, spread=float(targets.std()))
        assert told["rmse"] == pytest.approx(root_mean_squared_error(targets, found), rel=1e-9)
        assert told["r2"] == pytest.approx(r2_score(targets, found), rel=1e-6)
        each = mae(torch.from_numpy(found), torch.from_numpy(targets))
        assert float(each.mean()) == pytest.approx(mean_absolute_error(targets, found))
    assert math.isnan(scores(0.5, unit=1.0, spread=0.0)["r2"])


@pytest.mark.parametrize("formats", [[name] for name in FORMATS], ids="".join)
def test_a_model_far_from_zero_is_exact_in_every_format(formats: list[str], tmp_path: Path) -> None:
    """A target of a billion and a bit, whose bit float32 can't hold."""
    arguments = {
        "numeric": 1, "categories": [3], "hidden": 4, "layers": 1, "dropout": 0.0,
        "target_mean": 1e9, "target_std": 0.5,
    }  # fmt: skip
    columns = (Column(name="x"), Column(name="z", categories=("a", "b")))
    card = ModelCard(
        recipe="tabular-regression", network="table-regressor", arguments=arguments, classes=(),
        input=TableInput(columns=columns), metrics={"testMae": 1.5},
    )  # fmt: skip
    torch.manual_seed(0)
    network = TableRegressor(**arguments)
    example = torch.tensor([[0.5, 1.0], [float("nan"), 0.0], [2.0, 2.0]])
    expected = network.eval()(example)
    assert expected.dtype == torch.float64
    assert len(set(expected.tolist())) == 3
    (path, *_) = export_model(network, example, card=card, formats=formats, folder=tmp_path)
    if formats == ["safetensors"]:
        model = load_model(tmp_path)
        rows = [{"x": 0.5, "z": "a"}, {"x": None, "z": "never seen"}, {"x": 2, "z": "b"}]
        assert model.predict(rows) == expected.tolist()
        assert model.predict(rows[0]) == expected[:1].tolist()
        assert model.card.metrics == {"testMae": 1.5}
        assert not {"target_mean", "target_std"} & load_file(path).keys()
        with pytest.raises(DataError, match="gives a quantity for each row; ask predict for it"):
            model.probabilities(rows)
    else:
        outputs = FORMATS[formats[0]].read(path, network)(example)
        torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-6)
