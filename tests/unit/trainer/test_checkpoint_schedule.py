"""When a checkpoint is due, and when ranks ask each other."""

import itertools

import pytest

from footplate.api.blocks import Every
from footplate_trainer.checkpoint.schedule import RETRY_SECONDS, Pulse, Schedule


def due_steps(every: Every, *, first: int, last: int, epoch: int = 10**9) -> list[int]:
    schedule = Schedule(every, step=first, now=0.0)
    steps = range(first + 1, last + 1)
    return [step for step in steps if schedule.falls_due(step, epoch_ended=step % epoch == 0)]


@pytest.mark.parametrize(
    ("every", "first", "epoch", "expected"),
    [
        pytest.param(Every(steps=5), 0, 10**9, [5, 10, 15, 20], id="multiples of steps"),
        pytest.param(Every(steps=5), 7, 10**9, [10, 15, 20], id="the same multiples after a resume"),
        pytest.param(Every(steps=8), 0, 6, [6, 8, 12, 16, 18], id="also at an epoch's end"),
        pytest.param(Every(seconds=60), 0, 9, [9, 18], id="by seconds, at an epoch's end"),
    ],
)
def test_steps(every: Every, first: int, epoch: int, expected: list[int]) -> None:
    assert due_steps(every, first=first, last=20, epoch=epoch) == expected


def test_seconds() -> None:
    schedule = Schedule(Every(seconds=60), step=0, now=100.0)
    assert not schedule.due_now(159.9)
    assert schedule.due_now(160.0)
    schedule.started(5, now=161.0)
    assert not schedule.due_now(220.0)
    assert schedule.due_now(221.0)


@pytest.mark.parametrize("every", [Every(steps=1000), Every(seconds=3600)])
def test_a_failed_save_is_tried_again_soon(every: Every) -> None:
    schedule = Schedule(every, step=0, now=0.0)
    schedule.started(5, now=10.0)
    schedule.failed(now=20.0)
    assert not schedule.due_now(20.0 + RETRY_SECONDS - 0.1)
    assert schedule.due_now(20.0 + RETRY_SECONDS)


def asked_at(*, seconds_a_call: float, calls: int) -> list[float]:
    """Times at which a rank whose calls take so long asks."""
    pulse, now, times = Pulse(now=0.0), 0.0, []
    for _ in range(calls):
        now += seconds_a_call
        if pulse.count():
            times.append(now)
            pulse.asked(pulse.proposal(now), now=now)
    return times


@pytest.mark.parametrize("seconds_a_call", [0.001, 0.03, 0.4])
def test_ranks_ask_about_once_a_second(seconds_a_call: float) -> None:
    times = asked_at(seconds_a_call=seconds_a_call, calls=int(60 / seconds_a_call))
    gaps = [later - earlier for earlier, later in itertools.pairwise(times[12:])]
    assert gaps
    assert all(0.5 <= gap <= 1.1 for gap in gaps)


def test_slow_steps_ask_at_each() -> None:
    assert len(asked_at(seconds_a_call=3.0, calls=10)) == 10


def test_the_gap_at_most_doubles() -> None:
    pulse = Pulse(now=0.0)
    assert pulse.count()
    assert pulse.proposal(1e-6) == 2
