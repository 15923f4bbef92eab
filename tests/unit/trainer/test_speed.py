"""Speed, and the seconds that training stands on."""

import pytest

from footplate_trainer.timing.speed import ProductiveTime, Speed


def test_speed_is_smoothed_and_counts_only_steps_that_were_made() -> None:
    speed = Speed()
    speed.update(10.0, step=0, samples=0)
    speed.update(12.0, step=20, samples=640)
    assert (speed.step_seconds, speed.sample_seconds) == (0.1, 1 / 320)
    speed.update(13.0, step=20, samples=640)
    assert speed.step_seconds == 0.1
    speed.update(16.0, step=40, samples=1280)
    assert speed.step_seconds == pytest.approx(0.1 + 0.3 * (0.2 - 0.1))


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
