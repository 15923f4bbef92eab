"""How long to wait before something that failed is tried again."""

import random

_MOST_DOUBLINGS = 16


def pause_after(failures: int, *, first: float, last: float) -> float:
    """Seconds after so many failures in a row: doubling up to `last`, with jitter over the upper half, so that many
    who failed together don't come again together.
    """
    return doubled(failures, first=first, last=last) * random.uniform(0.5, 1.0)


def doubled(failures: int, *, first: float, last: float) -> float:
    """The same without jitter, where users are told how long it takes."""
    return float(min(last, first * 2 ** min(max(0, failures - 1), _MOST_DOUBLINGS)))
