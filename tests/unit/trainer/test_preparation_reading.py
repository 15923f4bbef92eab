"""What data may be: tables of all kinds, pictures and texts by folder; and what bad ones are told."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from footplate.api.data import Data, Split
from footplate_trainer.data.table_files import survey_files
from footplate_trainer.data.table_folders import find_files
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.preparation import layout
from footplate_trainer.preparation.preparing import prepare
from footplate_trainer.preparation.reading import Loaded, load

SPLIT = {"train": 0.7, "validation": 0.2, "test": 0.1}
FIRST_OF_TEN = [7, 2, 1]


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def read(folder: Path, files: Mapping[str, str | bytes], split: Split | None = None) -> Loaded:
    scratch = folder / "scratch"
    scratch.mkdir()
    return load({"train": write(folder / "train", files)}, split, scratch)


def run(folder: Path, inputs: dict[str, Path], **data: Any) -> Path:
    prepare(Data.model_validate(data), inputs, folder, digests={}, label=None, title="t")
    layout.link_files(folder, folder.parent)
    return folder


def rows_of(folder: Path) -> dict[str, int]:
    return {path.parent.name: pq.read_metadata(path).num_rows for path in (folder / "splits").rglob("*.parquet")}


def files_of(folder: Path) -> dict[str, list[str]]:
    root = folder / "splits"
    return {
        part.name: sorted(str(path.relative_to(part)) for path in part.rglob("*") if path.is_file())
        for part in root.iterdir()
    }


def table(count: int = 10, first: int = 0) -> str:
    return "".join(["a,label\n", *(f"{row},{'xy'[row % 2]}\n" for row in range(first, first + count))])


def test_rows_of_several_files_are_told_by_file_and_row(tmp_path: Path) -> None:
    loaded = read(tmp_path, {"a.csv": table(3), "sub/b.csv": table(4)})
    assert loaded.table.num_rows == 7
    assert loaded.locate(0) == ("train/a.csv", 1)
    assert loaded.locate(3) == ("train/sub/b.csv", 1)
    assert loaded.place(6) == "row 4 of train/sub/b.csv"


def test_json_lines(tmp_path: Path) -> None:
    lines = [{"text": "ä", "n": 1, "more": [1]}, {"text": None, "n": 2.5}, {"n": 3}]
    loaded = read(tmp_path, {"a.jsonl": "".join(json.dumps(line) + "\n" for line in lines)})
    assert loaded.table["n"].to_pylist() == [1, 2.5, 3]
    assert loaded.table["text"].to_pylist() == ["ä", None, None]


def test_a_text_of_10_mb_in_json_lines_and_in_csv(tmp_path: Path) -> None:
    text = "x" * 10_000_000
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    line = json.dumps({"text": text, "n": 1})
    assert len(read(tmp_path / "a", {"a.jsonl": f"{line}\n{line}\n"}).table["text"][1].as_py()) == 10_000_000
    assert len(read(tmp_path / "b", {"a.csv": f'text,n\n"{text}",1\n'}).table["text"][0].as_py()) == 10_000_000


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("", "can't be read"),
        ('{"a": 1}\nno json\n', "can't be read"),
        ('{"a": 1}\n\n{"a": null}\n{"a": "x"}\n', "'a' is a text in line 4, and a number in line 1"),
        ('{"a": 1}\n' * 100_000 + '{"a": true}\n', "'a' is true or false in line 100,001, and a number in line 1"),
        ("[1, 2]\n", "line 1 holds a list, not an object"),
        ('{"a": "x\0y"}\n', "line 1 is no JSON"),
        ('{"a": 1, "a": 2}\n', "was specified twice"),
    ],
)
def test_bad_json_lines_are_refused_by_file(tmp_path: Path, lines: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        read(tmp_path, {"a.jsonl": lines})
    assert "a.jsonl" in str(caught.value)


def test_folders_of_partitions_are_columns(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    for country, year in (("de", "2025"), ("fr", "2026"), ("caf%C3%A9", "2026")):
        place = folder / f"country={country}" / f"year={year}"
        place.mkdir(parents=True)
        pq.write_table(pa.table({"n": [1, 2]}), place / "part-0.parquet")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = load({"train": folder}, None, scratch).table
    assert found.num_rows == 6
    assert sorted(set(found["country"].to_pylist())) == ["café", "de", "fr"]
    assert set(found["year"].to_pylist()) == {"2025", "2026"}
    # Recipes read them by the same code.
    assert survey_files([*folder.rglob("*.parquet")], channel="train").schema.names == ["n", "country", "year"]


def delta(folder: Path, *, count: int = 6) -> Path:
    rows = pa.table({"n": list(range(count)), "country": [["de", "é"][row % 2] for row in range(count)]})
    deltalake.write_deltalake(folder, rows, partition_by=["country"])
    return folder


def test_a_delta_table_is_read_as_its_newest_version_says(tmp_path: Path) -> None:
    folder = delta(tmp_path / "train")
    deltalake.DeltaTable(folder).delete("n = 2")
    assert len([*folder.rglob("*.parquet")]) > 2, "the deleted row's file is still there"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    loaded = load({"train": folder}, None, scratch)
    found = zip(loaded.table["n"].to_pylist(), loaded.table["country"].to_pylist(), strict=True)
    assert sorted(found) == [(0, "de"), (1, "é"), (3, "é"), (4, "de"), (5, "é")]
    assert "input train: version 1 of a Delta table, 2 files" in loaded.notes


def test_a_delta_table_that_cant_be_read_right_is_refused(tmp_path: Path) -> None:
    folder = delta(tmp_path / "train")
    with pytest.raises(DataError, match="is a Delta table in a folder of something else"):
        find_files(tmp_path, channel="train", said=[])
    log = folder / "_delta_log/00000000000000000000.json"
    mapped = log.read_text().replace('"configuration":{}', '"configuration":{"delta.columnMapping.mode":"name"}')
    assert mapped != log.read_text()
    whole = log.read_text()
    log.write_text(mapped)
    with pytest.raises(DataError, match=r"its Delta table (uses columnMapping|can't be read)"):
        find_files(folder, channel="train", said=[])
    log.write_text(whole)
    next(folder.rglob("*.parquet")).unlink()
    with pytest.raises(DataError, match="is in its Delta table's log, but isn't there"):
        find_files(folder, channel="train", said=[])
    log.write_text("broken")
    with pytest.raises(DataError, match="its Delta table can't be read"):
        find_files(folder, channel="train", said=[])


@pytest.mark.parametrize("path", ["../secret.parquet", "..%2Fsecret.parquet", "country=de/../../secret.parquet"])
def test_a_delta_table_leads_to_nothing_beside_it(tmp_path: Path, path: str) -> None:
    """Its writer isn't the job's: what else lies on the node isn't in the input's digest, and nobody's to read."""
    pq.write_table(pa.table({"n": [42]}), tmp_path / "secret.parquet")
    deltalake.write_deltalake(tmp_path / "train", pa.table({"n": [1, 2]}))
    log = tmp_path / "train/_delta_log/00000000000000000000.json"
    (tmp_path / "train/country=de").mkdir()
    (name,) = (each.name for each in (tmp_path / "train").glob("*.parquet"))
    log.write_text(log.read_text().replace(name, path))
    with pytest.raises(DataError, match=r"leads out of its folder, to .*secret\.parquet"):
        load({"train": tmp_path / "train"}, None, tmp_path)


@pytest.mark.parametrize(
    "named",
    [
        {"file": "../../etc/passwd"},
        {"file": "/etc/passwd"},
        {"class": "../../../out"},
        {"class": "/out"},
        {"split": "../out"},
    ],
    ids=str,
)
def test_a_list_of_files_that_leads_out_of_the_data_makes_no_link(tmp_path: Path, named: dict[str, str]) -> None:
    """It comes from storage, where others than the run may write."""
    write(tmp_path / "input", {"train/a/x.txt": "x"})
    row = {"file": "train/a/x.txt", "split": "train", "class": "a", **named}
    folder = write(tmp_path / "data", {layout.FILES: json.dumps(row)})
    with pytest.raises(DataError, match="leads out of the data's folders"):
        layout.link_files(folder, tmp_path / "input")
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]


def test_an_image_without_deltalake_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = delta(tmp_path / "train")
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(ConfigError, match=r"use an image with footplate\[delta\]"):
        find_files(folder, channel="train", said=[])


def test_mixed_encodings_are_read_each_as_it_is(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "a.csv": "n,word\n1,Müller\n".encode("cp1252"),
        "b.csv": "n,word\n1,Müller\n",
        "c.csv": "n,word\n1,ä\n".encode("utf-16"),
    }
    loaded = read(tmp_path, files)
    assert loaded.table["word"].to_pylist() == ["Müller", "Müller", "ä"]
    assert any("a.csv: isn't UTF-8" in note for note in loaded.notes)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.jsonl"])
def test_an_empty_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=name):
        read(tmp_path, {name: ""})


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="hold no CSV, TSV, JSON lines, Parquet or Feather files, no PNG"):
        read(tmp_path, {"readme.pdf": "x"})


def test_which_channel_holds_the_data(tmp_path: Path) -> None:
    inputs = {"left": tmp_path, "right": tmp_path}
    with pytest.raises(ConfigError, match="of the inputs left, right it can't be told which holds the data"):
        load(inputs, None, tmp_path)


def test_a_table_is_divided_into_files_that_keep_its_columns(tmp_path: Path) -> None:
    inputs = {"rows": write(tmp_path / "rows", {"a.csv": table(6), "b.csv": table(4, first=6)})}
    folder = run(tmp_path / "out", inputs, split=SPLIT, profile=True)
    assert rows_of(folder) == dict(zip(("train", "validation", "test"), FIRST_OF_TEN, strict=True))
    found = pa.concat_tables(pq.read_table(path) for path in (folder / "splits").rglob("*.parquet"))
    assert found.schema.names == ["a", "label"]
    assert sorted(found["a"].to_pylist()) == list(range(10))
    prepared = layout.read(folder)
    assert prepared.splits == {"train": 7, "validation": 2, "test": 1}
    assert [file.path for file in prepared.files] == sorted(f"splits/{part}/data.parquet" for part in prepared.splits)
    assert not (folder / "rows.arrow").exists()


def test_the_same_data_make_the_same_bytes(tmp_path: Path) -> None:
    inputs = {"train": write(tmp_path / "train", {"a.csv": table(100)})}
    first, second = (
        run(tmp_path / name, inputs, split={**SPLIT, "by": "stratified", "column": "label"}) for name in "ab"
    )
    assert layout.read(first).files == layout.read(second).files


def test_parts_that_are_given_by_channels_or_names(tmp_path: Path) -> None:
    inputs = {
        "train": write(tmp_path / "train", {"a.csv": table(5)}),
        "test": write(tmp_path / "test", {"a.csv": table(2)}),
    }
    assert rows_of(run(tmp_path / "one", inputs, split={"by": "given"})) == {"train": 5, "test": 2}
    named = {"train": write(tmp_path / "named", {"train.csv": table(5), "val.csv": table(3)})}
    assert rows_of(run(tmp_path / "two", named, split={"by": "given"})) == {"train": 5, "validation": 3}
    with pytest.raises(DataError, match=r"named as parts already \(train, validation\); say by: given"):
        run(tmp_path / "three", named, split=SPLIT)


def test_a_broken_check_leaves_problems_and_no_parts(tmp_path: Path) -> None:
    inputs = {"train": write(tmp_path / "train", {"a.csv": table(20)})}
    checks = {"columns": [{"name": "a", "constraints": {"maximum": 4}}]}
    with pytest.raises(DataError, match=r"'a': maximum: 4 is broken 15 times: 5 in row 6 of train/a\.csv"):
        run(tmp_path / "out", inputs, split={**SPLIT, "by": "group", "column": "label"}, checks=checks)
    out = tmp_path / "out"
    (problem,) = json.loads((out / layout.PROBLEMS).read_text())
    assert (problem["count"], len(problem["examples"])) == (15, 10)
    assert "maximum: 4" in (out / layout.PAGE).read_text()
    assert not (out / layout.PREPARED).exists()
    assert not (out / layout.PARTS).exists()


def test_duplicates_are_counted_over_all_columns(tmp_path: Path) -> None:
    inputs = {"train": write(tmp_path / "train", {"a.csv": table(10), "b.csv": table(10)})}
    with pytest.raises(DataError, match=r"maxDuplicates: 0\.4 \(0\.5 of the rows repeat an earlier one\)"):
        run(tmp_path / "out", inputs, checks={"maxDuplicates": 0.4})


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 6, 3), shade, np.uint8)).save(path)


def test_pictures_by_folder(tmp_path: Path) -> None:
    for number in range(10):
        for offset, name in enumerate(("cat", "dog")):
            picture(tmp_path / "train" / "animals" / name / f"{number}.png", 20 * number + offset)
    write(tmp_path / "train", {"animals/cat/9.png": b"\x89PNG\r\n\x1a\n broken"})
    asked = {"split": {**SPLIT, "by": "stratified", "column": "class"}, "profile": True}
    folder = run(tmp_path / "out", {"train": tmp_path / "train"}, **asked)
    files = files_of(folder)
    assert {part: len(found) for part, found in files.items()} == {"train": 14, "validation": 4, "test": 2}
    assert all(len([name for name in found if name.startswith("cat/")]) * 2 == len(found) for found in files.values())
    profile = json.loads((folder / layout.PROFILE).read_text())
    widths = next(column for column in profile["columns"] if column["name"] == "width")
    assert (widths["minimum"], widths["maximum"], widths["missing"]) == (6, 6, 1)
    assert ["train/animals/cat/9.png: can't be read" in hint["text"] for hint in profile["hints"]].count(True) == 1
    linked = folder / "splits" / "test" / files["test"][0]
    assert linked.resolve().is_relative_to(tmp_path / "train")


def test_texts_by_folder_with_what_is_no_utf8(tmp_path: Path) -> None:
    texts: dict[str, str | bytes] = {
        f"{name}/{number}.txt": f"{name} {number}" for name in ("good", "bad") for number in range(5)
    }
    inputs = {"train": write(tmp_path / "train", {**texts, "bad/5.txt": b"\xff\xfe\xfa", "good/empty.txt": ""})}
    folder = run(tmp_path / "out", inputs, split={"by": "random", "train": 0.5, "test": 0.5}, profile=True)
    assert {part: len(found) for part, found in files_of(folder).items()} == {"train": 6, "test": 6}
    checks = {"columns": [{"name": "characters", "constraints": {"required": True, "minimum": 1}}]}
    with pytest.raises(DataError) as caught:
        run(tmp_path / "checked", inputs, checks=checks)
    assert "required is broken once: None in row 1 of train/bad/5.txt" in str(caught.value)
    assert "minimum: 1 is broken once: 0 in row 1 of train/good/empty.txt" in str(caught.value)


def test_a_file_that_has_gone_since_is_named(tmp_path: Path) -> None:
    inputs = {"train": write(tmp_path / "train", {f"a/{n}.txt": str(n) for n in range(4)})}
    folder = run(tmp_path / "out", inputs, split={"train": 0.5, "test": 0.5})
    (tmp_path / "train" / "a" / "2.txt").unlink()
    with pytest.raises(DataError, match=r"train/a/2.txt was there when the data were divided"):
        layout.link_files(folder, tmp_path)


def test_data_that_have_changed_are_refused(tmp_path: Path) -> None:
    inputs = {"train": write(tmp_path / "train", {"a.csv": table()})}
    prepared = prepare(Data(profile=True), inputs, tmp_path / "out", digests={"train": "a" * 64}, label=None, title="t")
    layout.check_same(prepared, {"train": "a" * 64})
    with pytest.raises(DataError, match=r"spec.inputs\[train\]: the data have changed since"):
        layout.check_same(prepared, {"train": "b" * 64})
