"""What counts as a rank's own work on a step."""

from dataclasses import dataclass

import pytest

from footplate_trainer.timing.work import WINDOW, WorkMeter


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Loop:
    """A training loop by this clock."""

    clock: Clock
    meter: WorkMeter
    step: int = 0

    def train(self, *, loading: float = 1.0, forward: float = 2.0, waiting: float = 50.0) -> None:
        self.clock.now += loading
        self.meter.enter_forward()
        self.clock.now += waiting
        self.meter.forward(lambda: self.pass_time(forward))
        self.clock.now += waiting
        self.step += 1
        self.meter.step_ended(self.step)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds


@pytest.fixture
def loop() -> Loop:
    clock = Clock()
    return Loop(clock, WorkMeter(clock))


def test_loading_and_forward_count_and_waiting_does_not(loop: Loop) -> None:
    for _ in range(5):
        loop.train()
    assert loop.meter.seconds == 3.0


def test_the_first_step_is_not_known(loop: Loop) -> None:
    loop.train(loading=1000)
    assert loop.meter.seconds == 0.0
    loop.train()
    assert loop.meter.seconds == 3.0


def test_what_is_done_between_two_steps_is_no_part_of_them(loop: Loop) -> None:
    for _ in range(3):
        loop.train()
        loop.meter.interrupt()
        loop.pass_time(1000)
        loop.meter.go_on()
    assert loop.meter.seconds == 3.0


def test_one_long_step_is_left_out_and_a_slow_rank_is_slow_after_some(loop: Loop) -> None:
    for _ in range(WINDOW + 1):
        loop.train()
    loop.train(loading=1000)
    assert loop.meter.seconds == 3.0
    for _ in range(WINDOW + 1):
        loop.train(loading=4)
    assert loop.meter.seconds == 6.0


def test_several_forward_passes_make_one_step(loop: Loop) -> None:
    loop.train()
    loop.pass_time(1)
    for _ in range(3):
        loop.meter.enter_forward()
        loop.meter.forward(lambda: loop.pass_time(2))
        loop.pass_time(50)
    loop.meter.step_ended(2)
    assert loop.meter.seconds == 7.0


def test_a_loop_without_a_measured_model_is_not_known(loop: Loop) -> None:
    for step in range(5):
        loop.pass_time(1)
        loop.meter.step_ended(step)
    assert loop.meter.seconds == 0.0
