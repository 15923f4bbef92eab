"""What samples of a process say of leaks. Pure.

Memory is judged by the slope of its minima over a row of equal blocks of time: minima, because what is allocated for a
moment is no leak; blocks, because neighbouring samples resemble each other and would make the slope look surer than it
is.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

BLOCKS = 20
STUDENT = 2.101
"""Of the t distribution with BLOCKS - 2 degrees of freedom: 95 % lie within so many standard errors."""
WARM_UP = 0.25
"""Share of the time after which caches are full and lazy imports done."""
SHORTEST_SECONDS = 1800.0
"""A shorter time says nothing about a slope by the hour: the operator remembers the last 4,096 events that it wrote."""
MOST_MIB_PER_HOUR = 8.0
MOST_FILES = 150
"""50 requests in flight, 50 polls, the watches, and what else a process has open."""
MOST_NEW_TASKS = 20
MIB = 2**20


@dataclass(frozen=True)
class Sample:
    """What the operator's process was at one moment: seconds since the start, bytes, counts."""

    seconds: float
    resident_bytes: int
    files: int
    tasks: int
    queue: int


@dataclass(frozen=True)
class Slope:
    """Growth in MiB an hour, within `error` of it at 95 %."""

    mib_per_hour: float
    error: float


def memory_slope(samples: Sequence[Sample]) -> Slope | None:
    """Of the time after the warm-up; None where there are too few samples."""
    begin, end = samples[0].seconds, samples[-1].seconds
    begin += (end - begin) * WARM_UP
    blocks: dict[int, int] = {}
    for each in samples:
        if each.seconds >= begin:
            block = min(BLOCKS - 1, int((each.seconds - begin) / (end - begin) * BLOCKS))
            blocks[block] = min(each.resident_bytes, blocks.get(block, each.resident_bytes))
    if len(blocks) < BLOCKS:
        return None
    hours = [(begin + (end - begin) * (block + 0.5) / BLOCKS) / 3600 for block in sorted(blocks)]
    mib = [blocks[block] / MIB for block in sorted(blocks)]
    slope, intercept = statistics.linear_regression(hours, mib)
    rest = sum((y - slope * x - intercept) ** 2 for x, y in zip(hours, mib, strict=True))
    spread = sum((x - statistics.fmean(hours)) ** 2 for x in hours)
    return Slope(slope, STUDENT * math.sqrt(rest / (BLOCKS - 2) / spread))


def judge(samples: Sequence[Sample], *, after: Sample) -> list[str]:
    """What is wrong; `after` is the idle process once all jobs are gone, the first sample the one before there were
    any.
    """
    found = []
    slope = memory_slope(samples)
    long_enough = samples[-1].seconds - samples[0].seconds >= SHORTEST_SECONDS
    if slope is not None and long_enough and slope.mib_per_hour - slope.error > MOST_MIB_PER_HOUR:
        grows = f"{slope.mib_per_hour:.1f} ± {slope.error:.1f} MiB an hour"
        found.append(f"memory grows by {grows}, more than {MOST_MIB_PER_HOUR:g}")
    if (files := max(each.files for each in samples)) > MOST_FILES:
        found.append(f"{files} open files, more than {MOST_FILES}")
    if (tasks := after.tasks - samples[0].tasks) > MOST_NEW_TASKS:
        found.append(f"{tasks} more tasks than before the first job, though all jobs are gone")
    if after.queue:
        found.append(f"{after.queue} keys in the queue, though all jobs are gone")
    return found
