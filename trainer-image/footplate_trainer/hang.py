"""Decides whether a rank hangs, from its heartbeats alone. Pure: the clock is an argument.

A rank that trains must finish steps; one that does something else must give signs of life, with a limit that leaves
room for long downloads, evaluations and saves. Code that never says what it does is not watched: its silence means
nothing. What counts is when a beat was seen here to change, so that no rank's clock can hide a hang.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from footplate.contract import Activity
from footplate_trainer.exchange import Beat

GENEROUS_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Stuck:
    """A rank that hangs, in what activity, after which step, and for how many seconds."""

    rank: int
    activity: Activity
    step: int
    seconds: float


@dataclass(slots=True)
class HangDetector:
    """Watches the ranks of one pod."""

    timeout: float
    """Longest time without a finished step, in seconds."""
    _seen: dict[int, tuple[tuple[str, float], float]] = field(default_factory=dict)

    def observe(self, beats: Mapping[int, Beat], *, now: float) -> Stuck | None:
        """Takes in what the ranks say at `now`; returns the one that has been stuck longest, if any is."""
        stuck = [self._observe(rank, beat, now) for rank, beat in beats.items()]
        return max((one for one in stuck if one is not None), key=lambda one: one.seconds, default=None)

    def _observe(self, rank: int, beat: Beat, now: float) -> Stuck | None:
        sign = _sign_of_life(beat)
        last_sign, since = self._seen.get(rank, (None, now))
        if sign != last_sign:
            since = now
            self._seen[rank] = (sign, now)
        limit = self._limit(beat.activity)
        return Stuck(rank, beat.activity, beat.step, now - since) if now - since > limit else None

    def _limit(self, activity: Activity) -> float:
        if activity == "starting":
            return float("inf")
        return self.timeout if activity == "training" else max(self.timeout, GENEROUS_SECONDS)


def _sign_of_life(beat: Beat) -> tuple[str, float]:
    """What changes as long as a rank lives: its steps while it trains, else any beat."""
    return (beat.activity, beat.step if beat.activity == "training" else beat.time)
