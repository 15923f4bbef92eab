"""Files that are wrong: each is refused by its name with the way out, or read right, and never a traceback."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from footplate.api.data import Data
from footplate_trainer.errors import DataError
from footplate_trainer.preparation.preparing import prepare
from footplate_trainer.preparation.report import Prepared


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def run(folder: Path, files: Mapping[str, bytes], **data: Any) -> Prepared:
    for name, content in files.items():
        path = folder / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    asked = Data.model_validate(data or {"profile": True})
    return prepare(asked, {"train": folder / "train"}, folder / "out", digests={}, label=None, title="t")


def profile(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out/profile.json").read_text())
    return found


GOOD = parquet(pa.table({"a": [1, 2, 3]}))
NOT_UTF8 = pa.array([b"\xff\xfe", b"good"]).view(pa.string())


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        pytest.param({"x.csv": b""}, r"x\.csv can't be read: Empty CSV file", id="empty CSV"),
        pytest.param({"a.csv": b"a\n1\n", "x.csv": b""}, r"x\.csv can't be read", id="one empty among others"),
        pytest.param({"x.csv": b"a,b\n"}, r"x\.csv has no rows; fill or remove it", id="header alone"),
        pytest.param({"x.parquet": b""}, r"x\.parquet can't be read: .*0 bytes", id="empty Parquet"),
        pytest.param({"x.jsonl": b""}, r"x\.jsonl can't be read", id="empty JSON lines"),
        pytest.param({"a.parquet": GOOD, "x.parquet": GOOD[:-20]}, r"x\.parquet can't be read", id="cut Parquet"),
        pytest.param(
            {"a.parquet": GOOD, "x.parquet": GOOD[:4] + b"\0" * 20 + GOOD[24:]},
            r"x\.parquet can't be read: .*Correct or remove it", id="Parquet damaged inside",
        ),
        pytest.param({"x.csv": b"a,b\n1,2\n3\n"}, r"x\.csv can't be read: row 2 has 1 cell", id="ragged"),
        pytest.param({"x.csv": b"a,a\n1,2\n"}, r"x\.csv has several columns named 'a'", id="names twice in CSV"),
        pytest.param(
            {"x.parquet": parquet(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))},
            r"x\.parquet has several columns named 'a'", id="names twice in Parquet",
        ),
        pytest.param(
            {"x.jsonl": '{"a": "ä"}\n'.encode("latin-1")}, r"x\.jsonl can't be read: line 1 isn't UTF-8",
            id="JSON lines in Latin-1",
        ),
        pytest.param(
            {"x.jsonl": '{"a": 1}\n'.encode("utf-16")}, r"x\.jsonl can't be read: line 1 isn't UTF-8", id="UTF-16"
        ),
        pytest.param(
            {"x.parquet": parquet(pa.table({"a": NOT_UTF8}))}, r"x\.parquet can't be read: .* aren't UTF-8",
            id="Parquet's texts in Latin-1",
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_named(tmp_path: Path, files: Mapping[str, bytes], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        run(tmp_path, files)


@pytest.mark.parametrize(
    ("files", "values"),
    [
        pytest.param({"a.csv": b"\xef\xbb\xbfa,b\nx,2\n"}, ["x"], id="BOM in CSV"),
        pytest.param({"a.jsonl": b'\xef\xbb\xbf{"a": "x"}\n'}, ["x"], id="BOM in JSON lines"),
        pytest.param({"a.csv": "a,b\nä,2\n".encode("latin-1")}, ["ä"], id="CSV in Latin-1"),
        pytest.param({"a.csv": b"a,b\nx\0y,2\n"}, ["x\0y"], id="NUL in CSV"),
        pytest.param({"a.jsonl": b'{"a": "x\\u0000y"}\n'}, ["x\0y"], id="NUL in JSON lines"),
    ],
)
def test_what_looks_wrong_but_can_be_read_is_read(
    tmp_path: Path, files: Mapping[str, bytes], values: list[str]
) -> None:
    run(tmp_path, files)
    column = next(each for each in profile(tmp_path)["columns"] if each["name"] == "a")
    assert [each["value"] for each in column["values"]] == values


@pytest.mark.parametrize(
    "values",
    [
        [[[1, 2], [3]], None, []],
        [{"x": 1}, {"x": None}, None],
        [[("k", 1)], [], None],
        pa.array([1, 2, None], pa.duration("s")),
        pa.array([1, 2**62 + 1, None], pa.timestamp("ns")),
        pa.array([1, 2**54, None], pa.timestamp("ms")),
        pa.array([1, 2, None], pa.float16()),
        pa.array([2**64 - 1, 0, None], pa.uint64()),
        pa.nulls(3),
    ],
)
def test_any_type_of_column_is_divided_and_described(tmp_path: Path, values: Any) -> None:
    kind = pa.map_(pa.string(), pa.int64()) if isinstance(values, list) and [("k", 1)] in values else None
    column = values if isinstance(values, pa.Array) else pa.array(values, kind)
    data = parquet(pa.table({"c": pa.concat_arrays([column] * 10), "n": range(30)}))
    cells = {"columns": [{"name": "n", "constraints": {"minimum": 0}}], "maxDuplicates": 1}
    prepared = run(tmp_path, {"a.parquet": data}, profile=True, split={"train": 0.5, "test": 0.5}, checks=cells)
    assert prepared.splits == {"train": 15, "test": 15}
    parts = [pq.read_table(path) for path in sorted((tmp_path / "out/splits").rglob("*.parquet"))]
    written = pa.concat_tables(parts).sort_by("n")["c"].combine_chunks()
    assert written.equals(pa.concat_arrays([column] * 10))


def test_a_cell_of_10_mb_is_shown_cut(tmp_path: Path) -> None:
    cells = {"columns": [{"name": "a", "constraints": {"maxLength": 5}}]}
    with pytest.raises(DataError, match="maxLength: 5 is broken once") as caught:
        run(tmp_path, {"a.csv": b"a,b\n" + b"x" * 10_000_000 + b",1\n"}, checks=cells)
    assert len(str(caught.value)) < 500
    assert (tmp_path / "out/problems.json").stat().st_size < 1000


def test_given_parts_without_one_to_train_on_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="finds rows of test, but none of train; name some so"):
        run(tmp_path, {"a.csv": b"part,n\ntest,1\ntest,2\n"}, split={"by": "given", "column": "part"})
