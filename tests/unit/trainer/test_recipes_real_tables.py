"""Tables as people have them: each is read right, or refused with the file, row or column and the way out."""

import datetime
import timeit
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from footplate.api.recipes import TableHyperparameters
from footplate_trainer.data.inputs import Column
from footplate_trainer.data.table_columns import encode
from footplate_trainer.data.table_numbers import Notation, find_notation, read_number
from footplate_trainer.data.tables import TableSplits, read_splits
from footplate_trainer.errors import DataError
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.rank.report import Reporter
from footplate_trainer.recipes import tabular_classification
from footplate_trainer.recipes.tables import mean_and_std


def csv(folder: Path, text: str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder


def parquet(folder: Path, **columns: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(pa.table(columns), folder / "rows.parquet")
    return folder


def read(target: str = "y", fraction: float = 0, ignore: tuple[str, ...] = (), **inputs: Path) -> TableSplits:
    return read_splits(
        inputs, target=target, ignore=ignore, validation_fraction=fraction, test_fraction=fraction, seed=0
    )


def rows_of(column: str, cells: list[str]) -> str:
    """A table of one column, and a class that alternates."""
    return f"{column},y\n" + "".join(f"{cell},{'ab'[place % 2]}\n" for place, cell in enumerate(cells))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        pytest.param(
            ["a", "", "b"], "'y' is empty in 1 of 3 rows, first in row 2 of .*rows.csv; fill or", id="empty text"
        ),
        pytest.param(["a", " ", ""], "'y' is empty in 2 of 3 rows, first in row 2 of", id="blanks"),
        pytest.param(["1.5", "", "nan"], "'y' is empty in 2 of 3 rows", id="not a number"),
        pytest.param(["", "", ""], "'y' is empty in 3 of 3 rows, first in row 1 of", id="wholly empty"),
        pytest.param(
            [str(place / 7) for place in range(1000)],
            "1,000 different values, fractions.*The recipe tabular-regression learns quantities",
            id="quantities",
        ),
        pytest.param([str(1000 + place) for place in range(1000)], "as quantities and ids have.*regression", id="ids"),
        pytest.param([f"n{place}" for place in range(100)], "100 different values in 100 rows", id="names"),
    ],
)
def test_a_target_that_holds_no_classes_is_refused(target: list[str], message: str, tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"{place},{cell}\n" for place, cell in enumerate(target))
    with pytest.raises(DataError, match=message):
        read(train=csv(tmp_path, text))


def test_an_empty_class_is_found_in_the_second_file(tmp_path: Path) -> None:
    csv(csv(tmp_path, "x,y\n1,a\n2,b\n", "1.csv"), "x,y\n3,a\n4,\n", "2.csv")
    with pytest.raises(DataError, match=r"row 2 of .*2\.csv"):
        read(train=tmp_path)


def test_whole_numbers_as_classes_are_the_same_however_they_are_stored(tmp_path: Path) -> None:
    train = csv(tmp_path / "a", "x,y\n1,0\n2,1\n3,2\n")
    test = parquet(tmp_path / "b", x=[1, 2], y=[2.0, 0.0])
    splits = read(train=train, test=test)
    assert splits.classes == ("0", "1", "2")
    assert splits.test is not None
    assert splits.test.labels.tolist() == [2, 0]
    assert read(train=test).classes == ("0", "2")


@pytest.mark.parametrize(
    ("names", "lengths"),
    [
        pytest.param(["train.csv", "test.csv"], (2, None, 2), id="files"),
        pytest.param(["train/a.csv", "val/a.csv", "test/a.csv"], (2, 2, 2), id="folders"),
        pytest.param(["train-00000.csv", "train-00001.csv", "validation-00000.csv"], (4, 2, None), id="shards"),
        pytest.param(["titanic_train.csv", "titanic_test.csv"], (2, None, 2), id="last word"),
        pytest.param(["rows.csv", "test.csv"], (2, None, 2), id="only the test is named"),
        pytest.param(["train-1.csv", "train-2.csv"], (4, None, None), id="one split"),
        pytest.param(["contest.csv", "latest.csv"], (4, None, None), id="other words"),
        pytest.param([".ipynb_checkpoints/a.csv", "__MACOSX/._a.csv", "a.csv"], (2, None, None), id="hidden copies"),
    ],
)
def test_files_named_as_splits_are_splits(names: list[str], lengths: tuple[int | None, ...], tmp_path: Path) -> None:
    for name in names:
        csv(tmp_path, "x,y\n1,a\n2,b\n", name)
    splits = read(train=tmp_path)
    found = tuple(None if part is None else len(part) for part in (splits.train, splits.validation, splits.test))
    assert found == lengths
    assert bool(splits.notes) == (found[1:] != (None, None))


def test_a_channel_comes_before_a_file_of_its_splits_name(tmp_path: Path) -> None:
    train = csv(csv(tmp_path / "a", "x,y\n1,a\n2,b\n", "train.csv"), "x,y\n1,a\n", "test.csv")
    test = csv(csv(tmp_path / "b", "x,y\n1,a\n2,b\n3,b\n", "test.csv"), "x,y\n1,a\n", "train.csv")
    splits = read(train=train, test=test)
    assert splits.test is not None
    assert (len(splits.train), len(splits.test)) == (2, 3)
    assert splits.notes == (
        "input train: test.csv left out, as there is an input test", "input test: its train data are left out",
    )  # fmt: skip
    with pytest.raises(DataError, match="holds test and train data, but none named validation; add them"):
        read(train=train, validation=test)


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        pytest.param(['"1,234"', '"12,345.5"', "7"], [1234, 12345.5, 7], id="thousands"),
        pytest.param(['"3,5"', '"1,234"', "7"], [3.5, 1.234, 7], id="decimal commas"),
        pytest.param(['"1.234,5"', '"0,25"', "?"], [1234.5, 0.25, None], id="decimal commas and thousands"),
        pytest.param(["5%", "12.5 %", ""], [5, 12.5, None], id="percent"),
        pytest.param(["$3", "-$4.50", '"$1,200"'], [3, -4.5, 1200], id="dollars"),
        pytest.param(["3 €", "4", "n/a"], [3, 4, None], id="euros"),
        pytest.param(["1", "?", "-2.5"], [1, None, -2.5], id="question marks"),
        pytest.param([" 1", "NULL", "1e3"], [1, None, 1000], id="blanks"),
    ],
)
def test_numbers_written_as_texts_are_numbers(cells: list[str], numbers: list[float | None], tmp_path: Path) -> None:
    splits = read(train=csv(tmp_path, rows_of("x", cells)))
    assert [column.categories for column in splits.columns] == [None]
    expected = torch.tensor([[torch.nan if number is None else number] for number in numbers])
    torch.testing.assert_close(splits.train.columns, expected, equal_nan=True)


def test_how_numbers_are_read_is_said(tmp_path: Path) -> None:
    splits = read(train=csv(tmp_path, rows_of("x", ["7", '"1,234"'])))
    assert splits.notes == ("column 'x': texts read as numbers, such as '1,234' as 1234",)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        pytest.param(["1", "2", "3", "few"], ("'few' is none: each text counts as a category",), id="a word"),
        pytest.param(["1.5", '"3,5"', "2.5"], ("decimal marks don't agree: each text",), id="both decimal marks"),
        pytest.param(["5%", "0.05", "7%"], ("their signs or decimal marks don't agree",), id="shares and percents"),
        pytest.param(["$3", "€3"], ("their signs or decimal marks don't agree",), id="two currencies"),
        pytest.param(["red", "blue", "1"], (), id="texts"),
    ],
)
def test_texts_that_are_not_all_numbers_are_categories_and_it_is_said(
    cells: list[str], said: tuple[str, ...], tmp_path: Path
) -> None:
    splits = read(train=csv(tmp_path, rows_of("x", cells)))
    assert splits.columns[0].categories == tuple(sorted(cell.strip('"') for cell in cells))
    assert len(splits.notes) == len(said)
    assert all(part in note for part, note in zip(said, splits.notes, strict=True))


def test_codes_with_leading_zeros_and_digits_stored_as_texts_stay_texts(tmp_path: Path) -> None:
    splits = read(train=parquet(tmp_path, code=["007", "?", "010"], digits=["1", "2", "3"], y=["a", "b", "a"]))
    assert [column.categories for column in splits.columns] == [("007", "010", "?"), ("1", "2", "3")]


def test_a_notation_is_kept_for_other_splits_and_for_predictions(tmp_path: Path) -> None:
    train = csv(tmp_path / "a", rows_of("x", ['"3,5"', '"4,5"']))
    splits = read(train=train, test=csv(tmp_path / "b", rows_of("x", ['"1,234"'])))
    assert splits.test is not None
    assert splits.test.columns.tolist() == [[pytest.approx(1.234)]]
    with pytest.raises(DataError, match=r"'x' should hold numbers: '1\.5' is no number as the training data write"):
        encode(pa.table({"x": ["1.5"]}), splits.columns)
    assert encode(pa.table({"x": [1.5]}), splits.columns).tolist() == [[1.5]]
    with pytest.raises(DataError, match=r"'x' should hold numbers: .*percent sign, these are without"):
        encode(pa.table({"x": [0.05]}), (Column(name="x", unit="%"),))


@pytest.mark.parametrize(
    ("texts", "notation"),
    [
        (["1,234"], Notation(".")), (["0,123"], Notation(",")), (["1,23"], Notation(",")),
        (["1.234.567"], Notation(",")), (["5%", None, "?"], Notation(".", "%")), (["?"], None),
        (["1 2"], None), (["1,2,3"], None), (["$"], None),
    ],
)  # fmt: skip
def test_a_notation_fits_all_texts_or_none(texts: list[str | None], notation: Notation | None) -> None:
    assert find_notation(texts) == notation


def test_what_is_no_number_is_never_read_as_one() -> None:
    with pytest.raises(ValueError, match="'1,5' is no number"):
        read_number("1,5", Notation("."))


def test_large_numbers_close_to_each_other_stay_apart(tmp_path: Path) -> None:
    seconds = np.arange(1_700_000_000, 1_700_001_000)
    splits = read(train=parquet(tmp_path, at=seconds, y=[f"{place % 2}" for place in range(1000)]))
    assert len(splits.train.columns.unique()) == 1000
    mean, std = mean_and_std(splits.train.columns)
    scaled = (splits.train.columns[:, 0] - mean) / std
    expected = (seconds - seconds.mean()) / seconds.std()
    np.testing.assert_allclose(scaled.numpy(), expected, atol=1e-5)
    assert encode(pa.table({"at": [1_700_000_001]}), splits.columns)[0] == splits.train.columns[1]


def test_ids_beyond_float64_are_refused_by_their_column(tmp_path: Path) -> None:
    folder = parquet(tmp_path, id=[2**53 + 1, 2**60], x=[1, 2], y=["a", "b"])
    with pytest.raises(DataError, match=r"'id' should hold numbers: .*if it holds ids, name it in .*ignore"):
        read(train=folder)
    assert len(read(train=folder, ignore=("id",)).columns) == 1


def test_string_views_are_texts(tmp_path: Path) -> None:
    views = pa.array(["red", "blue"] * 20, pa.string_view())
    splits = read(train=parquet(tmp_path, colour=views, y=views), fraction=0.1)
    assert splits.columns == (Column(name="colour", categories=("blue", "red")),)
    assert splits.classes == ("blue", "red")


@pytest.mark.parametrize("values", [[[1], [2]], [b"1", b"2"]], ids=["lists", "bytes"])
def test_other_types_are_refused_by_their_column(values: list[Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'x' .* is of type .*; numbers, texts and dates.* Convert it, or name"):
        read(train=parquet(tmp_path, x=values, y=["a", "b"]), fraction=0.5)


def test_cells_of_many_lines_in_a_file_of_several_megabytes(tmp_path: Path) -> None:
    cells = [f'"first line{"." * 60}\nsecond, {place % 10}"' for place in range(40_000)]
    splits = read(train=csv(tmp_path, rows_of("x", [*cells, f'"{"long" * 700_000}\n"'])))
    assert len(splits.train) == 40_001
    assert splits.columns[0].categories is not None
    assert len(splits.columns[0].categories) == 11


def test_the_type_of_a_column_follows_from_all_its_cells(tmp_path: Path) -> None:
    splits = read(train=csv(tmp_path, rows_of("x", [*map(str, range(300_000)), '"300,000"'])))
    assert splits.train.columns[-1].tolist() == [300_000]


@pytest.mark.parametrize(
    ("name", "values", "dropped"),
    [
        pytest.param("", [5, 3, 9], True, id="to_csv"),
        pytest.param("Unnamed: 0", [0, 1, 2], True, id="read again"),
        pytest.param("index", [0, 1, 2], True, id="reset_index"),
        pytest.param("index", [5, 3, 9], False, id="a stock index"),
        pytest.param("", [0.5, 1, 2], False, id="unnamed quantities"),
    ],
)
def test_an_index_column_of_pandas_is_left_out(name: str, values: list[float], dropped: bool, tmp_path: Path) -> None:
    text = f"{name},x,y\n" + "".join(f"{value},1,{'ab'[place % 2]}\n" for place, value in enumerate(values))
    train = csv(tmp_path / "a", text)
    splits = read(train=train, test=csv(tmp_path / "b", "x,y\n1,a\n")) if dropped else read(train=train)
    assert [column.name for column in splits.columns] == (["x"] if dropped else [name, "x"])
    assert bool(splits.notes) == dropped
    assert not dropped or f"column {name!r}: left out: only counts the rows" in splits.notes[0]


@pytest.mark.parametrize(
    "values",
    [[None, None], pa.array(["", "?"]), pa.array([None, float("nan")], pa.float64())],
    ids=["null", "texts", "nan"],
)
def test_columns_without_values_are_left_out(values: Any, tmp_path: Path) -> None:
    splits = read(train=parquet(tmp_path, v=values, w=values, x=[1, 2], y=["a", "b"]))
    assert [column.name for column in splits.columns] == ["x"]
    assert splits.notes == ("columns 'v', 'w': left out, without values",)


@pytest.mark.parametrize(
    ("cells", "first", "parts"),
    [
        pytest.param(["2026-11-29", "1970-01-02"], [86400, 1, 5], ["time", "month", "weekday"], id="dates"),
        pytest.param(["2026-11-29 07:00:00", "1970-01-02 01:00:00"], [90000, 1, 5, 2],
                     ["time", "month", "weekday", "hour"], id="times"),
        pytest.param(["2026-11-29T07:00:00Z", "1970-01-02T01:00:00Z"], [90000, 1, 5, 2],
                     ["time", "month", "weekday", "hour"], id="zoned"),
    ],
)  # fmt: skip
def test_dates_become_columns(cells: list[str], first: list[float], parts: list[str], tmp_path: Path) -> None:
    splits = read(train=csv(tmp_path, rows_of("d", cells)))
    assert [column.part for column in splits.columns] == parts
    assert splits.train.columns[1].tolist() == first
    assert "dates become time" in splits.notes[0]
    moment = datetime.datetime.fromisoformat(cells[1])
    for given in (cells[1], moment, moment.date()):
        encoded = encode(pa.Table.from_pylist([{"d": given}]), splits.columns)[0].tolist()
        assert encoded[1:3] == first[1:3]


def test_of_too_many_texts_the_commonest_are_told_apart(tmp_path: Path) -> None:
    cells = [f"n{place:04}" for place in range(1300)] + ["n1299", "n1298"]
    splits = read(train=csv(tmp_path, rows_of("name", cells)))
    categories = splits.columns[0].categories
    assert categories is not None
    assert len(categories) == 1000
    assert {"n1299", "n1298", "n0000", "n0997"} <= set(categories)
    assert splits.train.columns[1200].tolist() == [0]
    assert "of 1,300 different texts the 1,000 commonest are told apart" in splits.notes[0]


def test_texts_that_no_two_rows_share_are_left_out(tmp_path: Path) -> None:
    text = "name,x,y\n" + "".join(f"n{place},1,{'ab'[place % 2]}\n" for place in range(1300))
    splits = read(train=csv(tmp_path, text))
    assert [column.name for column in splits.columns] == ["x"]
    assert "column 'name': left out, as each row has a text of its own" in splits.notes[0]


def test_the_job_is_told_what_was_said_of_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Reporter, "note", lambda _, text: told.append(text))
    cards: list[ModelCard] = []
    monkeypatch.setattr(tabular_classification, "train_classifier", lambda *given, **_: cards.append(given[3]))
    inputs = {"train": csv(tmp_path, ",x,y\n0,1,a\n1,2,b\n")}
    place: Any = SimpleNamespace(splits={}, inputs=inputs, config=None)
    asked = {"target": "y", "validationFraction": 0, "testFraction": 0}
    tabular_classification.train(place, TableHyperparameters.model_validate(asked))
    assert len(told) == 1
    assert "column '': left out: only counts the rows" in told[0]
    assert cards[0].notes == tuple(told)


def test_what_could_not_be_held_out_is_said(tmp_path: Path) -> None:
    splits = read(train=csv(tmp_path, "x,y\n1,a\n2,b\n"), fraction=0.1)
    assert (splits.validation, splits.test) == (None, None)
    assert [note.split(" are held out")[0] for note in splits.notes] == ["no test data", "no validation data"]


def test_many_columns_take_no_longer_each_than_few() -> None:
    def seconds_a_column(count: int) -> float:
        names = [f"gene {number}" for number in range(count)]
        table = pa.table({name: [1.0, 2.0] for name in names})
        columns = [Column(name=name) for name in names]
        return min(timeit.repeat(lambda: encode(table, columns), number=1, repeat=3)) / count

    assert seconds_a_column(3000) < 2.5 * seconds_a_column(500)
