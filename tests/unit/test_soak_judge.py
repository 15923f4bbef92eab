"""A leak is seen in samples, and noise is not taken for one."""

import random
from collections.abc import Callable

import pytest

from soak.judge import MIB, Sample, judge, memory_slope

BASE = 80 * MIB


def samples(
    grows: Callable[[float], float], *, seconds: int = 2700, noise: float = 0.0, files: int = 20
) -> list[Sample]:
    """One a second; `grows` gives MiB above the base at a time in seconds."""
    chance = random.Random(0)
    return [
        Sample(second, BASE + int((grows(second) + chance.uniform(0, noise)) * MIB), files, 50, 0)
        for second in range(seconds)
    ]


def test_the_slope_is_found_among_noise() -> None:
    slope = memory_slope(samples(lambda second: 30 * second / 3600, noise=3.0))
    assert slope is not None
    assert slope.mib_per_hour == pytest.approx(30, abs=1)
    assert 0 < slope.error < 1


def test_bursts_and_a_warm_up_are_no_leak() -> None:
    seen = samples(lambda second: min(second, 600) / 30 + (20 if second % 60 < 20 else 0), noise=2.0)
    assert judge(seen, after=seen[-1]) == []


def test_few_samples_have_no_slope() -> None:
    assert memory_slope(samples(lambda _: 0.0, seconds=20)) is None


IDLE = Sample(2700, BASE, 20, 50, 0)
LEAKS = {
    "memory": (samples(lambda second: 20 * second / 3600, noise=1.0), IDLE, "memory grows by 20.0 ± "),
    "files": (samples(lambda _: 0.0, files=151), IDLE, "151 open files, more than 150"),
    "tasks": (samples(lambda _: 0.0), Sample(2700, BASE, 20, 71, 0), "21 more tasks"),
    "queue": (samples(lambda _: 0.0), Sample(2700, BASE, 20, 50, 1), "1 keys in the queue"),
}


@pytest.mark.parametrize(("seen", "after", "violation"), LEAKS.values(), ids=LEAKS)
def test_a_leak(seen: list[Sample], after: Sample, violation: str) -> None:
    [found] = judge(seen, after=after)
    assert found.startswith(violation)
