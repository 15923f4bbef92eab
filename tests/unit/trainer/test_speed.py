"""Speed, and the seconds that training stands on."""

import pytest

from footplate_trainer.timing.durations import Durations
from footplate_trainer.timing.speed import WINDOW_SECONDS, ProductiveTime, Speed


def test_speed_is_that_of_recent_steps_and_counts_only_those_that_were_made() -> None:
    speed = Speed()
    speed.update(10.0, step=0, samples=0)
    assert (speed.step_seconds, speed.sample_seconds, speed.data_wait_ratio) == (None, None, None)
    speed.update(12.0, step=20, samples=640, waited=0.5)
    assert (speed.step_seconds, speed.sample_seconds, speed.data_wait_ratio) == (0.1, 1 / 320, 0.25)
    speed.update(13.0, step=20, samples=640)
    assert speed.step_seconds == 0.1
    for second in range(20, 20 + 2 * int(WINDOW_SECONDS)):
        speed.update(float(second), step=20 + second, samples=None)
    assert speed.step_seconds == pytest.approx(1.0)
    assert speed.sample_seconds is None


def test_an_evaluation_between_steps_counts_once_and_not_more() -> None:
    speed = Speed()
    for step in range(100):
        speed.update(step * 1.0, step=step, samples=None)
    speed.update(99.0 + 20.0, step=100, samples=None)
    assert speed.step_seconds == pytest.approx(119 / 100)


def test_steps_that_take_longer_than_the_window_have_a_speed() -> None:
    speed = Speed()
    for step in range(4):
        speed.update(step * 600.0, step=step, samples=None)
    assert speed.step_seconds == 600.0


def test_who_goes_back_to_an_earlier_step_begins_to_measure_anew() -> None:
    speed = Speed()
    speed.update(0.0, step=0, samples=None)
    speed.update(10.0, step=100, samples=None)
    speed.update(20.0, step=50, samples=None)
    assert speed.step_seconds is None
    speed.update(21.0, step=51, samples=None)
    assert speed.step_seconds == 1.0


def test_durations_are_counted_by_size() -> None:
    took = Durations((1.0, 2.0))
    for seconds, times in ((0.5, 1), (1.0, 2), (1.5, 1), (9.0, 3)):
        took.add(seconds, times)
    assert (took.counts, took.seconds) == ([3, 1, 3], 31.0)


@pytest.fixture
def productive() -> ProductiveTime:
    """Of a gang of two nodes."""
    return ProductiveTime(2)


def test_time_from_step_to_step_counts_for_each_node_and_the_first_step_does_not(productive: ProductiveTime) -> None:
    productive.go_on(1.0)
    seen = [productive.node_seconds]
    productive.reported(100.0, advanced=True)
    seen.append(productive.node_seconds)
    assert seen == [None, 0.0]
    productive.reported(103.0, advanced=True)
    productive.reported(105.0, advanced=True)
    assert productive.node_seconds == 10.0


def test_what_is_reported_twice_counts_once(productive: ProductiveTime) -> None:
    for now, advanced in ((0.0, True), (1.0, False), (3.0, True), (4.0, False)):
        productive.reported(now, advanced=advanced)
    assert productive.node_seconds == 6.0


@pytest.mark.parametrize("says_when_it_goes_on", [True, False])
def test_another_activity_does_not_count(productive: ProductiveTime, says_when_it_goes_on: bool) -> None:
    productive.reported(0.0, advanced=True)
    productive.interrupt()
    if says_when_it_goes_on:
        productive.go_on(100.0)
    else:
        productive.reported(100.0, advanced=False)
    productive.reported(101.0, advanced=True)
    assert productive.node_seconds == 2.0


def test_it_goes_on_from_a_checkpoint(productive: ProductiveTime) -> None:
    productive.start_from(500.0)
    assert productive.node_seconds == 500.0
    productive.reported(50.0, advanced=True)
    productive.reported(51.0, advanced=True)
    assert productive.node_seconds == 502.0
