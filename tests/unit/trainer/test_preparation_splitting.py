"""Rows are divided: each is in exactly one part, and the same data, column and seed always divide alike."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footplate.api.data import SPLITS, Split
from footplate_trainer.errors import DataError
from footplate_trainer.preparation.splitting import divide

SHARES: dict[str, Any] = {"train": 0.7, "validation": 0.2, "test": 0.1}


def place(row: int) -> str:
    return f"row {row + 1}"


def column(values: Sequence[object], *chunks: int) -> pa.ChunkedArray:
    """The values, in chunks that end there."""
    array = pa.array(values)
    ends = [0, *chunks, len(array)]
    return pa.chunked_array([array[start:end] for start, end in pairwise(ends)], type=array.type)


def parts(split: Split, values: Sequence[object] | None = None, rows: int = 0) -> list[str]:
    cells = None if values is None else column(values)
    codes = divide(split, rows if values is None else len(values), cells, place)
    return [SPLITS[code] for code in codes.tolist()]


def count(found: list[str]) -> tuple[int, int, int]:
    return (found.count("train"), found.count("validation"), found.count("test"))


def refusal(split: Split, values: Sequence[object]) -> str:
    with pytest.raises(DataError) as caught:
        parts(split, values)
    return str(caught.value)


def by(kind: str, **more: object) -> Split:
    shares = {} if kind == "given" else SHARES
    return Split.model_validate({"by": kind, "column": "c", **shares, **more})


def test_shares_are_those_that_were_asked_for() -> None:
    assert count(parts(Split(**SHARES), rows=1000)) == (700, 200, 100)
    assert count(parts(Split(train=1.0), rows=3)) == (3, 0, 0)
    assert count(parts(Split(train=0.9, test=0.1), rows=100)) == (90, 0, 10)


def test_the_same_seed_divides_alike_for_ever_and_another_otherwise() -> None:
    first = parts(Split(**SHARES, seed=7), rows=20)
    assert first == parts(Split(**SHARES, seed=7), rows=20)
    assert first != parts(Split(**SHARES, seed=8), rows=20)
    # Of every version: whoever changes this gives all jobs other parts.
    assert [row for row, part in enumerate(first) if part == "test"] == PINNED


PINNED = [2, 15]


def test_no_part_that_is_asked_for_stays_empty() -> None:
    assert count(parts(Split(**SHARES), rows=3)) == (1, 1, 1)
    with pytest.raises(DataError, match="2 rows can't fill 3 parts; bring more rows"):
        parts(Split(**SHARES), rows=2)
    with pytest.raises(DataError, match="0 rows"):
        parts(Split(**SHARES), rows=0)


def test_each_class_has_its_share_in_each_part() -> None:
    values = ["a"] * 100 + ["b"] * 50 + ["c"] * 3
    found = parts(by("stratified"), values)
    assert count(found[:100]) == (70, 20, 10)
    assert count(found[100:150]) == (35, 10, 5)
    assert count(found[150:]) == (1, 1, 1)


def test_a_class_of_one_row_is_refused_by_name() -> None:
    said = refusal(by("stratified"), ["a"] * 10 + ["b"])
    assert "1 of 2 classes of column 'c' have fewer than 3 rows" in said
    assert "'b' in row 11" in said
    assert "by: random" in said
    assert "it seems to name no classes" in refusal(by("stratified"), list(range(20)))


def test_a_group_is_in_one_part() -> None:
    groups = [f"patient {row % 37}" for row in range(500)]
    found = parts(by("group"), groups)
    for group in set(groups):
        assert len({part for part, other in zip(found, groups, strict=True) if other == group}) == 1
    train, validation, test = count(found)
    assert abs(train - 350) <= 20
    assert abs(validation - 100) <= 20
    assert test


def test_groups_of_very_different_sizes_fill_all_parts() -> None:
    found = parts(by("group"), ["large"] * 97 + ["a", "b", "c"])
    assert all(count(found))
    assert "2 different values, which can't fill 3 parts" in refusal(by("group"), ["a"] * 5 + ["b"] * 5)


@pytest.mark.parametrize(
    "values",
    [
        list(range(9, -1, -1)),
        [f"2026-01-{day:02}" for day in range(10, 0, -1)],
        [f"2026-01-01T{hour:02}:00:00{zone}" for hour, zone in zip(range(19, 9, -1), ["Z", "+00:00"] * 5, strict=True)],
        pa.array(range(9, -1, -1), pa.date32()).to_pylist(),
        [float(value) for value in range(9, -1, -1)],
    ],
)
def test_time_puts_the_latest_rows_into_test(values: Sequence[object]) -> None:
    found = parts(by("time"), values)
    assert found == ["test", "validation", "validation", *["train"] * 7]


def test_times_in_several_zones_are_in_their_true_order() -> None:
    # 10:00 in Tokyo is before 05:00 in London.
    values = ["2026-01-01T05:00:00+00:00", "2026-01-01T10:00:00+09:00", "2026-01-01T03:00:00-09:00"]
    assert parts(by("time"), values) == ["validation", "train", "test"]


def test_times_of_which_some_say_their_zone_cant_be_told_apart() -> None:
    values = [f"2026-01-{day:02}T10:00:00{'Z' if day % 3 == 0 else ''}" for day in range(1, 29)]
    said = refusal(by("time"), values)
    assert "9 values of column 'c' say a time's zone, such as '2026-01-03T10:00:00Z' in row 3, and 19 don't" in said
    assert "write all with Z or an offset, or all without" in said


@pytest.mark.parametrize("kind", ["stratified", "group", "time", "given"])
def test_lists_and_objects_divide_nothing(kind: str) -> None:
    assert "the cells of 'c' are of type list<" in refusal(by(kind), [[1]] * 30)
    assert "which can't be compared; name a column of texts" in refusal(by(kind), [{"a": 1}] * 30)


def test_what_is_no_time_is_named() -> None:
    said = refusal(by("time"), ["2026-01-01"] * 5 + ["yesterday", "2026-02-30"])
    assert "2 values of column 'c' are no times: 'yesterday' in row 6, '2026-02-30' in row 7" in said
    assert "has no order in time" in refusal(by("time"), [True, False, True])


@pytest.mark.parametrize("kind", ["stratified", "group", "time"])
@pytest.mark.parametrize("nothing", [None, ""])
def test_a_row_without_a_value_is_named(kind: str, nothing: object) -> None:
    assert "1 rows have no value in column 'c', by which they are divided: row 3" in refusal(
        by(kind), ["a", "b", nothing, "c"]
    )
    assert "row 2" in refusal(by("time"), [1.0, float("nan"), 2.0])


def test_a_column_may_say_the_part() -> None:
    assert parts(by("given"), ["train", "Test", " val ", "validation", "dev"]) == [
        "train", "test", "validation", "validation", "validation",
    ]  # fmt: skip
    assert "1 values of column 'c' name no part: 'holdout' in row 2" in refusal(by("given"), ["train", "holdout"])
    assert "name no part" in refusal(by("given"), ["train", None])


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
    st.integers(0, 2**31 - 1),
    st.lists(st.integers(0, 60), max_size=3),
    st.sampled_from([(0.7, 0.2, 0.1), (0.5, 0.0, 0.5), (0.98, 0.01, 0.01), (1.0, 0.0, 0.0)]),
    st.sampled_from(["random", "stratified", "group", "time"]),
)
@settings(max_examples=200, deadline=None)
def test_every_row_is_in_one_part_that_was_asked_for(
    values: list[int], seed: int, chunks: list[int], shares: tuple[float, float, float], kind: str
) -> None:
    """Whatever the data are, and however Arrow has cut them; or it is refused."""
    named = {name: share for name, share in zip(SPLITS, shares, strict=True) if share}
    split = Split.model_validate(named | {"by": kind, "seed": seed} | ({} if kind == "random" else {"column": "c"}))
    cut = sorted({end for end in chunks if end < len(values)})
    try:
        found = divide(split, len(values), column(values, *cut), place)
    except DataError:
        return
    assert found.shape == (len(values),)
    assert {SPLITS[code] for code in np.unique(found).tolist()} == set(named)
    assert (found == divide(split, len(values), column(values), place)).all()
    if kind == "group":
        assert all(len({int(found[i]) for i, each in enumerate(values) if each == group}) == 1 for group in set(values))
