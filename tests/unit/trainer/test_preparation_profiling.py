"""What a profile says of data: values, ranges, drift, duplicates, leakage; and its page, which trusts nothing."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from footplate_trainer.preparation.cells import FewValues, few_values
from footplate_trainer.preparation.hashing import row_hashes
from footplate_trainer.preparation.page import render
from footplate_trainer.preparation.profiling import make_profile
from footplate_trainer.preparation.report import ColumnProfile, Example, Profile, Violation

ROWS = 600
RANDOM = np.random.default_rng(0)
THIRDS = np.repeat(np.arange(3, dtype=np.uint8), ROWS // 3)


def profile(
    columns: dict[str, object], splits: np.ndarray = THIRDS, same: Sequence[str] | None = None, **more: object
) -> Profile:
    table = pa.table(columns)

    def few(name: str) -> FewValues | None:
        return few_values(table.column(name))

    hashes = row_hashes(table.select(list(same or columns)), few)
    return make_profile(table, splits, few=few, hashes=hashes, **more)  # type: ignore[arg-type]


def of(found: Profile, name: str) -> ColumnProfile:
    return next(column for column in found.columns if column.name == name)


def hints(found: Profile, kind: str) -> list[str]:
    return [hint.column for hint in found.hints if hint.kind == kind]


def test_numbers() -> None:
    values = [*range(ROWS - 2), None, None]
    found = of(profile({"n": values}), "n")
    assert (found.type, found.missing, found.minimum, found.maximum) == ("int64", 2, 0, 597)
    assert found.mean == pytest.approx(298.5)
    assert found.std == pytest.approx(np.arange(598).std())
    assert found.quantiles is not None
    assert found.quantiles["0.5"] == pytest.approx(298.5)
    assert found.histogram is not None
    assert sum(map(sum, found.histogram.counts.values())) == ROWS - 2


def test_texts_and_their_most_frequent_values() -> None:
    found = of(profile({"t": ["a"] * 400 + ["b"] * 150 + [""] * 40 + [None] * 10}), "t")
    assert (found.missing, found.distinct) == (50, 3)
    assert found.values is not None
    assert [(each.value, each.count) for each in found.values] == [("a", 400), ("b", 150), ("", 40)]


@pytest.mark.parametrize(
    "values",
    [
        [None] * ROWS,
        pa.nulls(ROWS, pa.string()),
        [float("nan")] * ROWS,
        [float("inf"), float("-inf"), 1e308] * (ROWS // 3),
        [[1, 2]] * ROWS,
        [{"a": 1}] * ROWS,
        [b"\xff"] * ROWS,
        [True, False] * (ROWS // 2),
        pa.array(range(ROWS), pa.timestamp("us")),
        pa.array([1] * ROWS, pa.decimal128(5, 2)),
        pa.array(range(ROWS), pa.duration("s")),
        ["x" * 10_000_000, *["y"] * (ROWS - 1)],
    ],
)
def test_whatever_a_column_holds_it_can_be_described(values: object) -> None:
    found = profile({"c": values, "label": ["a", "b"] * (ROWS // 2)}, label="label")
    assert Profile.model_validate_json(found.model_dump_json(by_alias=True)).rows == ROWS
    assert render(found, title="t")


def test_no_rows_at_all() -> None:
    found = profile({"c": pa.array([], pa.int64())}, np.zeros(0, np.uint8))
    assert (found.rows, found.splits, found.hints) == (0, {}, [])
    assert "0 rows" in render(found, title="t")


def test_drift_is_told_where_it_is_more_than_chance() -> None:
    same = RANDOM.normal(size=ROWS)
    moved = np.where(THIRDS == 2, same + 2, same)
    word = np.where(THIRDS == 1, "b", "a")
    found = profile({"same": same, "moved": moved, "word": word})
    assert sorted(hints(found, "drift")) == ["moved", "word"]
    assert of(found, "word").drift == {"validation": 1.0, "test": 0.0}


def test_duplicates_across_parts_are_counted_in_the_later_one() -> None:
    values = [*range(200), *range(190, 390), *range(380, 580)]
    found = profile({"a": values, "b": [str(each) for each in values]})
    assert found.duplicates == 20
    assert found.duplicates_across == {"validation": 10, "test": 10}
    assert len(hints(found, "duplicates")) == 2


def test_rows_are_the_same_by_the_columns_that_say_so() -> None:
    found = profile({"file": [str(row) for row in range(ROWS)], "digest": ["same"] * ROWS}, same=["digest"])
    assert found.duplicates == ROWS - 1


def test_the_order_of_columns_is_no_matter_of_chance_in_a_rows_hash() -> None:
    assert profile({"a": [1, 2] * 300, "b": [2, 1] * 300}).duplicates == ROWS - 2
    assert profile({"a": ["x", "xy"] * 300, "b": ["yz", "z"] * 300}).duplicates == ROWS - 2


LABELS = np.array(["no", "maybe", "yes"])[RANDOM.integers(0, 3, ROWS)]


@pytest.mark.parametrize(
    ("values", "leaks"),
    [
        (np.char.add("it is ", LABELS), True),
        (np.searchsorted(["maybe", "no", "yes"], LABELS) * 10.0 + RANDOM.random(ROWS) * 0.1, True),
        (RANDOM.normal(size=ROWS), False),
        (np.arange(ROWS).astype(str), False),
        (np.arange(ROWS), False),
    ],
)
def test_a_column_that_tells_the_label_is_told(values: object, leaks: bool) -> None:
    found = profile({"c": values, "label": LABELS}, label="label")
    assert hints(found, "leakage") == (["c"] if leaks else [])


def test_a_number_that_is_the_target_in_another_unit_is_told() -> None:
    target = RANDOM.normal(size=ROWS) * 100
    found = profile({"euro": target, "cent": target * 100, "noise": RANDOM.normal(size=ROWS)}, label="euro")
    assert hints(found, "leakage") == ["cent"]


def test_a_constant_column_and_a_rare_class() -> None:
    labels = ["a"] * (ROWS - 3) + ["b"] * 3
    found = profile({"one": [1] * ROWS, "label": labels}, label="label")
    assert hints(found, "constant") == ["one"]
    assert hints(found, "imbalance") == ["label"]


def test_the_page_escapes_whatever_the_data_say() -> None:
    evil = "<script>alert(1)</script>\"'&"
    found = profile({evil: [evil] * ROWS}, label=evil, notes=[evil], unreadable=[evil])
    broken = Violation(column=evil, rule=evil, count=1, examples=[Example(file=evil, row=1, value=evil)])
    page = render(found, [broken], title=evil)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page


def test_of_a_column_whose_values_all_differ_the_page_lists_none() -> None:
    shown = render(
        profile({"text": [f"words {row}" for row in range(ROWS)], "label": [*"ab"] * (ROWS // 2)}), [], title="t"
    )
    assert "no value comes twice" in shown
    assert "words 3" not in shown
    assert "<td>a</td>" in shown
