"""When a rank counts as hung and when it must not, and which rank is to blame."""

import pytest

from footplate.contract import Activity
from footplate_trainer.exchange import GENEROUS_SECONDS, Beat
from footplate_trainer.supervisor.hang import LONGEST_LOOK, HangDetector, Silence, find_culprit
from footplate_trainer.supervisor.stacks import Finding, Frame

TIMEOUT = 100.0
LOOK = 5.0


def beat(step: int, activity: Activity = "training", time: float = 0.0) -> Beat:
    return Beat(step, activity, time, pid=1)


class Bench:
    """A detector that looks every few seconds, on a clock of its own."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self.detector = HangDetector(timeout)
        self.now = 0.0

    def see(self, *beats: Beat, seconds: float = 0.0) -> list[Silence]:
        """What the detector finds after it has seen the same beats for so many seconds."""
        end = self.now + seconds
        found = self.look(*beats)
        while not found and self.now < end:
            self.now = min(end, self.now + LOOK)
            found = self.look(*beats)
        return found

    def look(self, *beats: Beat) -> list[Silence]:
        return self.detector.observe(dict(enumerate(beats)), now=self.now)


def test_a_rank_that_finishes_no_step_is_stuck() -> None:
    bench = Bench()
    assert not bench.see(beat(5), seconds=TIMEOUT)
    (silence,) = bench.see(beat(5), seconds=1)
    assert (silence.rank, silence.activity, silence.step, silence.seconds) == (0, "training", 5, TIMEOUT + 1)


def test_beats_without_steps_are_no_progress_of_training() -> None:
    bench = Bench()
    assert not bench.see(beat(5, time=0), seconds=TIMEOUT)
    assert bench.see(beat(5, time=TIMEOUT), seconds=1)


def test_every_step_starts_the_clock_anew() -> None:
    bench = Bench()
    assert not any(bench.see(beat(step), seconds=TIMEOUT) for step in range(10))


def test_a_batch_that_takes_nearly_as_long_as_the_limit_is_no_alarm() -> None:
    bench = Bench()
    assert not any(bench.see(beat(step), seconds=0.9 * TIMEOUT if step == 3 else LOOK) for step in range(6))


@pytest.mark.parametrize("activity", ["loading", "evaluating", "checkpointing", "exporting", "stopping"])
def test_other_activities_have_a_generous_limit_and_any_beat_is_a_sign_of_life(activity: Activity) -> None:
    bench = Bench()
    assert not bench.see(beat(5, activity), seconds=GENEROUS_SECONDS)
    assert not bench.see(beat(5, activity, time=1), seconds=GENEROUS_SECONDS)
    assert bench.see(beat(5, activity, time=1), seconds=1)


def test_a_timeout_above_the_generous_limit_is_kept() -> None:
    bench = Bench(2 * GENEROUS_SECONDS)
    assert not bench.see(beat(5, "loading"), seconds=2 * GENEROUS_SECONDS)


def test_who_starts_or_waits_for_the_other_ranks_to_start_is_not_watched() -> None:
    bench = Bench()
    assert not bench.see()
    assert not bench.see(beat(0, "starting"), seconds=100 * GENEROUS_SECONDS)


def test_going_back_to_training_starts_the_clock_anew() -> None:
    bench = Bench()
    assert not bench.see(beat(5), seconds=0.9 * TIMEOUT)
    assert not bench.see(beat(5, "checkpointing"), seconds=0.9 * TIMEOUT)
    assert not bench.see(beat(5), seconds=TIMEOUT)
    assert bench.see(beat(5), seconds=1)


def test_a_pod_that_stood_still_as_a_whole_is_not_hung() -> None:
    bench = Bench()
    bench.see(beat(5))
    bench.now += 10 * TIMEOUT
    assert not bench.see(beat(5), seconds=TIMEOUT - LONGEST_LOOK)
    assert bench.see(beat(5), seconds=1)


def test_suspects_are_all_that_have_been_silent_for_long() -> None:
    bench = Bench()
    bench.see(beat(5), beat(5), beat(5), beat(5, "evaluating"))
    bench.see(beat(5), beat(6), beat(5), beat(5, "evaluating"), seconds=0.7 * TIMEOUT)
    found = bench.see(beat(5), beat(6), beat(6), beat(5, "evaluating", time=1), seconds=TIMEOUT)
    assert [silence.rank for silence in found] == [0, 1]


COLLECTIVE = Finding(
    (Frame("train.py", "9", "main"), Frame("/x/torch/distributed/distributed_c10d.py", "1", "barrier"))
)
BACKWARD = Finding((Frame("/x/torch/autograd/graph.py", "869", "_engine_run_backward"),))
BUFFERS = Finding((Frame("/x/torch/nn/parallel/distributed.py", "9", "_sync_buffers"),))
STOPPED = Finding(state="T")
USER = Finding((Frame("/x/torch/nn/parallel/distributed.py", "1", "forward"), Frame("train.py", "3", "forward")))
UNKNOWN = Finding()


def test_who_may_be_silent_for_longer_is_not_blamed_for_one_that_hangs() -> None:
    silences = [Silence(0, "starting", 0, 500, pid=1, too_long=False), Silence(1, "training", 5, 101, pid=2)]
    assert find_culprit(silences, {0: UNKNOWN, 1: USER}).culprit.rank == 1
    assert find_culprit(silences, {0: UNKNOWN, 1: COLLECTIVE}).culprit.rank == 0


@pytest.mark.parametrize(
    ("silent_for", "findings", "culprit"),
    [
        pytest.param((10, 12, 11), (USER, USER, USER), 1, id="who is silent longest"),
        pytest.param((12, 10), (COLLECTIVE, USER), 1, id="not one that waits in a collective"),
        pytest.param((12, 10), (BACKWARD, USER), 1, id="nor in the backward pass"),
        pytest.param((12, 10), (BUFFERS, STOPPED), 1, id="nor for buffers"),
        pytest.param((12, 10), (BACKWARD, UNKNOWN), 1, id="but one of whom nothing is known"),
        pytest.param((10, 12), (COLLECTIVE, COLLECTIVE), 1, id="unless all do"),
    ],
)
def test_the_culprit_is_who_the_others_wait_for(
    silent_for: tuple[float, ...], findings: tuple[Finding, ...], culprit: int
) -> None:
    silences = [Silence(rank, "training", 5, seconds, pid=1) for rank, seconds in enumerate(silent_for)]
    hang = find_culprit(silences, dict(enumerate(findings)))
    assert (hang.culprit.rank, hang.finding) == (culprit, findings[culprit])
