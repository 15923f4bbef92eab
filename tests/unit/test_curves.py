"""The curve of a job's status: its bounds hold for whatever is reported, and thinning it again changes nothing."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate.api.reports import MAX_CURVE_METRICS, MAX_CURVE_POINTS, MAX_METRIC_NAME, CurveStatus
from footplate.api.scalars import MAX_COUNT
from footplate.curves import MAX_BYTES, Point, curve_of, merge, points_of, size_of, thin

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=MAX_METRIC_NAME)
reports = st.dictionaries(st.sampled_from(["loss", "accuracy", "lr"]) | names, st.floats(), max_size=12)
points = st.lists(st.tuples(st.integers(0, 4000) | st.integers(0, MAX_COUNT), reports), max_size=60)
long_points = st.builds(
    lambda count, gap, first, every: [
        (first + step * gap, {"loss": 1 / (1 + step), **({"accuracy": step / count} if step % every == 0 else {})})
        for step in range(count)
    ],
    st.integers(1, 1500),
    st.integers(1, 40),
    st.integers(0, 900),
    st.integers(1, 50),
)


def of_steps(*steps: int, loss: float = 1.0) -> CurveStatus:
    return curve_of([(step, {"loss": loss}) for step in steps])


@given(points | long_points)
def test_a_curve_is_bounded_valid_and_thinned_once(points: list[Point]) -> None:
    curve = curve_of(points)
    assert len(curve.steps) <= MAX_CURVE_POINTS
    assert len(curve.metrics) <= MAX_CURVE_METRICS
    assert size_of(curve) <= MAX_BYTES or len(curve.steps) == 1
    assert all(earlier < later for earlier, later in pairwise(curve.steps))
    assert all(len(values) == len(curve.steps) for values in curve.metrics.values())
    assert CurveStatus.model_validate_json(curve.model_dump_json(by_alias=True)) == curve
    assert thin(curve) == curve
    assert merge(curve, curve) == curve


@given(points | long_points)
def test_the_first_and_the_newest_point_stay(points: list[Point]) -> None:
    curve = curve_of(points)
    if points:
        assert curve.steps[-1] == points[-1][0]
        assert curve.steps[0] == min(step for step, _ in points)


@given(long_points | points, st.integers(1, 60), st.integers(0, 3000))
def test_fewer_points_are_some_of_the_more(points: list[Point], most: int, most_bytes: int) -> None:
    curve = curve_of(points)
    fewer = thin(curve, most_points=most, most_bytes=most_bytes)
    assert len(fewer.steps) <= most
    assert set(fewer.steps) <= set(curve.steps)
    assert size_of(fewer) <= most_bytes or len(fewer.steps) <= 1
    assert fewer.steps[-1:] == curve.steps[-1:]
    assert thin(fewer, most_points=most, most_bytes=most_bytes) == fewer


@given(long_points)
def test_points_are_evenly_thinned(points: list[Point]) -> None:
    curve = curve_of(points)
    gap = points[1][0] - points[0][0] if len(points) > 1 else 1
    gaps = [later - earlier for earlier, later in pairwise(curve.steps[:-1])]
    stride = 2 ** math.ceil(math.log2(max(gaps, default=1)))
    assert max(gaps, default=0) - min(gaps, default=0) <= max(stride, gap)


def test_a_curve_that_grows_is_that_of_all_its_points_but_for_some_of_the_newest() -> None:
    curve = CurveStatus()
    for step in range(2000):
        curve = merge(curve, of_steps(step))
        assert len(curve.steps) <= MAX_CURVE_POINTS
    at_once = of_steps(*range(2000))
    assert set(at_once.steps) <= set(curve.steps)
    assert len(at_once.steps) > MAX_CURVE_POINTS / 2
    gaps = [later - earlier for earlier, later in pairwise(curve.steps)]
    assert set(gaps[: len(at_once.steps) - 4]) == {32}


@given(st.lists(st.integers(0, 500), max_size=30, unique=True), st.lists(st.integers(0, 500), max_size=30, unique=True))
def test_who_begins_again_at_an_earlier_step_undoes_what_came_after_it(before: list[int], after: list[int]) -> None:
    known, said = of_steps(*sorted(before), loss=2.0), of_steps(*sorted(after), loss=1.0)
    merged = merge(known, said)
    kept = [step for step in known.steps if not said.steps or step < said.steps[0]]
    assert merged.steps == [*kept, *said.steps]
    assert merged.metrics.get("loss", []) == [2.0] * len(kept) + [1.0] * len(said.steps)
    assert merge(merged, said) == merged


def test_what_was_reported_once_in_a_bucket_is_not_lost() -> None:
    """Evaluations come once in hundreds of steps, and never at the first of a bucket."""
    curve = curve_of(
        (step, {"loss": 1.0} | ({"accuracy": step / 1000} if step % 250 == 249 else {})) for step in range(1001)
    )
    assert [value for value in curve.metrics["accuracy"] if value is not None] == [0.249, 0.499, 0.749, 0.999]


def test_where_there_is_room_for_one_point_it_says_what_was_reported_there() -> None:
    curve = curve_of([(1, {"loss": 3.0, "accuracy": 0.1}), (8, {"loss": 1.0})])
    assert thin(curve, most_bytes=60).metrics == {"loss": [1.0]}


def test_loss_comes_first_and_then_what_was_reported_first() -> None:
    curve = curve_of([(0, {f"metric {index}": 1.0 for index in range(1000)}), (1, {"loss": 2.0})])
    assert list(curve.metrics) == ["loss", *(f"metric {index}" for index in range(7))]
    assert curve.metrics["loss"] == [None, 2.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_has_no_place(value: float) -> None:
    assert curve_of([(0, {"broken": value, "loss": 1.0}), (1, {"loss": value})]).metrics == {"loss": [1.0, None]}


def test_values_have_five_digits() -> None:
    assert curve_of([(0, {"loss": 2.302585093, "lr": 0.000123456789})]).metrics == {
        "loss": [2.3026],
        "lr": [0.00012346],
    }


def test_long_names_and_values_cost_points_and_nothing_else() -> None:
    everything = {f"{index}{'𝔘' * (MAX_METRIC_NAME - 1)}": -1.2345e-300 for index in range(8)}
    curve = curve_of((MAX_COUNT - 4000 + step, everything) for step in range(4000))
    assert len(curve.metrics) == 8
    assert 20 < len(curve.steps) < MAX_CURVE_POINTS
    assert size_of(curve) <= MAX_BYTES


def test_a_curve_whose_lists_differ_in_length_is_read_as_far_as_it_goes() -> None:
    liar = CurveStatus(steps=[3, 1, 2], metrics={"loss": [1.0], "lr": [0.1, 0.2, 0.3, 0.4, 0.5]})
    assert points_of(liar) == [(3, {"loss": 1.0, "lr": 0.1}), (1, {"lr": 0.2}), (2, {"lr": 0.3})]
    assert merge(liar, of_steps(5)).steps == [1, 2, 5]
