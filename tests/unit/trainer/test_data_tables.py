"""Tables as people have them: each is read right, or refused with the file, row or column and the way out."""

import codecs
import datetime
import decimal
import gzip
import lzma
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch

from footplate_trainer.data import table_csv, table_dialect, table_files, table_parts
from footplate_trainer.data.tables import TableSplits, read_splits
from footplate_trainer.errors import DataError

Make = Callable[[Path], None]


def put(name: str, content: str | bytes) -> Make:
    """A file of this content."""

    def make(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def csv(content: str | bytes) -> Make:
    return put("rows.csv", content)


def cells(*values: str, sign: str = ",") -> Make:
    """A column x of these cells beside a class that alternates."""
    return csv(f"x{sign}y\n" + "".join(f"{value}{sign}{'ab'[place % 2]}\n" for place, value in enumerate(values)))


def arrow(values: Any, target: Any = ("a", "b"), *, name: str = "rows.parquet") -> Make:
    """A column x of these values, and the classes."""

    def make(folder: Path) -> None:
        table = pa.table({"x": values, "y": target if isinstance(target, pa.Array) else list(target)})
        if name.endswith(".parquet"):
            pa.parquet.write_table(table, folder / name)
        else:
            pa.feather.write_feather(table, folder / name)

    return make


def both(*makes: Make) -> Make:
    def make(folder: Path) -> None:
        for one in makes:
            one(folder)

    return make


NAN = float("nan")
TABLE = "x,y\n1,a\n2.5,b\n"
RIGHT = [[1.0], [2.5]]


@dataclass(frozen=True)
class Good:
    """What is made of the input, and what is said of it."""

    make: Make
    rows: list[list[float]]
    said: tuple[str, ...] = ()
    classes: tuple[str, ...] = ("a", "b")
    categories: tuple[str, ...] | None = None
    labels: list[int] | None = None
    test: list[list[float]] | None = None


@dataclass(frozen=True)
class Bad:
    """What is said where the input is refused."""

    make: Make
    message: str


UTC = datetime.UTC
DAY = datetime.datetime(1970, 1, 2, 1, tzinfo=UTC)
GOOD: dict[str, Good] = {
    # How text files are written
    "comma": Good(csv(TABLE), RIGHT),
    "byte order mark": Good(csv(codecs.BOM_UTF8 + TABLE.encode()), RIGHT),
    "UTF-16, as Excel saves it": Good(csv(TABLE.encode("utf-16")), RIGHT),
    "UTF-16, big end first": Good(csv(codecs.BOM_UTF16_BE + TABLE.encode("utf-16-be")), RIGHT),
    "UTF-16 without a mark": Good(csv(TABLE.encode("utf-16-le")), RIGHT),
    "UTF-16 with tabs": Good(csv(TABLE.replace(",", "\t").encode("utf-16")), RIGHT),
    "Latin-1": Good(
        csv("x,y\n1,é\n2.5,ß\n".encode("latin-1")),
        RIGHT,
        ("isn't UTF-8, read as Windows-1252",),
        ("ß", "é"),
        labels=[1, 0],
    ),
    "Latin-1 far down": Good(
        csv(("x,y\n" + "1,a\n" * 40_000).encode() + "2,é\n".encode("latin-1")),
        [[1.0]] * 40_000 + [[2.0]],
        ("isn't UTF-8",),
        ("a", "é"),
        labels=[0] * 40_000 + [1],
    ),
    "Latin-1 in the header": Good(csv("ä,y\n1,a\n2.5,b\n".encode("latin-1")), RIGHT, ("isn't UTF-8",)),
    "euro signs of Windows": Good(
        csv("x,y\n1 €,a\n2.5 €,b\n".encode("cp1252")), RIGHT, ("isn't UTF-8", "such as '1 €' as 1")
    ),
    "other letters": Good(csv("größe,y\n1,猫\n2.5,ñandú\n"), RIGHT, classes=("ñandú", "猫"), labels=[1, 0]),
    "semicolons": Good(cells("1", "2.5", sign=";"), RIGHT),
    "semicolons and decimal commas": Good(cells("1,0", "2,5", sign=";"), RIGHT, ("such as '1,0' as 1",)),
    "tabs": Good(cells("1", "2.5", sign="\t"), RIGHT),
    "tabs in a .tsv": Good(put("rows.tsv", TABLE.replace(",", "\t")), RIGHT),
    "pipes": Good(cells("1", "2.5", sign="|"), RIGHT),
    "a delimiter in each cell": Good(csv("x,y,z\n1,a,p;q\n2.5,b,p;q\n"), [[1, 1], [2.5, 1]]),
    "a delimiter that Excel names": Good(csv("sep=;\nx;y\n1;a\n2.5;b\n"), RIGHT),
    "CRLF": Good(csv(TABLE.replace("\n", "\r\n")), RIGHT),
    "CR": Good(csv(TABLE.replace("\n", "\r")), RIGHT),
    "empty lines": Good(csv(TABLE.replace("\n", "\n\n")), RIGHT),
    "no line end": Good(csv(TABLE.rstrip()), RIGHT),
    "line ends in quotes": Good(csv('t,y\n"p\nq",a\n"p\r\nq, r",b\n'), [[1], [2]], categories=("p\nq", "p\r\nq, r")),
    "quotes in quotes": Good(csv('t,y\n"p ""q""",a\np,b\n'), [[2], [1]], categories=("p", 'p "q"')),
    "a quote in a cell": Good(csv('t,y\n5" pipe,a\np,b\n'), [[1], [2]], categories=('5" pipe', "p")),
    "everything in quotes": Good(csv('"x","y"\n"1","a"\n"2.5","b"\n'), RIGHT),
    "blanks around names": Good(csv("x, y \n1,a\n2.5,b\n"), RIGHT),
    "columns without names at the end": Good(
        csv("x,y,,\n1,a,,\n2.5,b,,\n"), RIGHT, ("without name and values are left out",)
    ),
    "gzip": Good(put("rows.csv.gz", gzip.compress(TABLE.encode())), RIGHT),
    "gzip, upper case": Good(put("ROWS.CSV.GZ", gzip.compress(TABLE.encode())), RIGHT),
    "gzip by another name": Good(csv(gzip.compress(TABLE.encode())), RIGHT),
    "unpacked by its name": Good(put("rows.csv.gz", TABLE), RIGHT),
    "Zstandard": Good(put("rows.csv.zst", pa.Codec("zstd").compress(TABLE.encode(), asbytes=True)), RIGHT),
    "names with blanks and letters": Good(put("mes données/año 1 (copy).csv", TABLE), RIGHT),
    # Numbers, words and dates
    "thousands": Good(cells('"1,234"', '"12,345.5"'), [[1234], [12345.5]], ("'1,234' as 1234",)),
    "percent": Good(cells("5%", "12.5%"), [[5], [12.5]], ("as 5",)),
    "currency": Good(cells("$3", "-$4.50"), [[3], [-4.5]], ("as 3",)),
    "exponents": Good(cells("1e3", "-2.5E-1"), [[1000], [-0.25]]),
    "missing": Good(
        cells("1", "", "NA", "n/a", "NULL", "nan", "#N/A", "?"), [[1]] + [[NAN]] * 7, ("texts read as numbers",)
    ),
    "not a number": Good(cells("1", "NaN"), [[1], [NAN]]),
    "true and false": Good(cells("true", "false", "TRUE", "False"), [[1], [0], [1], [0]]),
    "yes and no": Good(cells("yes", "no"), [[2], [1]], categories=("no", "yes")),
    "mixed": Good(
        cells("1", "2", "many"), [[1], [2], [3]], ("'many' is none: each text counts",), categories=("1", "2", "many")
    ),
    "days": Good(cells("1970-01-02", "2026-11-29"), [[86400, 1, 5], [1795910400, 11, 7]], ("dates become time",)),
    "zones that differ": Good(
        cells("1970-01-02T02:00:00+01:00", "1970-01-02T01:00:00Z"), [[90000, 1, 5, 2]] * 2, ("dates become",)
    ),
    "dates of another kind": Good(
        cells("11/29/2026", "11/30/2026"),
        [[1], [2]],
        ("write them as 2026-11-29",),
        categories=("11/29/2026", "11/30/2026"),
    ),
    "an id": Good(csv("PassengerId,y\n1,a\n2,b\n"), [[1], [2]], ("'PassengerId': looks like an id",)),
    "a constant": Good(cells("7", "7"), [[7], [7]]),
    "leading zeros": Good(
        arrow(["007", "010"]), [[1], [2]], ("with leading zeros are read as codes",), categories=("007", "010")
    ),
    "leading zeros, CSV": Good(
        cells("007", "010"), [[1], [2]], ("with leading zeros are read as codes",), categories=("007", "010")
    ),
    "some leading zeros": Good(
        cells("01234", "90210", "80331"),
        [[1], [3], [2]],
        ("'01234' is none: each text counts",),
        categories=("01234", "80331", "90210"),
    ),
    "leading zeros as classes": Good(
        csv("x,y\n1,01\n2,1\n3,10\n"), [[1], [2], [3]], classes=("01", "1", "10"), labels=[0, 1, 2]
    ),
    "nothing but zero, and fractions": Good(cells("0", "00.5"), [[0], [0.5]]),
    # What Arrow stores
    "decimal": Good(arrow([decimal.Decimal(1), decimal.Decimal("2.5")]), RIGHT),
    "half": Good(arrow(pa.array([1, 2.5], pa.float16())), RIGHT),
    "unsigned": Good(arrow(pa.array([1, 2], pa.uint64())), [[1], [2]]),
    "booleans": Good(arrow([True, False]), [[1], [0]]),
    "dictionary of texts": Good(arrow(pa.array(["q", "p"]).dictionary_encode()), [[2], [1]], categories=("p", "q")),
    "dictionary of numbers": Good(arrow(pa.array([1, 2.5]).dictionary_encode()), RIGHT),
    "dictionary as target": Good(arrow([1, 2.5], pa.array(["b", "a"]).dictionary_encode()), RIGHT, labels=[1, 0]),
    "large texts": Good(arrow(pa.array(["q", "p"], pa.large_string())), [[2], [1]], categories=("p", "q")),
    "text views": Good(arrow(pa.array(["q", "p"], pa.string_view())), [[2], [1]], categories=("p", "q")),
    "runs": Good(arrow(pa.RunEndEncodedArray.from_arrays([1, 2], [1.0, 2.5]), name="rows.arrow"), RIGHT),
    "date64": Good(arrow(pa.array([DAY.date()] * 2, pa.date64())), [[86400, 1, 5]] * 2, ("dates become",)),
    "nanoseconds": Good(
        arrow(pa.array([90000 * 10**9] * 2, pa.timestamp("ns"))), [[90000, 1, 5, 2]] * 2, ("dates become",)
    ),
    "a zone": Good(
        arrow(pa.array([DAY] * 2, pa.timestamp("ms", "Asia/Tokyo"))), [[90000, 1, 5, 2]] * 2, ("dates become",)
    ),
    "Feather": Good(arrow([1, 2.5], name="rows.feather"), RIGHT),
    ".arrow": Good(arrow([1, 2.5], name="rows.arrow"), RIGHT),
    "decimals as classes": Good(
        arrow([1, 2.5], [decimal.Decimal("2.00"), decimal.Decimal("1.00")]), RIGHT, classes=("1", "2"), labels=[1, 0]
    ),
    "booleans as classes": Good(arrow([1, 2.5], [True, False]), RIGHT, classes=("False", "True"), labels=[1, 0]),
    "blanks around classes": Good(csv("x,y\n1, a\n2.5,b \n"), RIGHT),
    "classes that differ in case": Good(
        csv("x,y\n1,Yes\n2.5,yes\n"), RIGHT, ("'Yes' and 'yes' differ in case",), ("Yes", "yes")
    ),
    "a class that may be none": Good(
        csv("x,y\n1,a\n2.5,NA\n"), RIGHT, ("'NA' counts as a class; if",), ("NA", "a"), labels=[1, 0]
    ),
    # Several files
    "another order of columns": Good(
        both(put("1.csv", TABLE), put("2.csv", "y,x\na,3\n")), [*RIGHT, [3.0]], labels=[0, 1, 0]
    ),
    "whole numbers, then fractions": Good(both(put("1.csv", "x,y\n1,a\n"), put("2.csv", "x,y\n2.5,b\n")), RIGHT),
    "a question mark in a later file": Good(
        both(put("1.csv", TABLE), put("2.csv", "x,y\n?,a\n")),
        [*RIGHT, [NAN]],
        ("texts read as numbers",),
        labels=[0, 1, 0],
    ),
    "a word in a later file": Good(
        both(put("1.csv", "x,y\n1,a\n2,b\n"), put("2.csv", "x,y\nfew,a\n")),
        [[1], [2], [3]],
        ("'few' is none",),
        categories=("1", "2", "few"),
        labels=[0, 1, 0],
    ),
    "an empty column in one file": Good(both(put("1.csv", "x,y\n,a\n"), put("2.csv", "x,y\n2.5,b\n")), [[NAN], [2.5]]),
    "CSV and Parquet": Good(both(put("1.csv", TABLE), arrow([3, 4])), [*RIGHT, [3], [4]], labels=[0, 1, 0, 1]),
    "other files": Good(
        both(csv(TABLE), put("rows.xlsx", b"PK"), put("README.md", "")),
        RIGHT,
        ("left out, as no CSV, TSV, JSON lines, Parquet or Feather files: README.md, rows.xlsx",),
    ),
    "hidden copies": Good(both(csv(TABLE), put("._rows.csv", b"\0\5"), put("__MACOSX/._rows.csv", b"\0\5")), RIGHT),
    "a test beside": Good(
        both(put("train.csv", TABLE), put("test.csv", TABLE)), RIGHT, ("test.csv taken for test",), test=RIGHT
    ),
    "a test without the target": Good(
        both(put("train.csv", TABLE), put("test.csv", "x\n1\n")),
        RIGHT,
        ("test.csv left out, without the target column 'y'",),
    ),
    "as Kaggle has them": Good(
        both(put("train.csv", TABLE), put("test.csv", "x\n1\n"), put("sample_submission.csv", "id,y\n1,a\n")),
        RIGHT,
        ("as other files are named as splits: sample_submission.csv", "test.csv left out"),
    ),
    "a test with more columns": Good(
        both(put("train.csv", TABLE), put("test.csv", "x,z,y\n1,5,a\n2.5,5,b\n")),
        RIGHT,
        ("taken for test", "columns left out that the training data hasn't: 'z'"),
        test=RIGHT,
    ),
}


def test_a_column_that_was_left_out_of_training_is_no_news_in_other_splits(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text(
            "".join([",x,id,y\n", *(f"{n},{n / 7},k{n},{'ab'[n % 2]}\n" for n in range(9))])
        )
    splits = read_splits({"train": tmp_path}, target="y", ignore=["id"], validation_fraction=0, test_fraction=0, seed=0)
    assert not [note for note in splits.notes if "columns left out that" in note]


SMALL = [case for case in GOOD if len(GOOD[case].rows) < 100]


@pytest.mark.parametrize("case", SMALL)
def test_blocks_make_no_difference(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in blocks that end anywhere behind the header: in a row, a cell of several lines, a letter."""
    GOOD[case].make(tmp_path)
    whole = read(tmp_path)
    monkeypatch.setattr(table_csv, "BLOCK_BYTES", 16)
    monkeypatch.setattr(table_dialect, "CHUNK_BYTES", 3)
    monkeypatch.setattr(table_files, "BATCH_ROWS", 1)
    parts = read(tmp_path)
    assert (parts.columns, parts.classes, parts.notes) == (whole.columns, whole.classes, whole.notes)
    assert torch.equal(parts.train.labels, whole.train.labels)
    torch.testing.assert_close(parts.train.columns, whole.train.columns, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("cells_", "kind"),
    [
        (["1"] * 50 + ["2.5"], pa.float64()),
        (["1", "0"] * 20 + ["true"], pa.bool_()),
        (["2026-01-01"] * 50 + ["2026-01-01 10:00:00"], pa.timestamp("s")),
        (["2026-01-01"] * 50 + ["1"], pa.string()),
        ([""] * 50 + ["1"], pa.int64()),
        ([""] * 50, pa.null()),
        (["1"] * 50 + ["few"], pa.string()),
    ],
)
def test_a_type_holds_for_all_cells(cells_: list[str], kind: pa.DataType, tmp_path: Path) -> None:
    """As pyarrow finds it where it reads all of the file at once."""
    cells(*cells_)(tmp_path)
    path = tmp_path / "rows.csv"
    fitting = table_csv._survey(path, table_dialect.find_dialect(path), 64).fitting
    assert table_csv.type_of(fitting[0]) == kind == pa.csv.read_csv(path).schema.types[0]


def test_common_texts_are_found_among_more_than_can_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_parts, "HELD_BYTES", 2000 * table_parts.TEXT_BYTES)
    cells(*(text for number in range(5000) for text in ("often", f"once {number}")))(tmp_path)
    splits = read(tmp_path)
    categories = splits.columns[0].categories or ()
    assert "often" in categories
    said = rf"of 4,097 or more different texts the {len(categories):,} commonest are told apart"
    assert re.search(said, splits.notes[0])


def test_texts_of_which_each_row_has_its_own_are_left_out_however_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_parts, "HELD_BYTES", 2000 * table_parts.TEXT_BYTES)
    csv("x,t,y\n" + "".join(f"{place},text {place},{'ab'[place % 2]}\n" for place in range(5000)))(tmp_path)
    splits = read(tmp_path)
    assert [column.name for column in splits.columns] == ["x"]
    assert splits.notes == ("column 't': left out, as nearly each row has a text of its own, as names and ids are",)


@pytest.mark.parametrize("case", GOOD)
def test_read_right(case: str, tmp_path: Path) -> None:
    good = GOOD[case]
    good.make(tmp_path)
    splits = read(tmp_path)
    torch.testing.assert_close(splits.train.columns, torch.tensor(good.rows, dtype=torch.float32), equal_nan=True)
    assert splits.classes == good.classes
    assert splits.train.labels.tolist() == (good.labels or [place % 2 for place in range(len(good.rows))])
    if good.categories is not None:
        assert splits.columns[0].categories == good.categories
    assert (None if splits.test is None else splits.test.columns.tolist()) == good.test
    assert len(splits.notes) == len(good.said), splits.notes
    assert all(any(part in note for note in splits.notes) for part in good.said), splits.notes


def read(folder: Path) -> TableSplits:
    return read_splits({"train": folder}, target="y", ignore=(), validation_fraction=0, test_fraction=0, seed=0)


BAD: dict[str, Bad] = {
    "no header": Bad(
        csv("1.5,2,a\n2.5,3,b\n"), "no column 'y'. It has '1.5', '2', 'a'. Its first line looks like data: add"
    ),
    "no header, cells alike": Bad(csv("1,1,1,a\n2,3,4,b\n"), "several columns named '1'.*first line looks like data"),
    "headers twice": Bad(csv("x,x,y\n1,2,a\n"), r"rows\.csv has several columns named 'x'; give each its own name$"),
    "a cell too many": Bad(
        csv("x,y\n1,a\n2,b,\n"),
        r"rows\.csv can't be read: row 2 has 3 cells, where the header has 2: '2,b,'\. A text with ',' in it stands in",
    ),
    "a cell too few": Bad(csv("x,y\n1,a\n2\n"), "row 2 has 1 cell, where the header has 2: '2'"),
    "a cell too many behind cells of many lines": Bad(
        csv('x,y\n1,"a\nb"\n\n2,b\n3,"c",\n'), "row 3 has 3 cells, where the header has 2: '3,c,'"
    ),
    "the header once more": Bad(
        csv(f"{TABLE}{TABLE}"), r"rows\.csv can't be read: row 3 is the header once more, .*Correct or remove it"
    ),
    "a spreadsheet by another name": Bad(csv(b"PK\3\4\x14\0"), "can't be read: it is a zip archive or a spreadsheet"),
    "Parquet by another name": Bad(csv(b"PAR1\x15\4"), "it is a Parquet file; let its name end in .parquet"),
    "xz": Bad(csv(lzma.compress(TABLE.encode())), "it is packed by xz; pack it by gzip"),
    "UTF-32": Bad(csv(TABLE.encode("utf-32")), "it is UTF-32; save it as UTF-8"),
    "Shift JIS": Bad(
        csv("x,y\n東京,a\n大阪,b\n".encode("shift_jis")), "neither UTF-8, UTF-16 nor .*; save it as UTF-8"
    ),
    "a quote without an end": Bad(
        csv('x,y\n1,"a\n2,b\n'), r"rows\.csv can't be read: the quote that is opened in row 1 is never closed"
    ),
    "infinite": Bad(cells("inf", "1"), "'x' of the training data has infinite values"),
    "minus infinity": Bad(cells("-Infinity", "1"), "'x' of the training data has infinite values"),
    "too large": Bad(cells("1e39", "1"), "'x' of the training data has infinite values, or some beyond"),
    "clock times": Bad(
        cells("10:00:00", "11:00:00"), "'x' of the training data is of type time32.*Convert it, or name"
    ),
    "lists": Bad(arrow([[1], [2]]), "'x' of the training data is of type list<.*Convert it, or name it"),
    "structs": Bad(arrow([{"p": 1}, {"p": 2}]), "'x' of the training data is of type struct<"),
    "bytes": Bad(arrow([b"1", b"2"]), "'x' of the training data is of type binary"),
    "durations": Bad(arrow(pa.array([1, 2], pa.duration("s"))), r"'x' of the training data is of type duration"),
    "maps": Bad(arrow(pa.array([[("p", 1)], []], pa.map_(pa.string(), pa.int64()))), "is of type map<"),
    "large ids": Bad(arrow([2**53 + 1, 2**60]), "'x' should hold numbers: .*if it holds ids, name it in"),
    "several classes a row": Bad(
        arrow([1, 2], [["a"], ["a", "b"]]), "target column 'y' is of type list<.*Several classes a row aren't learnt"
    ),
    "bytes as classes": Bad(arrow([1, 2], [b"a", b"b"]), "target column 'y' is of type binary; each row has one class"),
    "quantities": Bad(
        csv("x,y\n" + "".join(f"1,{place / 7}\n" for place in range(100))),
        "fractions among them: quantities, not classes",
    ),
    "an empty class": Bad(csv("x,y\n1,a\n2,\n3,b\n"), r"'y' is empty in 1 of 3 rows, first in row 2 of .*rows\.csv"),
    "an empty class in a later file": Bad(
        both(put("1.csv", TABLE), put("2.csv", "x,y\n3,\n")), r"first in row 1 of .*2\.csv; fill"
    ),
    "one class": Bad(cells("1"), "all 1 samples are of one class"),
    "only a target": Bad(csv("y\na\nb\n"), "no column besides the target"),
    "nothing left": Bad(cells("", ""), "no column is left to learn from; column 'x': left out, without values"),
    "a column that one file lacks": Bad(
        both(put("1.csv", TABLE), put("2.csv", "z,y\n1,a\n")), r"2\.csv lacks the columns 'x' that .*1\.csv has; make"
    ),
    "a column that one file has": Bad(
        both(put("1.csv", TABLE), put("2.csv", "x,z,y\n1,2,a\n")),
        r"2\.csv has the columns 'z' that .*1\.csv lacks; make",
    ),
    "types that don't fit": Bad(
        both(put("1.csv", TABLE), arrow(["p", "q"], name="2.feather"), arrow([1, 2], name="3.feather")),
        r"'x' is string in .*1\.csv, but int64 in .*3\.feather; convert",
    ),
    "an empty file": Bad(csv(""), r"rows\.csv can't be read: Empty CSV"),
    "a header alone": Bad(csv("x,y\n"), r"rows\.csv has no rows; fill or remove it"),
    "gzip that is cut": Bad(
        put("rows.csv.gz", gzip.compress(TABLE.encode() * 99)[:-9]),
        r"rows\.csv\.gz can't be read: .*Correct or remove it",
    ),
    "Parquet that is cut": Bad(put("rows.parquet", b"PAR1"), r"rows\.parquet can't be read: .*Correct or remove it"),
    "Feather that is none": Bad(put("rows.feather", b"x" * 99), r"rows\.feather can't be read"),
    "a spreadsheet": Bad(put("rows.xlsx", b"PK"), "holds no CSV, TSV, JSON lines, Parquet or Feather files"),
    "a test of another class": Bad(
        both(put("train.csv", TABLE), put("test.csv", "x,y\n1,c\n")),
        "input test has classes that the training data lacks: c",
    ),
    "a test with words for numbers": Bad(
        both(put("train.csv", TABLE), put("test.csv", "x,y\nfew,a\n")), "'x' should hold numbers"
    ),
    "a test with numbers for dates": Bad(
        both(put("train.csv", "x,y\n2026-01-01,a\n2026-01-02,b\n"), put("test.csv", "x,y\n5,a\n")),
        "'x' should hold dates: the training data write them as dates, these are int64",
    ),
    "a link to nothing": Bad(
        lambda folder: (folder / "rows.csv").symlink_to(folder / "gone.csv"),
        r"rows\.csv can't be read: .*[Nn]o such file",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_refused_with_the_place_and_the_way_out(case: str, tmp_path: Path) -> None:
    BAD[case].make(tmp_path)
    with pytest.raises(DataError, match=BAD[case].message):
        read(tmp_path)
