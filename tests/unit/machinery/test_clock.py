"""The operator's clock: steady, whatever happens to the wall clock."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate.machinery import clock
from footplate.machinery.clock import MAX_SLEW, SteadyTime, SystemClock
from unit.machinery.support import START

HOUR = 3600.0


def seconds(time: datetime) -> float:
    return (time - START).total_seconds()


def run(*readings: tuple[float, float]) -> list[float]:
    """What is read when so many seconds have gone by, and the wall clock is so far ahead."""
    steady = SteadyTime(START, 0.0)
    return [seconds(steady.read(START + timedelta(seconds=at + ahead), at)) for at, ahead in readings]


CASES = [
    pytest.param([(5, 0), (10, 0)], [5, 10], id="a good clock"),
    pytest.param([(10, 0.5), (20, 0.5)], [10.5, 20.5], id="small corrections are followed at once"),
    pytest.param([(10, HOUR), (20, 0), (30, 0)], [11, 20, 30], id="an hour forth and back"),
    pytest.param([(10, -HOUR), (20, 0), (30, 0)], [9, 20, 30], id="an hour back and forth"),
    pytest.param([(10, HOUR), (36_010, HOUR)], [11, 39_610], id="set right for good: caught up with in ten hours"),
    pytest.param([(0, HOUR), (0, -HOUR)], [0, 0], id="no time goes by"),
    pytest.param([(100_000, 0)], [100_000], id="a machine that slept"),
]


@pytest.mark.parametrize(("readings", "expected"), CASES)
def test_jumps(readings: list[tuple[float, float]], expected: list[float]) -> None:
    assert run(*readings) == pytest.approx(expected)


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(-1e7, 1e7)), min_size=1, max_size=30))
def test_time_passes_at_its_own_pace(steps: list[tuple[float, float]]) -> None:
    at, readings = 0.0, []
    for elapsed, ahead in steps:
        at += elapsed
        readings.append((at, ahead))
    read = [0.0, *run(*readings)]
    for (elapsed, _), before, after in zip(steps, read, read[1:], strict=False):
        assert (1 - MAX_SLEW) * elapsed - 1e-3 <= after - before <= (1 + MAX_SLEW) * elapsed + 1e-3
        assert after >= before


def test_the_systems_clock_is_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = SystemClock()
    before = steady.now()
    monkeypatch.setattr(clock, "wall_time", lambda: before + timedelta(hours=1))
    assert before <= steady.now() < before + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("server", "read"),
    [
        pytest.param(300, 300, id="ours is behind"),
        pytest.param(-300, -300, id="ours is ahead"),
        pytest.param(-20, 0, id="an answer was long under way"),
    ],
)
def test_the_api_servers_time_counts(monkeypatch: pytest.MonkeyPatch, server: float, read: float) -> None:
    monkeypatch.setattr(clock, "wall_time", lambda: START)
    ours = SystemClock()
    for _ in range(2):
        ours.hear(START + timedelta(seconds=server))
    assert seconds(ours.now()) == pytest.approx(read, abs=1)


def test_whoever_sets_our_clock_doesnt_set_the_api_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "wall_time", lambda: START)
    ours = SystemClock()
    ours.now()
    monkeypatch.setattr(clock, "wall_time", lambda: START + timedelta(hours=1))
    ours.hear(START)
    assert seconds(ours.now()) == pytest.approx(0, abs=1)
