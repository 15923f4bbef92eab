"""What the recipe of texts reads, and what it says of data that are wrong."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from footplate_trainer.data.texts import Asked, TextSplits, TokenizedTexts, read_splits, read_texts
from footplate_trainer.data.tokens import learn_tokenizer, tokens_of
from footplate_trainer.errors import ConfigError, DataError
from text_cases import make_sentences, write_csv

ROWS = make_sentences(60)


def read(
    text: str = "text", target: str = "label", fraction: float = 0.0, max_length: int = 64, **inputs: Path
) -> TextSplits:
    fractions = {"test": fraction, "validation": fraction}
    asked = Asked(inputs=inputs, text=text, target=target, fractions=fractions, seed=0, vocabulary_size=400)
    return read_splits(asked, tokens=None, max_length=max_length)


def spoken(splits: TextSplits) -> list[tuple[str, str]]:
    """The training texts again, in lower case and without the marks of beginning and end."""
    decode = splits.tokens.tokenizer.decode
    said = [splits.train[place] for place in range(len(splits.train))]
    return [(decode(ids, skip_special_tokens=True).strip(), splits.classes[int(label)]) for ids, label in said]


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.parent


def write_texts(folder: Path, rows: list[tuple[str, str]] = ROWS) -> Path:
    for number, (text, label) in enumerate(rows):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{number:03}.txt").write_text(text)
    return folder


def test_csv(tmp_path: Path) -> None:
    splits = read(train=write_csv(tmp_path, ROWS))
    assert splits.classes == ("bad", "good")
    assert spoken(splits) == ROWS
    assert splits.notes == ()


def test_parquet_with_other_columns_and_names(tmp_path: Path) -> None:
    columns = {"id": range(60), "kind": [label for _, label in ROWS], "said": [text for text, _ in ROWS]}
    pa.parquet.write_table(pa.table(columns), tmp_path / "rows.parquet")
    assert spoken(read("said", "kind", train=tmp_path)) == ROWS


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_json_lines(tmp_path: Path, packed: bool) -> None:
    rows = [{"text": text, "label": label, "more": [1, {"a": None}]} for text, label in ROWS]
    folder = write_lines(tmp_path / "data" / "rows.jsonl", rows)
    if packed:
        (folder / "rows.jsonl.gz").write_bytes(gzip.compress((folder / "rows.jsonl").read_bytes()))
        (folder / "rows.jsonl").unlink()
    assert spoken(read(train=folder)) == ROWS


def test_labels_of_json_lines_may_be_numbers(tmp_path: Path) -> None:
    rows = [{"text": text, "label": label == "good"} for text, label in ROWS]
    assert read(train=write_lines(tmp_path / "a" / "rows.jsonl", rows)).classes == ("false", "true")
    rows = [{"text": text, "label": float(label == "good")} for text, label in ROWS]
    assert read(train=write_lines(tmp_path / "b" / "rows.jsonl", rows)).classes == ("0", "1")


@pytest.mark.parametrize("around", ["", "train", "reviews/train"])
def test_text_files_by_folder(tmp_path: Path, around: str) -> None:
    write_texts(tmp_path / around)
    (tmp_path / "README.txt").write_text("About the data.")
    splits = read(train=tmp_path)
    assert sorted(spoken(splits)) == sorted(ROWS)
    assert splits.notes == ("input train: left out, as in no class's folder: README.txt",)


def test_splits_are_named_brought_or_held_out(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_texts(tmp_path / "a" / split)
    splits = read(train=tmp_path / "a", fraction=0.1)
    assert splits.validation is not None
    assert splits.test is not None
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (54, 6, 60)
    assert splits.notes == ("input train: some files are taken for test, as named so",)
    brought = read(train=tmp_path / "a", test=write_csv(tmp_path / "b", ROWS[:7]))
    assert brought.test is not None
    assert len(brought.test) == 7


def test_a_test_without_labels_is_left_out(tmp_path: Path) -> None:
    write_csv(tmp_path, ROWS, name="train.csv")
    (tmp_path / "test.csv").write_text("text\nwho knows\n")
    splits = read(train=tmp_path)
    assert splits.test is None
    assert splits.notes == ("input train: its test data are left out, without the column 'label'",)


def test_rows_without_text_are_left_out_and_told(tmp_path: Path) -> None:
    splits = read(train=write_csv(tmp_path, [*ROWS[:5], ("", "good"), (" \t", "bad"), *ROWS[5:]]))
    assert spoken(splits) == ROWS
    (note,) = splits.notes
    assert note.startswith("input train: 2 of 62 rows are left out, without a text; the first is row 6 of ")


def test_a_text_of_ten_megabytes_takes_no_longer_than_a_page(tmp_path: Path) -> None:
    huge = [("a lovely day, " * 750_000, "good"), ("x" * 10_000_000, "bad")]
    splits = read(train=write_csv(tmp_path, [*ROWS, *huge]), max_length=16)
    assert int(splits.train.lengths[-2]) == 16
    (note,) = splits.notes
    assert note.endswith(" of 62 texts are longer than maxLength = 16 tokens: what comes after isn't read")


def test_texts_are_read_in_whatever_encoding_and_guesses_are_told(tmp_path: Path) -> None:
    write_texts(tmp_path)
    (tmp_path / "good" / "a.txt").write_bytes("déjà vu".encode("windows-1252"))
    (tmp_path / "good" / "b.txt").write_bytes("déjà vu".encode("utf-16"))
    (tmp_path / "good" / "c.txt").write_bytes("\ufeffdéjà vu".encode())
    splits = read(train=tmp_path)
    assert [text for text, _ in spoken(splits) if "vu" in text] == ["déjà vu"] * 3
    assert splits.notes == (
        "input train: 1 texts aren't UTF-8, and are read as Windows-1252 (Latin-1), such as a.txt; save them as UTF-8 "
        "if letters are wrong",
    )


def test_numbers_may_be_texts_in_csv_alone(tmp_path: Path) -> None:
    assert len(read(train=write_csv(tmp_path / "a", [(1, "x"), (22, "y"), (3, "x")])).train) == 3
    (tmp_path / "b").mkdir()
    pa.parquet.write_table(pa.table({"text": [1, 2], "label": ["a", "b"]}), tmp_path / "b" / "rows.parquet")
    with pytest.raises(DataError, match="text: the column 'text' holds int64, not texts"):
        read(train=tmp_path / "b")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param([("a", "x"), ("b", "x")], "all 2 samples are of one class", id="one class"),
        pytest.param(
            [("a", "x"), ("b", ""), ("c", "y")], "'label' is empty in 1 of 3 rows, first in row 2", id="label"
        ),
        pytest.param([("", "x"), (" ", "y")], "the column 'text' is empty in all rows", id="no texts"),
        pytest.param([("a", "x"), ("", "y")], "all 1 samples are of one class", id="one class with text"),
    ],
)
def test_rows_that_teach_nothing(tmp_path: Path, rows: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(train=write_csv(tmp_path, rows))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(b'{"text": "a", "label": ', "line 2 is no JSON", id="cut off"),
        pytest.param(b'["a", "good"]', "line 2 holds a list, not an object", id="list"),
        pytest.param(b'{"text": ["a"], "label": "good"}', "line 2: 'text' is a list, not a text", id="nested"),
        pytest.param(
            b'{"text": "d\xe9j\xe0", "label": "good"}', r"line 2 isn't UTF-8.*\(byte 12: b'\\xe9'\)", id="latin"
        ),
        pytest.param(b"[" * 100_000, "line 2 is no JSON", id="deep"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, line: bytes, message: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"text": "a", "label": "bad"}\n' + line + b"\n")
    with pytest.raises(DataError, match=rf"rows\.jsonl can't be read: {message}"):
        read(train=tmp_path)


def test_labels_that_training_lacks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="input test has classes that the training data lacks: odd"):
        read(train=write_csv(tmp_path / "a", ROWS), test=write_csv(tmp_path / "b", [("a", "odd")]))


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    folder = write_csv(tmp_path, ROWS)
    with pytest.raises(DataError, match=r"hyperparameters\.text: .* has no column 'txt'; did you mean text"):
        read("txt", train=folder)
    with pytest.raises(DataError, match=r"hyperparameters\.target: .* has no column 'class'\. It has 'text', 'label'"):
        read("text", "class", train=folder)
    with pytest.raises(ConfigError, match="text and target both name the column 'label'"):
        read("label", train=folder)


def test_folders_without_texts_or_of_unequal_depth(tmp_path: Path) -> None:
    (tmp_path / "only.txt").write_text("a")
    with pytest.raises(DataError, match=r"input train: .* holds no texts; bring .* a folder for each class"):
        read(train=tmp_path)
    write_texts(tmp_path)
    write_texts(tmp_path / "more" / "deep")
    with pytest.raises(DataError, match=r"texts in bad and in more.deep.bad, so it can't be told"):
        read(train=tmp_path)


def test_a_tokenizer_is_the_same_in_another_process() -> None:
    """Else a training that is taken up again would read other numbers for the same texts."""
    program = (
        "from text_cases import make_sentences; from footplate_trainer.data.tokens import learn_tokenizer;"
        "print(learn_tokenizer([text for text, _ in make_sentences(300)], size=500), end='')"
    )
    tests = str(Path(__file__).parents[2])
    there = subprocess.run([sys.executable, "-c", program], cwd=tests, check=True, capture_output=True, text=True)
    assert there.stdout == learn_tokenizer([text for text, _ in make_sentences(300)], size=500)


def test_batches_are_padded_to_their_longest() -> None:
    tokens = tokens_of(learn_tokenizer([text for text, _ in ROWS], size=400), 32)
    batch = tokens.batch(["a day", "a lovely day, a sad song"])
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert batch["input_ids"].shape[1] % 8 == 0
    assert batch["attention_mask"].sum(dim=1).tolist() == [
        len(ids) for ids in tokens.encode(["a day", "a lovely day, a sad song"])[0]
    ]
    assert (batch["input_ids"][batch["attention_mask"] == 0] == tokens.tokenizer.pad_token_id).all()
    assert tokens.batch(["word " * 100])["input_ids"].shape[1] == 32


def save_as_datasets_do(folder: Path, rows: list[tuple[str, int]], names: list[str]) -> None:
    """A split of `datasets.DatasetDict.save_to_disk`: a stream of Arrow, whose schema has the classes' names."""
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": names, "_type": "ClassLabel"}}
    schema = pa.schema(
        [("text", pa.string()), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    table = pa.table([[text for text, _ in rows], [label for _, label in rows]], schema=schema)
    folder.mkdir(parents=True)
    with pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(table, 10)
    (folder / "state.json").write_text("{}")
    pa.parquet.write_table(table, folder.parent / f"{folder.name}-00000-of-00001.parquet")


@pytest.mark.parametrize("kind", ["*/*.arrow", "*.parquet"], ids=["saved to disk", "as on the Hub"])
def test_hugging_faces_datasets_and_their_class_names(tmp_path: Path, kind: str) -> None:
    rows = [(text, ["good", "bad"].index(label)) for text, label in ROWS]
    for split in ("train", "test"):
        save_as_datasets_do(tmp_path / split, rows, ["good", "bad"])
    for path in {*tmp_path.rglob("*.*")} - {*tmp_path.glob(kind)}:
        path.unlink()
    splits = read(train=tmp_path)
    assert spoken(splits) == ROWS
    assert splits.test is not None
    assert len(splits.test) == 60


def test_a_number_that_names_no_class_is_a_missing_label(tmp_path: Path) -> None:
    save_as_datasets_do(tmp_path / "train", [("a", 0), ("b", 1), ("c", -1), ("d", 7)], ["good", "bad"])
    (tmp_path / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match="'label' is empty in 2 of 4 rows, first in row 3 of "):
        read(train=tmp_path)


def read_test(folder: Path, *, classes: tuple[str, ...] = ("bad", "good")) -> tuple[TokenizedTexts, tuple[str, ...]]:
    tokens = tokens_of(learn_tokenizer([text for text, _ in ROWS], size=400), 16)
    return read_texts(folder, tokens=tokens, text="text", target="label", classes=classes)


@pytest.mark.parametrize("kind", ["csv", "lines", "folders"])
def test_texts_are_read_as_a_model_takes_them(tmp_path: Path, kind: str) -> None:
    if kind == "csv":
        write_csv(tmp_path, [*ROWS, ("", "good")])
    elif kind == "lines":
        write_lines(tmp_path / "rows.jsonl", [{"text": text, "label": label} for text, label in [*ROWS, (" ", "bad")]])
    else:
        write_texts(tmp_path, sorted(ROWS, key=lambda row: row[1]))
    texts, notes = read_test(tmp_path, classes=("other", "good", "bad"))
    assert len(texts) == len(ROWS)
    expected = [{"good": 1, "bad": 2}[label] for _, label in ROWS]
    assert sorted(texts.labels.tolist()) == sorted(expected)
    assert kind == "folders" or texts.labels.tolist() == expected, "in the order of the file"
    left_out = [note for note in notes if "1 of 61 rows are left out, without a text; the first is row 61" in note]
    assert len(left_out) == (kind != "folders")


def test_what_is_wrong_with_texts_to_evaluate_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="input test has classes that the training data lacks: good"):
        read_test(write_csv(tmp_path / "a", ROWS), classes=("bad", "neutral"))
    with pytest.raises(DataError, match="input test: the column 'text' is empty in all rows"):
        read_test(write_csv(tmp_path / "b", [("", "good"), (" ", "bad")]))
    with pytest.raises(DataError, match=r"input test: .* holds no texts; bring CSV"):
        read_test(tmp_path / "nowhere")


def test_huge_texts_and_mixed_encodings_are_evaluated_and_told(tmp_path: Path) -> None:
    texts, (note,) = read_test(write_csv(tmp_path / "huge", [("x " * 5_000_000, "bad"), ("a sad day", "bad")]))
    assert int(texts.lengths[0]) == 16
    assert note == "1 of 2 texts are longer than maxLength = 16 tokens: what comes after isn't read"
    (tmp_path / "mixed").mkdir()
    rows = [b"text,label", "d\u00e9j\u00e0 vu,good".encode(), "d\u00e9j\u00e0 vu,bad".encode("windows-1252")]
    (tmp_path / "mixed" / "rows.csv").write_bytes(b"\n".join(rows))
    texts, (note,) = read_test(tmp_path / "mixed")
    assert len(texts) == 2
    assert note == "rows.csv: isn't UTF-8, read as Windows-1252 (Latin-1); save it as UTF-8 if letters are wrong"
