"""Checks by Frictionless' words: all violations are counted, the first ten are shown with file, row and value."""

from collections.abc import Sequence
from datetime import date, datetime

import pyarrow as pa
import pytest

from footplate.api.data_checks import Checks, ColumnCheck
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.preparation.checking import check, check_column, words
from footplate_trainer.preparation.report import Violation


def locate(row: int) -> tuple[str, int]:
    return "train/a.csv", row + 1


def rows(values: Sequence[object] | pa.Array, **asked: object) -> dict[str, list[int]]:
    """The rows that break each rule, from 1."""
    array = values if isinstance(values, pa.Array) else pa.array(values)
    found = check_column(pa.chunked_array([array]), ColumnCheck.model_validate({"name": "c", **asked}), locate)
    assert all(each.count == len(each.examples) for each in found)
    return {each.rule: [example.row for example in each.examples] for each in found}


def test_required_is_broken_by_what_has_no_value() -> None:
    asked = {"constraints": {"required": True}}
    assert rows(["a", None, ""], **asked) == {"required": [2, 3]}
    assert rows([1.0, float("nan"), None], **asked) == {"required": [2, 3]}
    assert rows([1.0, 2.0], **asked) == {}


def test_what_has_no_value_breaks_nothing_else() -> None:
    constraints = {"minimum": 5, "maximum": 6, "unique": True, "enum": ["5"]}
    assert rows([5, None, None], type="integer", constraints=constraints) == {}
    texts = {"minLength": 2, "pattern": "a+", "enum": ["aa"], "unique": True}
    assert rows(["aa", "", None, ""], type="string", constraints=texts) == {}


@pytest.mark.parametrize(
    ("kind", "values", "broken"),
    [
        ("integer", ["1", " -2 ", "1.0", "x", "1e3"], [3, 4, 5]),
        ("integer", [1.0, 1.5, 2.0], [2]),
        ("integer", [1, 2], []),
        ("integer", [True], [1]),
        ("number", ["1", "-.5", "1e-3", "1,5", "nan", "0x1"], [4, 5, 6]),
        ("number", [1.5, 2.0], []),
        ("number", [True], [1]),
        ("boolean", ["true", "False", "0", "yes"], [4]),
        ("boolean", [0, 1, 2], [3]),
        ("boolean", [True, False], []),
        ("date", ["2026-01-31", "2026-02-30", "2026-1-3", "2026-01-31T00:00:00"], [2, 3, 4]),
        ("date", [date(2026, 1, 1)], []),
        ("date", [datetime(2026, 1, 1, 12)], [1]),
        ("datetime", ["2026-01-31T10:00:00Z", "2026-01-31 10:00", "2026-01-31", "10:00", "2026-01-31T25:00"], [4, 5]),
        ("datetime", [datetime(2026, 1, 1, 12)], []),
        ("datetime", [5], [1]),
        ("string", ["a"], []),
        ("string", [1], []),
    ],
)
def test_types(kind: str, values: Sequence[object], broken: list[int]) -> None:
    assert rows(values, type=kind) == ({f"type: {kind}": broken} if broken else {})


def test_bounds_include_themselves() -> None:
    constraints = {"minimum": 0, "maximum": 10}
    assert rows([-1, 0, 10, 11], constraints=constraints) == {"minimum: 0": [1], "maximum: 10": [4]}
    assert rows(["-1", "0", "10", "11", "x"], constraints=constraints) == {"minimum: 0": [1, 5], "maximum: 10": [4, 5]}
    assert rows([True], constraints={"minimum": 0}) == {"minimum: 0": [1]}


def test_lengths_are_of_characters() -> None:
    assert rows(["ää", "a", "äöü"], constraints={"minLength": 2, "maxLength": 2}) == {
        "minLength: 2": [2],
        "maxLength: 2": [3],
    }


def test_a_pattern_holds_for_the_whole_text() -> None:
    assert rows(["DE", "D", "DEX", "xDE", "DE\n"], constraints={"pattern": "[A-Z]{2}"}) == {
        "pattern: [A-Z]{2}": [2, 3, 4, 5]
    }
    assert rows(["a", "b", "ab"], constraints={"pattern": "a|b"}) == {"pattern: a|b": [3]}


def test_enums_of_texts_and_of_numbers() -> None:
    assert rows(["a", "b", "A"], constraints={"enum": ["a", "b"]}) == {"enum: a, b": [3]}
    assert rows([1.0, 2.5, 3.0], constraints={"enum": ["1", "2.50"]}) == {"enum: 1, 2.50": [3]}
    assert rows([True, False], constraints={"enum": ["true"]}) == {"enum: true": [2]}


def test_dates_and_times_have_bounds_however_they_are_stored() -> None:
    bounds = {"earliest": "2026-01-10", "latest": "2026-01-20T12:00:00"}
    broken = {"earliest: 2026-01-10": [1], "latest: 2026-01-20T12:00:00": [4]}
    texts = ["2026-01-09T23:59:59Z", "2026-01-10", "2026-01-20T14:00:00+02:00", "2026-01-20T12:00:01", None]
    assert rows(texts, constraints=bounds) == broken
    moments = [datetime(2026, 1, 9, 23), datetime(2026, 1, 10), datetime(2026, 1, 20, 12), datetime(2026, 1, 21), None]
    for unit in ("s", "us", "ns"):
        assert rows(pa.array(moments, pa.timestamp(unit)), type="datetime", constraints=bounds) == broken
        assert rows(pa.array(moments, pa.timestamp(unit, "Asia/Tokyo")), constraints=bounds) == broken
    days = [date(2026, 1, 9), date(2026, 1, 10), date(2026, 1, 20), date(2026, 1, 21)]
    assert rows(days, type="date", constraints=bounds) == broken
    assert rows([20_000, 10**18], constraints=bounds) == {rule: [1, 2] for rule in broken}, "numbers are no times"


def test_times_of_which_python_has_none_are_shown_all_the_same() -> None:
    column = ColumnCheck.model_validate({"name": "c", "constraints": {"latest": "2026-01-01"}})
    cells = pa.chunked_array([pa.array([1, 2**62 + 1], pa.timestamp("ns"))])
    (found,) = check_column(cells, column, locate)
    assert found.examples[0].value == "2116-02-20 23:53:38.427387905"


def test_an_enum_of_dates_and_times_is_one_of_moments() -> None:
    enum = {"enum": ["2026-01-10", "2026-01-11T12:00:00Z"]}
    assert rows([date(2026, 1, 10), date(2026, 1, 11)], type="date", constraints=enum)[
        "enum: " + ", ".join(enum["enum"])
    ] == [2]
    moments = [datetime(2026, 1, 10), datetime(2026, 1, 11, 12), datetime(2026, 1, 11)]
    assert [*rows(moments, constraints=enum).values()] == [[3]]


def test_whole_numbers_are_compared_exactly() -> None:
    """float64 has none between 2**53 and 2**53 + 2."""
    large = 2**53
    assert [*rows([large, large + 1], constraints={"maximum": large}).values()] == [[2]]
    assert rows([large, large + 1], constraints={"maximum": large}) == {f"maximum: {large}": [2]}
    assert rows(pa.array([2**64 - 1, 3], pa.uint64()), constraints={"maximum": 3}) == {"maximum: 3": [1]}
    assert rows(pa.array([0, 3], pa.uint64()), constraints={"minimum": -1}) == {}
    assert rows([1, 2], constraints={"minimum": 1.5}) == {"minimum: 1.5": [1]}


def test_infinity_is_no_integer_and_beyond_every_bound() -> None:
    values = [1.0, float("inf"), float("-inf")]
    assert rows(values, type="integer") == {"type: integer": [2, 3]}
    assert rows(values, constraints={"minimum": 0, "maximum": 9}) == {"minimum: 0": [3], "maximum: 9": [2]}


def test_a_column_of_nothing_breaks_required_alone() -> None:
    """As a column of a CSV file or of JSON lines is, in which no cell has a value."""
    asked = {"name": "c", "type": "integer", "constraints": {"required": True, "minimum": 1, "unique": True}}
    checks = Checks.model_validate({"columns": [asked]})
    found = check(pa.table({"c": pa.nulls(3)}), checks, locate, lambda: 0)
    assert [(each.rule, each.count) for each in found] == [("required", 3)]


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"type": "integer", "constraints": {"enum": ["1", "two"]}}, "enum must be of the column's type: numbers"),
        ({"type": "boolean", "constraints": {"enum": ["yes"]}}, "true and false for boolean"),
        ({"constraints": {"enum": ["a", "b"], "pattern": "[c-z]+"}}, "no value of enum keeps the column's other"),
        ({"constraints": {"enum": ["a", "b"], "minLength": 2}}, "no value of enum keeps the column's other"),
        ({"type": "number", "constraints": {"enum": ["1", "2"], "minimum": 3}}, "no value of enum keeps"),
        ({"constraints": {"enum": ["a"], "maximum": 3}}, "no value of enum keeps"),
        ({"type": "date", "constraints": {"latest": "2026-02-30"}}, "must be a day that there is"),
        ({"type": "date", "constraints": {"latest": "tomorrow"}}, "pattern"),
        ({"constraints": {"pattern": r"\Qa+b"}}, r"\\Q ends with \\E"),
    ],
)
def test_checks_that_contradict_themselves_are_refused(asked: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Checks.model_validate({"columns": [{"name": "c", **asked}]})


@pytest.mark.parametrize(
    "asked",
    [
        {"constraints": {"enum": ["a", "xy"], "pattern": "x.", "minLength": 2}},
        {"constraints": {"enum": ["ä"], "pattern": "."}},
        {"type": "number", "constraints": {"enum": ["1", "2e0"], "minimum": 2}},
        pytest.param(
            {"constraints": {"enum": [f"{n:0>250b}" for n in range(250)], "pattern": "(?:[01]{0,100}){9}c"}},
            id="that would take the operator seconds to find out",
        ),
    ],
)
def test_an_enum_of_which_some_value_may_come_is_taken(asked: dict[str, object]) -> None:
    assert Checks.model_validate({"columns": [{"name": "c", **asked}]}).columns


def test_a_pattern_that_is_too_large_for_all_letters_is_named() -> None:
    with pytest.raises(ConfigError, match=r"data\.checks: pattern '\(\?i\).*pattern too large.*; write it shorter"):
        rows(["a"], constraints={"pattern": r"(?i)\pL{800}"})


def test_unique_shows_the_rows_that_repeat_an_earlier_one() -> None:
    assert rows(["a", "b", "a", "c", "a"], constraints={"unique": True}) == {"unique": [3, 5]}
    assert rows([1, 2, 1], constraints={"unique": True}) == {"unique": [3]}


def test_all_are_counted_and_ten_are_shown() -> None:
    column = pa.chunked_array([pa.array(range(60)), pa.array(range(60))])
    asked = ColumnCheck.model_validate({"name": "c", "constraints": {"minimum": 50}})
    (found,) = check_column(column, asked, locate)
    assert found.count == 100
    assert [example.row for example in found.examples] == list(range(1, 11))
    assert found.examples[3].value == "3"


def test_a_long_value_is_cut() -> None:
    asked = ColumnCheck.model_validate({"name": "c", "constraints": {"maxLength": 5}})
    (found,) = check_column(pa.chunked_array([["x" * 10_000_000]]), asked, locate)
    assert len(found.examples[0].value) == 100


TABLE = pa.table({"age": [1, 2, 2], "label": ["a", "b", "b"], "tags": [["x"], [], []]})


def of_table(duplicates: int = 1, **asked: object) -> list[str]:
    checks = Checks.model_validate(asked)
    return [each.rule for each in check(TABLE, checks, locate, lambda: duplicates)]


def test_rows_and_duplicates() -> None:
    assert of_table(minRows=3) == []
    assert of_table(minRows=4) == ["minRows: 4 (3 rows are there)"]
    assert of_table(maxDuplicates=0.34) == []
    assert of_table(maxDuplicates=0.33) == ["maxDuplicates: 0.33 (0.333 of the rows repeat an earlier one)"]


def test_a_column_that_is_not_there_is_told_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"columns\[agee\]: there is no such column; did you mean age\?"):
        of_table(columns=[{"name": "agee"}])
    with pytest.raises(DataError, match=r"columns\[tags\]: its cells are of type list"):
        of_table(columns=[{"name": "tags"}])


def test_the_message_names_column_rule_row_and_value_and_the_way_out() -> None:
    found = check(
        TABLE, Checks.model_validate({"columns": [{"name": "age", "constraints": {"maximum": 1}}]}), locate, int
    )
    said = words(found, where=". See problems.json")
    assert said == (
        "data.checks: column 'age': maximum: 1 is broken 2 times: 2 in row 2 of train/a.csv; "
        "2 in row 3 of train/a.csv. See problems.json; correct the data, or the check"
    )
    many = words([Violation(column="c", rule=f"minimum: {n}", count=1) for n in range(5)], where="")
    assert "3 more rules are broken" in many
