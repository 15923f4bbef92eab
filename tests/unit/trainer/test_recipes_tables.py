"""What the table recipe reads, and what it says of data that are wrong."""

import gzip
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from footplate_trainer.data.inputs import Column
from footplate_trainer.data.table_columns import encode
from footplate_trainer.data.tables import TableSplits, read_splits
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.recipes.tables import mean_and_std

ROWS = "size,colour,weight,kind\n" + "".join(
    f"{number},{('red', 'blue')[number % 2]},{number / 2},{('a', 'b', 'c')[number % 3]}\n" for number in range(60)
)


def write(folder: Path, text: str = ROWS, *, name: str = "rows.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder


def read(target: str = "kind", ignore: tuple[str, ...] = (), fraction: float = 0.1, **inputs: Path) -> TableSplits:
    return read_splits(
        inputs, target=target, ignore=ignore, validation_fraction=fraction, test_fraction=fraction, seed=0
    )


def test_columns_become_numbers_numeric_ones_first(tmp_path: Path) -> None:
    splits = read(train=write(tmp_path), fraction=0)
    assert splits.columns == (
        Column(name="size"),
        Column(name="weight"),
        Column(name="colour", categories=("blue", "red")),
    )
    assert splits.classes == ("a", "b", "c")
    assert splits.train.columns[3].tolist() == [3, 1.5, 1]
    assert splits.train.labels[:4].tolist() == [0, 1, 2, 0]


def test_csv_gz_and_parquet_are_read_one_under_the_other(tmp_path: Path) -> None:
    head, *lines = ROWS.splitlines()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.csv.gz").write_bytes(gzip.compress("\n".join([head, *lines[:20]]).encode()))
    write(tmp_path, "\n".join([head, *lines[20:40]]), name="b.CSV")
    table = pa.csv.read_csv(pa.BufferReader("\n".join([head, *lines[40:]]).encode()))
    pa.parquet.write_table(table.select(["kind", "weight", "size", "colour"]), tmp_path / "c.parquet")
    splits = read(train=tmp_path, fraction=0)
    assert sorted(splits.train.columns[:, 0].tolist()) == list(range(60))


def test_splits_are_held_out_or_brought(tmp_path: Path) -> None:
    splits = read(train=write(tmp_path / "a"), test=write(tmp_path / "b"))
    assert splits.validation is not None
    assert splits.test is not None
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (54, 6, 60)


def test_numbers_as_classes_are_in_their_own_order(tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"{number},{number % 11}\n" for number in range(44))
    assert read("y", train=write(tmp_path, text)).classes == tuple(str(number) for number in range(11))


def test_missing_and_unseen_values_are_told_to_the_network(tmp_path: Path) -> None:
    columns = (Column(name="size"), Column(name="colour", categories=("blue", "red")))
    table = pa.table({"colour": ["red", "green", None], "size": [None, 2, 3], "other": [1, 2, 3]})
    encoded = encode(table, columns)
    assert math.isnan(encoded[0, 0])
    assert encoded[1:, 0].tolist() == [2, 3]
    assert encoded[:, 1].tolist() == [2, 0, 0]


def test_mean_and_std_leave_out_what_is_missing() -> None:
    columns = torch.tensor([[1.0, 5.0], [3.0, 5.0], [math.nan, 5.0]])
    mean, std = mean_and_std(columns)
    assert mean.tolist() == [2, 5]
    assert std.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        pytest.param(ROWS, {"target": "Kind"}, "target: .*no column 'Kind'; did you mean kind[?] It has", id="case"),
        pytest.param(ROWS, {"target": "zzz"}, "no column 'zzz'. It has 'size', 'colour', 'weight', 'kind'", id="none"),
        pytest.param(ROWS, {"ignore": ("sizes",)}, "ignore: .*did you mean size", id="ignore"),
        pytest.param(ROWS, {"ignore": ("size", "colour", "weight")}, "no column besides the target", id="all ignored"),
        pytest.param("x,y\n1,a\n2,a\n", {"target": "y"}, "all 2 samples are of one class", id="one class"),
        pytest.param("x,y\n1,a\n2\n", {"target": "y"}, "row 2 has 1 cell, where the header", id="ragged"),
        pytest.param("x,x,y\n1,1,a\n", {"target": "y"}, "several columns named 'x'", id="twice"),
        pytest.param("x,y\n", {"target": "y"}, "has no rows", id="no rows"),
        pytest.param("", {"target": "y"}, "can't be read: Empty CSV", id="empty"),
        pytest.param(
            "x,y\n1,1\n2,\n3,2\n", {"target": "y"},
            "'y' is empty in 1 of 3 rows, first in row 2 of .*rows.csv", id="target missing",
        ),
        pytest.param("x,y\ninf,a\n1,b\n", {"target": "y"}, "'x' .* has infinite values", id="infinite"),
        pytest.param("x,y\n1e300,a\n1,b\n", {"target": "y"}, "'x' .* has infinite values, or some bey", id="beyond"),
        pytest.param("x,y\n,a\n,b\n", {"target": "y"}, "no column is left .*'x': left out, without", id="nothing"),
        pytest.param("t,y\n10:00:00,a\n11:00:00,b\n", {"target": "y"}, "'t' .* is of type time32.*ignore", id="time"),
    ],
)  # fmt: skip
def test_wrong_tables_name_the_column_and_the_way_out(
    text: str, arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        read(train=write(tmp_path, text), **arguments)


def test_a_folder_without_tables_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"input train: .* holds no CSV, TSV, JSON lines, Parquet or Feather files"):
        read(train=write(tmp_path, name="rows.txt"))


@pytest.mark.parametrize(("ignore", "message"), [(("kind",), "the target column"), (("size", "size"), "twice")])
def test_ignore_must_make_sense(ignore: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read(train=write(tmp_path), ignore=ignore)


def test_other_files_must_have_the_same_columns_and_classes(tmp_path: Path) -> None:
    train = write(tmp_path / "a")
    with pytest.raises(DataError, match="lacks the columns 'size'"):
        read(train=train, test=write(tmp_path / "b", ROWS.replace("size", "length")))
    with pytest.raises(DataError, match="input test has classes that the training data lacks: d"):
        read(train=train, test=write(tmp_path / "c", "size,colour,weight,kind\n1,red,2,d\n"))
    with pytest.raises(DataError, match="column 'size' should hold numbers"):
        read(train=train, test=write(tmp_path / "d", "size,colour,weight,kind\nlarge,red,2,a\n"))
    parts = write(tmp_path / "e", "x,y\n1,a\n2,b\n")
    pa.parquet.write_table(pa.table({"x": ["1"], "y": ["a"]}), parts / "z.parquet")
    pa.parquet.write_table(pa.table({"x": [1], "y": ["a"]}), parts / "zz.parquet")
    with pytest.raises(
        DataError, match=r"columns have different types: 'x' is string in .*rows\.csv, but int64 in .*zz"
    ):
        read("y", train=parts)


def test_texts_that_look_like_numbers_stay_texts_in_later_files(tmp_path: Path) -> None:
    train = write(
        tmp_path / "a", "zip,y\n" + "".join(f"{'0' * (number % 3)}x{number % 3},{number % 2}\n" for number in range(30))
    )
    test = write(tmp_path / "b", "zip,y\n007,1\n")
    splits = read("y", train=train, test=test)
    assert splits.test is not None
    assert splits.test.columns.tolist() == [[0]]
