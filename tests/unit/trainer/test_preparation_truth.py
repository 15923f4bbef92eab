"""What checks, parts and profile say of random tables, held against counting by hand, row after row in Python."""

import math
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footplate.api.data import SPLITS
from footplate.api.data_checks import ColumnCheck
from footplate_trainer.preparation.cells import FewValues, few_values
from footplate_trainer.preparation.checking import check_column
from footplate_trainer.preparation.hashing import count_doubles, row_hashes
from footplate_trainer.preparation.measuring import BINS
from footplate_trainer.preparation.profiling import make_profile
from footplate_trainer.preparation.report import Profile

NAN = float("nan")
FLOATS = st.sampled_from([None, NAN, 0.0, -0.0, 1.0, 1.5, -2.0, 1e300, -1e300, float("inf")]) | st.floats(-50, 50)
INTS = st.none() | st.integers(-3, 3) | st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1])
TEXTS = st.none() | st.sampled_from(["", "a", "b", "ab", "é", "a\0", "5", " 7 "]) | st.text(max_size=3)
BOOLS = st.none() | st.booleans()
DATES = st.none() | st.dates(date(1969, 12, 30), date(1970, 1, 3))
TIMES = st.none() | st.datetimes(datetime(1969, 12, 31), datetime(1970, 1, 2)).map(
    lambda each: each.replace(microsecond=0)
)
LISTS = st.none() | st.lists(st.integers(0, 2), max_size=2)
KINDS: dict[str, tuple[st.SearchStrategy[Any], pa.DataType]] = {
    "float": (FLOATS, pa.float64()),
    "int": (INTS, pa.int64()),
    "text": (TEXTS, pa.string()),
    "bool": (BOOLS, pa.bool_()),
    "date": (DATES, pa.date32()),
    "time": (TIMES, pa.timestamp("us")),
    "list": (LISTS, pa.list_(pa.int64())),
}
ROWS = settings(max_examples=60, deadline=None)


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, np.ndarray]:
    """A table of some columns in chunks, and the part of each row."""
    rows = draw(st.integers(1, 40))
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    columns = {}
    for number, kind in enumerate(kinds):
        cells, stored = KINDS[kind]
        array = pa.array(draw(st.lists(cells, min_size=rows, max_size=rows)), stored)
        cut = draw(st.integers(0, rows))
        columns[f"{kind}{number}"] = pa.chunked_array([array[:cut], array[cut:]])
    splits = draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))
    return pa.table(columns), np.array(splits, np.uint8)


def few_of(table: pa.Table) -> Callable[[str], FewValues | None]:
    return lambda name: few_values(table.column(name))


def describe(table: pa.Table, splits: np.ndarray) -> Profile:
    few = few_of(table)
    return make_profile(table, splits, few=few, hashes=row_hashes(table, few))


def is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def same(value: Any) -> Any:
    """What is equal for cells that are the same; nothing and NaN are, but an empty text is one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return repr(value) if isinstance(value, list) else value


@ROWS
@given(tables())
def test_duplicates_and_those_across_parts(drawn: tuple[pa.Table, np.ndarray]) -> None:
    table, splits = drawn
    keys = [tuple(map(same, row.values())) for row in table.to_pylist()]
    first_part = {key: min(part for other, part in zip(keys, splits, strict=True) if other == key) for key in keys}
    across = Counter(SPLITS[part] for key, part in zip(keys, splits, strict=True) if part > first_part[key])
    repeated, found = count_doubles(row_hashes(table, few_of(table)), splits)
    assert repeated == len(keys) - len(set(keys))
    assert {part: count for part, count in found.items() if count} == dict(across)


@ROWS
@given(tables())
def test_missing_distinct_range_and_most_frequent(drawn: tuple[pa.Table, np.ndarray]) -> None:
    table, splits = drawn
    profile = describe(table, splits)
    assert profile.splits == {SPLITS[part]: count for part, count in sorted(Counter(splits.tolist()).items())}
    for said in profile.columns:
        values = table[said.name].to_pylist()
        assert said.missing == sum(map(is_missing, values))
        there = [value for value in values if value is not None]
        if said.distinct is not None:
            assert said.distinct == len(set(there))
            assert said.values is not None
            counts = Counter(there)
            assert [each.count for each in said.values] == sorted(counts.values(), reverse=True)[: len(said.values)]
            pairs = {(str(value)[:100], count) for value, count in counts.items()}
            assert {(each.value, each.count) for each in said.values} <= pairs
        numbers = [value for value in there if isinstance(value, int | float) and math.isfinite(value)]
        if said.type in ("int64", "double") and numbers:
            assert (said.minimum, said.maximum) == (min(numbers), max(numbers))
            if said.quantiles is not None and max(map(abs, numbers)) < 1e9:
                assert said.mean == pytest.approx(np.mean(numbers))
                assert said.std == pytest.approx(np.std(numbers), abs=1e-9)
                for share, value in said.quantiles.items():
                    assert value == pytest.approx(np.quantile(numbers, float(share)))
        elif said.type in ("date32[day]", "timestamp[us]"):
            assert said.minimum == (str(min(there)) if there else None)
            assert said.maximum == (str(max(there)) if there else None)


@ROWS
@given(tables())
def test_histograms_and_drift_count_every_row(drawn: tuple[pa.Table, np.ndarray]) -> None:
    table, splits = drawn
    for said in describe(table, splits).columns:
        values = table[said.name].to_pylist()
        if said.histogram is not None:
            for part, counts in said.histogram.counts.items():
                here = [value for value, code in zip(values, splits, strict=True) if SPLITS[code] == part]
                assert len(counts) == BINS
                assert sum(counts) == sum(value is not None and value == value for value in here)
        if said.drift and said.distinct is not None:
            shares = {}
            for part in {0, *splits.tolist()}:
                here = Counter(value for value, code in zip(values, splits, strict=True) if code == part)
                shares[SPLITS[part]] = {value: count / here.total() for value, count in here.items()}
            for part, distance in said.drift.items():
                names = shares["train"].keys() | shares[part].keys()
                apart = sum(abs(shares["train"].get(name, 0) - shares[part].get(name, 0)) for name in names) / 2
                assert distance == pytest.approx(apart, abs=1e-4)


def broken_rows(values: list[Any], kind: pa.DataType, **constraints: Any) -> dict[str, list[int]]:
    column = ColumnCheck.model_validate({"name": "c", "constraints": constraints})
    found = check_column(pa.chunked_array([pa.array(values, kind)]), column, lambda row: ("f", row))
    assert all(len(each.examples) == min(10, each.count) for each in found)
    return {each.rule.split(":")[0]: [example.row for example in each.examples] for each in found}


def first_ten(values: list[Any], is_broken: Any) -> list[int]:
    return [row for row, value in enumerate(values) if not is_missing(value) and is_broken(value)][:10]


@ROWS
@given(st.lists(FLOATS, min_size=1, max_size=30), st.integers(-5, 5))
def test_bounds_of_floats(values: list[Any], bound: int) -> None:
    found = broken_rows(values, pa.float64(), minimum=bound, maximum=bound)
    assert found.get("minimum", []) == first_ten(values, lambda value: value < bound)
    assert found.get("maximum", []) == first_ten(values, lambda value: value > bound)


@ROWS
@given(st.lists(INTS, min_size=1, max_size=30), st.sampled_from([0, 1, 2**53, -(2**53), 0.5]))
def test_bounds_of_whole_numbers(values: list[Any], bound: float) -> None:
    found = broken_rows(values, pa.int64(), minimum=bound, maximum=bound)
    assert found.get("minimum", []) == first_ten(values, lambda value: value < bound)
    assert found.get("maximum", []) == first_ten(values, lambda value: value > bound)


@ROWS
@given(st.lists(TIMES, min_size=1, max_size=30), st.sampled_from([None, "UTC", "Asia/Kolkata"]))
def test_bounds_of_times(values: list[Any], zone: str | None) -> None:
    found = broken_rows(values, pa.timestamp("us", zone), earliest="1970-01-01", latest="1970-01-01T12:00:00Z")
    first, last = datetime(1970, 1, 1), datetime(1970, 1, 1, 12)
    assert found.get("earliest", []) == first_ten(values, lambda value: value < first)
    assert found.get("latest", []) == first_ten(values, lambda value: value > last)
    hours = timedelta(hours=2)
    texts = [None if value is None else (value + hours).isoformat() + "+02:00" for value in values]
    assert broken_rows(texts, pa.string(), earliest="1970-01-01", latest="1970-01-01T12:00:00Z") == found
    assert values == [None if text is None else _utc(text) for text in texts], "the texts are these times"


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


@ROWS
@given(st.lists(TEXTS, min_size=1, max_size=30))
def test_lengths_enums_and_repeated_texts(values: list[Any]) -> None:
    found = broken_rows(values, pa.string(), minLength=2, maxLength=2, enum=["ab", "é"], unique=True, required=True)
    assert found.get("minLength", []) == first_ten(values, lambda value: len(value) < 2)
    assert found.get("maxLength", []) == first_ten(values, lambda value: len(value) > 2)
    assert found.get("enum", []) == first_ten(values, lambda value: value not in ("ab", "é"))
    assert found.get("required", []) == [row for row, value in enumerate(values) if is_missing(value)][:10]
    repeats = [row for row, value in enumerate(values) if not is_missing(value) and value in values[:row]]
    assert found.get("unique", []) == repeats[:10]
