"""When a rank counts as hung, and when it must not."""

import pytest

from footplate.contract import Activity
from footplate_trainer.exchange import Beat
from footplate_trainer.hang import GENEROUS_SECONDS, HangDetector

TIMEOUT = 100.0


def beat(step: int, activity: Activity = "training", time: float = 0.0) -> Beat:
    return Beat(step, activity, time, pid=1)


def test_a_rank_that_finishes_no_step_is_stuck() -> None:
    detector = HangDetector(TIMEOUT)
    assert detector.observe({0: beat(5)}, now=0) is None
    assert detector.observe({0: beat(5)}, now=TIMEOUT) is None
    stuck = detector.observe({0: beat(5)}, now=TIMEOUT + 1)
    assert stuck is not None
    assert (stuck.rank, stuck.activity, stuck.step, stuck.seconds) == (0, "training", 5, TIMEOUT + 1)


def test_beats_without_steps_are_no_progress_of_training() -> None:
    detector = HangDetector(TIMEOUT)
    detector.observe({0: beat(5, time=0)}, now=0)
    assert detector.observe({0: beat(5, time=TIMEOUT)}, now=TIMEOUT + 1) is not None


def test_every_step_starts_the_clock_anew() -> None:
    detector = HangDetector(TIMEOUT)
    assert all(detector.observe({0: beat(step)}, now=step * TIMEOUT) is None for step in range(10))


@pytest.mark.parametrize("activity", ["loading", "evaluating", "checkpointing", "exporting", "stopping"])
def test_other_activities_have_a_generous_limit_and_any_beat_is_a_sign_of_life(activity: Activity) -> None:
    detector = HangDetector(TIMEOUT)
    detector.observe({0: beat(5, activity)}, now=0)
    assert detector.observe({0: beat(5, activity)}, now=GENEROUS_SECONDS) is None
    assert detector.observe({0: beat(5, activity, time=1)}, now=GENEROUS_SECONDS + 1) is None
    assert detector.observe({0: beat(5, activity, time=1)}, now=2 * GENEROUS_SECONDS + 2) is not None


def test_a_timeout_above_the_generous_limit_is_kept() -> None:
    detector = HangDetector(2 * GENEROUS_SECONDS)
    detector.observe({0: beat(5, "loading")}, now=0)
    assert detector.observe({0: beat(5, "loading")}, now=2 * GENEROUS_SECONDS) is None


def test_code_that_never_says_what_it_does_is_not_watched() -> None:
    detector = HangDetector(TIMEOUT)
    assert detector.observe({}, now=0) is None
    assert all(detector.observe({0: beat(0, "starting")}, now=now) is None for now in (0, 1e6, 1e9))


def test_going_back_to_training_starts_the_clock_anew() -> None:
    detector = HangDetector(TIMEOUT)
    detector.observe({0: beat(5)}, now=0)
    detector.observe({0: beat(5, "checkpointing")}, now=90)
    assert detector.observe({0: beat(5)}, now=150) is None
    assert detector.observe({0: beat(5)}, now=150 + TIMEOUT) is None
    assert detector.observe({0: beat(5)}, now=151 + TIMEOUT) is not None


def test_the_rank_that_is_stuck_longest_is_named() -> None:
    detector = HangDetector(TIMEOUT)
    detector.observe({0: beat(5), 1: beat(5), 2: beat(5)}, now=0)
    detector.observe({0: beat(6), 1: beat(5), 2: beat(6)}, now=10)
    stuck = detector.observe({0: beat(6), 1: beat(5), 2: beat(6)}, now=200)
    assert stuck is not None
    assert stuck.rank == 1
