"""Data sets in Hugging Face's layouts, as pyarrow can write them; `frameworks/test_datasets.py` has the real ones."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from footplate.api.data import SPLITS, Split
from footplate_trainer.data.images import read_splits as read_images
from footplate_trainer.data.table_folders import find_files
from footplate_trainer.data.texts import Asked
from footplate_trainer.data.texts import read_splits as read_texts
from footplate_trainer.errors import DataError
from footplate_trainer.preparation.reading import load

FEATURES = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": ["bad", "good"], "_type": "ClassLabel"}}
SCHEMA = pa.schema(
    {"text": pa.string(), "label": pa.int64()}, metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})}
)


def table(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    columns = [[f"a text with the number {n}" for n in numbers], [n % 2 for n in numbers]]
    return pa.Table.from_arrays([pa.array(columns[0]), pa.array(columns[1])], schema=SCHEMA)


def write_stream(path: Path, rows: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)


def save(folder: Path, *shards: pa.Table, **state: Any) -> Path:
    """As `Dataset.save_to_disk` does."""
    names = [f"data-{number:05}-of-{len(shards):05}.arrow" for number in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        write_stream(folder / name, shard)
    folder.mkdir(parents=True, exist_ok=True)
    listed = {"_data_files": [{"filename": name} for name in names], "_split": None}
    (folder / "state.json").write_text(json.dumps(listed | state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return folder


def save_dict(folder: Path, splits: Mapping[str, int]) -> Path:
    """As `DatasetDict.save_to_disk` does; the rows of the splits follow each other."""
    first = 0
    for name, count in splits.items():
        save(folder / name, table(first, count))
        first += count
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": [*splits]}))
    return folder


def parts_of(folder: Path, tmp_path: Path, said: Sequence[str] = ()) -> dict[str, list[int]]:
    """The numbers in the texts of each part."""
    (tmp_path / "scratch").mkdir()
    loaded = load({"train": folder}, Split(by="given"), tmp_path / "scratch")
    assert list(loaded.notes) == list(said)
    codes = loaded.parts if loaded.parts is not None else np.zeros(loaded.table.num_rows, np.uint8)
    numbers = [int(text.as_py().split()[-1]) for text in loaded.table["text"]]
    assert loaded.table["label"].to_pylist() == [["bad", "good"][n % 2] for n in numbers], "classes by their names"
    return {
        SPLITS[part]: [n for n, code in zip(numbers, codes, strict=True) if code == part] for part in np.unique(codes)
    }


def test_a_saved_dataset_is_its_shards_and_nothing_else(tmp_path: Path) -> None:
    folder = save(tmp_path / "data", table(0, 4), table(4, 3))
    write_stream(folder / "cache-1a2b3c.arrow", table(100, 5))
    assert parts_of(folder, tmp_path) == {"train": [*range(7)]}


def test_a_saved_dict_brings_its_splits(tmp_path: Path) -> None:
    folder = save_dict(tmp_path / "data", {"train": 6, "dev": 2, "test": 3})
    assert parts_of(folder, tmp_path) == {"train": [*range(6)], "validation": [6, 7], "test": [8, 9, 10]}


def test_a_split_that_is_none_of_ours_isnt_trained_on(tmp_path: Path) -> None:
    folder = save_dict(tmp_path / "data", {"train": 2, "unsupervised": 3})
    said = "input train: left out, as other splits of its DatasetDict are named as ours: unsupervised"
    assert parts_of(folder, tmp_path, [said]) == {"train": [0, 1]}


def test_a_dict_without_a_split_of_ours_names_the_way_out(tmp_path: Path) -> None:
    folder = save_dict(tmp_path / "data", {"train_sft": 2, "test_sft": 3})
    with pytest.raises(DataError, match=r"splits .* train_sft, test_sft, none is called .* uri end in /train_sft/"):
        find_files(folder, channel="train", said=[])
    assert parts_of(folder / "train_sft", tmp_path) == {"train": [0, 1]}


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"_data_files": [{"filename": "data-00001-of-00002.arrow"}]}, "is named by .*state.json, but isn't there"),
        ({"_data_files": "no"}, "has no list '_data_files'"),
        ({"_data_files": []}, "rows are chosen by other files, or are none"),
        ({"_indices_data_files": [{"filename": "indices.arrow"}]}, "rows are chosen by other files"),
    ],
)
def test_a_saved_dataset_that_isnt_whole_is_refused(tmp_path: Path, state: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        find_files(save(tmp_path / "data", table(0, 2), **state), channel="train", said=[])


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    (save(tmp_path / "data", table(0, 2)) / "state.json").write_text('{"_data_files": [')
    with pytest.raises(DataError, match=r"state.json can't be read"):
        find_files(tmp_path / "data", channel="train", said=[])


@pytest.mark.parametrize("place", ["data/{}-00000-of-00001.parquet", "default/{}/0000.parquet"])
def test_the_hubs_parquet_files_are_divided_by_their_names(tmp_path: Path, place: str) -> None:
    for first, name in enumerate(("train", "eval", "dev")):
        path = tmp_path / "hub" / place.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(first, 1), path)
    assert parts_of(tmp_path / "hub", tmp_path) == {"train": [0], "test": [1], "validation": [2]}


def test_the_recipe_of_texts_reads_a_saved_dict(tmp_path: Path) -> None:
    folder = save_dict(tmp_path / "data", {"train": 8, "test": 4})
    asked = Asked(inputs={"train": folder}, text="text", target="label", fractions={}, seed=0, vocabulary_size=300)
    read = read_texts(asked, tokens=None, max_length=16)
    assert (read.classes, len(read.train), read.validation, read.test and len(read.test)) == (
        ("bad", "good"),
        8,
        None,
        4,
    )


def test_pictures_in_tables_are_told_how_to_become_files(tmp_path: Path) -> None:
    picture = pa.array([{"bytes": b"PNG", "path": "a.png"}] * 2)
    save(tmp_path / "data/train", pa.table({"image": picture, "label": [0, 1]}))
    with pytest.raises(DataError, match=r"holds its pictures in tables, such as data-00000-of-00001.arrow; write each"):
        read_images(
            {"train": tmp_path / "data"}, image_size=8, class_names=None, validation_fraction=0, test_fraction=0,
            seed=0, note=str,
        )  # fmt: skip
