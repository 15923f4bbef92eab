"""How long something took each time: a histogram, as Prometheus has them."""

from bisect import bisect_left
from collections.abc import Sequence

STEP_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Of steps, in seconds."""
SAVE_BOUNDS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Of saves, in seconds."""


class Durations:
    """Counts by size. `add` takes a fraction of a microsecond."""

    __slots__ = ("_bounds", "counts", "seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """How many took at most so long as each bound, and longer than the one before; the last: longer than all."""
        self.seconds = 0.0
        """All of them together."""

    def add(self, seconds: float, times: int = 1) -> None:
        """It took so long, so many times."""
        self.counts[bisect_left(self._bounds, seconds)] += times
        self.seconds += seconds * times
