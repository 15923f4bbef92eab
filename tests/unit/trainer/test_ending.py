"""Which exit code and which error a pod ends with."""

import signal
from typing import Any

import pytest

from footplate.contract import Failure
from footplate_trainer.ending import Story, conclude
from footplate_trainer.exchange import RankError
from footplate_trainer.hang import Stuck
from footplate_trainer.processes import Exit

KILLED, TERMINATED = -signal.SIGKILL, -signal.SIGTERM


def story(*codes: int, errors: dict[int, RankError] | None = None, tail: str = "", **seen: Any) -> Story:
    """Ranks end a second apart, in order."""
    exits = [Exit(rank, code, 100.0 + rank, tail) for rank, code in enumerate(codes)]
    return Story(exits=exits, errors=errors or {}, **seen)


def rank_error(rank: int, code: int, time: float) -> RankError:
    return RankError(failure=Failure(rank=rank, type="ValueError", message="no", time=time), exit_code=code)


@pytest.mark.parametrize(
    ("seen", "code"),
    [
        (story(0, 0), 0),
        (story(75, 75), 75),
        (story(0, 75), 75),
        (story(0, 0, stop_requested=True), 75),
        (story(TERMINATED, 0, stop_requested=True), 75),
        (story(TERMINATED, 0), 143),
        (story(KILLED), 137),
        (story(-signal.SIGSEGV), 139),
        (story(0, 3), 3),
        (story(70, 76), 70),
        (story(76, 70), 70),
        (story(76, 76), 76),
        (story(65), 65),
        (story(78), 78),
        (story(77), 77),
        (story(70, 75, stop_requested=True), 70),
        (story(76, KILLED, ended_by_us=frozenset({1})), 76),
        (story(70, KILLED, TERMINATED, ended_by_us=frozenset({1, 2})), 70),
        (story(76, 70, ended_by_us=frozenset({1})), 70),
        (story(KILLED, KILLED, stop_requested=True, late=True), 75),
        (story(KILLED, stuck=Stuck(0, "training", 7, 1800.0)), 77),
    ],
)
def test_exit_code(seen: Story, code: int) -> None:
    assert conclude(seen).exit_code == code


def test_no_error_after_a_good_or_a_clean_end() -> None:
    assert conclude(story(0, 0)).error is None
    assert conclude(story(75, 75)).error is None


def test_the_cause_is_who_failed_first_by_their_own_words() -> None:
    errors = {0: rank_error(0, 70, time=50.0), 1: rank_error(1, 70, time=49.0)}
    ending = conclude(story(70, 70, errors=errors))
    assert ending.error == errors[1].failure


def test_who_lost_a_peer_is_no_cause_even_if_first() -> None:
    errors = {0: rank_error(0, 76, time=1.0), 1: rank_error(1, 70, time=2.0)}
    assert conclude(story(76, 70, errors=errors)).error == errors[1].failure


def test_a_process_without_words_is_described_by_its_stderr() -> None:
    error = conclude(story(0, 1, tail="Traceback\nValueError: bad\n\n")).error
    assert error is not None
    assert (error.rank, error.message) == (1, "ended with exit code 1: ValueError: bad")
    assert error.traceback == "Traceback\nValueError: bad\n\n"
    assert error.time == 101.0


@pytest.mark.parametrize(
    ("code", "words"),
    [(KILLED, "resources.limits.memory"), (-signal.SIGSEGV, "killed by SIGSEGV"), (-250, "killed by signal 250")],
)
def test_a_signal_is_named(code: int, words: str) -> None:
    error = conclude(story(code)).error
    assert error is not None
    assert words in error.message


def test_a_hang_names_rank_step_and_setting() -> None:
    seen = story(KILLED, tail="stack", stuck=Stuck(0, "training", 7, 1801.0), hang_timeout=1800)
    error = conclude(seen).error
    assert error is not None
    assert error.rank == 0
    assert error.traceback == "stack"
    assert "step 7" in error.message
    assert "runPolicy.hangTimeoutSeconds (1800)" in error.message


def test_a_late_stop_says_what_to_raise() -> None:
    error = conclude(story(KILLED, stop_requested=True, late=True, grace_seconds=30)).error
    assert error is not None
    assert "30 s of grace" in error.message
    assert "terminationGracePeriodSeconds" in error.message
