"""What a recipe would refuse of data is told by whoever prepares them, by file and row of the user's own."""

import json
import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from footplate.api.data import Data
from footplate_trainer.data.records import Reader
from footplate_trainer.errors import DataError
from footplate_trainer.preparation.learning import wanted_by
from footplate_trainer.preparation.preparing import prepare
from footplate_trainer.preparation.report import Prepared

TEXTS, LANGUAGE = "text-classification", "language-model"
CLASSES: tuple[str, dict[str, Any]] = "tabular-classification", {"target": "label"}
NUMBERS: tuple[str, dict[str, Any]] = "tabular-regression", {"target": "price"}
RANDOM = {"train": 0.5, "test": 0.5}


def run(
    folder: Path, files: Mapping[str, str], recipe: str, hyperparameters: dict[str, Any], split: dict[str, Any] | None
) -> Prepared:
    for name, text in files.items():
        path = folder / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    data = Data.model_validate({"split": split, "profile": True})
    wanted = wanted_by(recipe, hyperparameters)
    inputs = {"train": folder / "train"}
    return prepare(data, inputs, folder / "out", digests={}, label=None, wanted=wanted, title="t")


def refused(folder: Path, files: Mapping[str, str], recipe: str, hyperparameters: dict[str, Any], **split: Any) -> str:
    with pytest.raises(DataError) as caught:
        run(folder, files, recipe, hyperparameters, split or RANDOM)
    assert not (folder / "out/prepared.json").exists()
    return str(caught.value)


def texts(*labels: str) -> str:
    return "".join(["text,label\n", *(f"words {number},{label}\n" for number, label in enumerate(labels))])


def records_of(path: Path) -> list[Any]:
    return [record for _, record in Reader().read(path)]


CALLS = [{"name": name, "arguments": {name: "x"} if name else {}} for name in ("city", "zone", "")]
RECORDS: dict[str, list[dict[str, Any]]] = {
    "chats": [
        {"messages": [{"role": "user", "content": f"é {n}"}, {"role": "assistant", "content": "\ta\n"}], "meta": {}}
        for n in range(9)
    ],
    "dates": [{"prompt": f"when {n}?", "completion": f"2026-01-0{n + 1}"} for n in range(9)],
    "tools": [
        {
            "messages": [
                {"role": "user", "content": f"{n}"},
                {"role": "assistant", "content": None, "tool_calls": [CALLS[n % 3]]},
                {"role": "assistant", "content": "a"},
            ],
            "tools": [{"name": name, "parameters": {name: {"type": "string"}}} for name in ("city", "zone")],
        }
        for n in range(9)
    ],
}


@pytest.mark.parametrize("kind", RECORDS)
def test_records_of_a_language_model_are_the_same_in_the_parts(tmp_path: Path, kind: str) -> None:
    """In columns a text that says a day is a date, and a call has the arguments of all others."""
    lines = [json.dumps(row) + "\n" for row in RECORDS[kind]]
    files = {"a.jsonl": "".join(lines[:4]), "b.jsonl": "\n".join(lines[4:])}
    found = run(tmp_path, files, LANGUAGE, {}, RANDOM)
    assert [file.path for file in found.files] == ["splits/test/data.jsonl", "splits/train/data.jsonl"]
    expected = [*records_of(tmp_path / "train/a.jsonl"), *records_of(tmp_path / "train/b.jsonl")]
    parts = {part: records_of(tmp_path / f"out/splits/{part}/data.jsonl") for part in found.splits}
    assert {part: len(records) for part, records in parts.items()} == found.splits
    assert sorted(map(repr, chain(*parts.values()))) == sorted(map(repr, expected))
    for records in parts.values():
        assert records == [record for record in expected if record in records], "in their order"


def test_texts_that_say_a_day_are_texts_in_the_parts(tmp_path: Path) -> None:
    rows = [{"text": f"2026-01-0{n + 1}", "label": "ab"[n % 2]} for n in range(8)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    found = run(tmp_path, {"a.jsonl": lines}, TEXTS, {}, {**RANDOM, "by": "stratified", "column": "label"})
    parts = [(tmp_path / "out" / file.path).read_text().splitlines() for file in found.files]
    assert sorted(chain(*parts)) == sorted(lines.splitlines())


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", '{"text": "a"}\n' * 4 + '{"txt": "b"}\n', "a.jsonl, line 5: has no 'text', and the first record"),
        ("a.jsonl", '{"message": []}\n' * 4, "line 1: has the keys 'message'; a record has messages"),
        ("a.csv", "text\na\nb\n", "reads JSON lines, Parquet or Feather files, and .*a.csv is none"),
        ("a/a.txt", "a b c", "reads JSON lines, Parquet or Feather files, and the inputs hold none"),
    ],
)
def test_records_that_the_recipe_refuses_are_told_by_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    found = refused(tmp_path, {name: text, name.replace("a.txt", "b.txt"): text}, LANGUAGE, {})
    assert re.search(said, found), found


def test_objects_without_keys_are_no_parquet_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the parts are Parquet files, which can't hold such data: .*'meta'"):
        run(tmp_path, {"a.jsonl": '{"a": 1, "meta": {}}\n' * 4}, "evaluate", {}, RANDOM)


def test_data_that_can_be_learnt_from_are_prepared(tmp_path: Path) -> None:
    found = run(tmp_path, {"a.csv": texts(*"ababababab")}, TEXTS, {}, {**RANDOM, "by": "stratified", "column": "label"})
    assert sum(found.splits.values()) == found.rows == 10


@pytest.mark.parametrize(
    ("recipe", "hyperparameters", "said"),
    [
        (TEXTS, {}, "hyperparameters.text: the data have no column 'text'; did you mean Text? It has 'Text', 'mood'"),
        (TEXTS, {"text": "Text"}, "hyperparameters.target: the data have no column 'label'. It has 'Text', 'mood'"),
        (*CLASSES, "hyperparameters.target: the training data has no column 'label'. It has 'Text', 'mood'"),
        (
            "tabular-classification",
            {"target": "mood", "ignore": ["id"]},
            "hyperparameters.ignore: the training data has",
        ),
    ],
)
def test_a_column_that_the_recipe_needs_is_not_there(
    tmp_path: Path, recipe: str, hyperparameters: dict[str, Any], said: str
) -> None:
    assert said in refused(
        tmp_path, {"a.csv": texts(*"abab").replace("text,label", "Text,mood")}, recipe, hyperparameters
    )


@pytest.mark.parametrize("recipe", [(TEXTS, {}), CLASSES])
def test_a_row_without_a_class_is_named_as_the_user_has_it(tmp_path: Path, recipe: tuple[str, dict[str, Any]]) -> None:
    files = {"a.csv": texts(*"abab"), "b.csv": texts("a", "", "b", "a")}
    said = refused(tmp_path, files, *recipe)
    assert "'label' is empty in 1 of" in said
    assert "row 2 of train/b.csv" in said


def test_one_class_alone(tmp_path: Path) -> None:
    assert "a classifier needs at least two" in refused(tmp_path, {"a.csv": texts(*"aaaaaa")}, TEXTS, {})


def test_a_class_that_the_split_has_left_out_of_train(tmp_path: Path) -> None:
    by_time = "text,label,day\n" + "".join(f"w{n},{label},{n}\n" for n, label in enumerate("ababcc"))
    said = refused(tmp_path, {"a.csv": by_time}, TEXTS, {}, by="time", column="day", train=0.5, test=0.5)
    assert said == (
        "the test data have classes in column 'label' that the training data lack: 'c' (2 rows); a model can't know "
        "what it was not trained on. Say data.split: {by: stratified, column: label}, or bring rows of them to train "
        "on, or take them out"
    )


def test_a_class_that_given_parts_leave_out_of_train(tmp_path: Path) -> None:
    files = {"train.csv": texts(*"abab"), "test.csv": texts(*"abc")}
    said = refused(tmp_path, files, *CLASSES, by="given")
    assert said.endswith("was not trained on. Bring rows of them to train on, or take them out")


def test_a_quantity_that_is_no_number_in_a_later_part(tmp_path: Path) -> None:
    rows = {"train.csv": "a,price\n1,2.5\n2,3\n", "test.csv": "a,price\n3,4\n4,cheap\n"}
    said = refused(tmp_path, rows, *NUMBERS, by="given")
    assert "'cheap' in row 2 of train/test.csv" in said


def test_pictures_by_folder(tmp_path: Path) -> None:
    for name in ("train/cat", "train/dog", "test/cat", "test/emu"):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("L", (4, 4), len(name)).save(tmp_path / "train" / name / "1.png")
    said = refused(tmp_path, {}, "image-classification", {}, by="given")
    assert "the test data have classes in column 'class' that the training data lack: 'emu' (1 row)" in said


@pytest.mark.parametrize("recipe", [None, "evaluate", "image-classification"])
def test_where_no_recipe_learns_from_the_table_nothing_is_wanted_of_it(tmp_path: Path, recipe: str | None) -> None:
    assert run(tmp_path, {"a.csv": texts(*"aaaa")}, recipe or "", {}, RANDOM).rows == 4
