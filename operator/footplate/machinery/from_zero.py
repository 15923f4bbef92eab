"""Counters of which Prometheus sees all. `increase` takes the first value that it finds of a series for what was there
before: whatever a leader counted until then, such as an outage's worth in the second in which it took over, would be
nobody's. So a series says 0 for as long as somebody who scrapes may not have seen it yet.
"""

import time
from collections.abc import Callable, Hashable

SEEN_AFTER_SECONDS = 150.0
"""Since the first scrape: longer than the two minutes between scrapes that Prometheus can take at most, by its lookback
of five. So whoever scrapes beside the first has seen it, too.
"""


class FromZero:
    """When each series was scraped first."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._first: dict[Hashable, float] = {}

    def show(self, series: Hashable, amount: float) -> float:
        """What a series says in a scrape."""
        now = self._monotonic()
        return amount if now >= self._first.setdefault(series, now) + SEEN_AFTER_SECONDS else 0.0

    def forget(self, series: Hashable) -> None:
        """The series ends; one of its name begins anew."""
        self._first.pop(series, None)
