"""Decides which ranks are slower than the others, from each rank's own seconds of work on a step. Pure.

A straggler is a rank whose own work has taken at least `FACTOR` times the median rank's at every look for a while; it
is one no longer at the first look at which it does not. Nothing is ever done to it.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from footplate.api.reports import MAX_STRAGGLERS, Straggler

FACTOR = 1.5
WINDOW_SECONDS = 30.0
MIN_LOOKS = 10
MIN_DIFFERENCE = 1e-3
"""Seconds a step; less is noise, whatever the factor."""


@dataclass(slots=True)
class StragglerWatch:
    """Watches the ranks of one gang."""

    ranks_per_node: int
    _slow: dict[int, tuple[float, int]] = field(default_factory=dict)
    """Since when a rank has been slow, and at how many looks in a row."""

    def look(self, work: Sequence[float], *, now: float) -> list[Straggler]:
        """Takes in every rank's own seconds of a step, by rank (0: not known); returns the stragglers, slowest first.

        The median of an even number of ranks is the lower of the two in the middle, so that of two ranks the slower
        one is compared with the faster.
        """
        known = [seconds for seconds in work if seconds > 0]
        median = statistics.median_low(known) if len(known) > 1 else 0.0
        slow = {rank: seconds / median for rank, seconds in enumerate(work) if median and _is_slow(seconds, median)}
        self._slow = {rank: self._seen_again(rank, now) for rank in slow}
        stragglers = [
            Straggler(rank=rank, node_rank=rank // self.ranks_per_node, factor=round(slow[rank], 2))
            for rank, (since, looks) in self._slow.items()
            if now - since >= WINDOW_SECONDS and looks >= MIN_LOOKS
        ]
        return sorted(stragglers, key=lambda straggler: -straggler.factor)[:MAX_STRAGGLERS]

    def _seen_again(self, rank: int, now: float) -> tuple[float, int]:
        since, looks = self._slow.get(rank, (now, 0))
        return since, looks + 1


def _is_slow(seconds: float, median: float) -> bool:
    return seconds >= FACTOR * median and seconds - median >= MIN_DIFFERENCE
