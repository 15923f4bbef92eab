"""Decides whether ranks hang, from their heartbeats, and which of them is the cause, from their stacks. Pure: the clock
is an argument.

A rank that trains must finish steps; one that does something else must give signs of life, with a limit that leaves
room for long downloads, compilations, evaluations and saves. Code that never says what it does is not watched: its
silence means nothing. What counts is when a beat was seen here to change, so that no rank's clock can hide a hang; and
for how long this process itself was looking, so that a pod that stood still as a whole isn't taken for hung.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from footplate.contract import Activity
from footplate_trainer.exchange import GENEROUS_SECONDS, Beat
from footplate_trainer.supervisor.stacks import Finding

LONGEST_LOOK = 10.0
"""Seconds between two looks that count; the rest of a longer pause was nobody's silence."""


@dataclass(frozen=True, slots=True)
class Silence:
    """For how many seconds a rank has given no sign of life, in what activity and after which step; and whether that is
    longer than this activity may.
    """

    rank: int
    activity: Activity
    step: int
    seconds: float
    pid: int
    too_long: bool = True


@dataclass(frozen=True, slots=True)
class Hang:
    """The rank that holds the others up, and what it was found at."""

    culprit: Silence
    finding: Finding


@dataclass(slots=True)
class HangDetector:
    """Watches the ranks of one pod."""

    timeout: float
    """Longest time without a finished step, in seconds."""
    _seen: dict[int, tuple[tuple[str, float], float]] = field(default_factory=dict)
    _looked: float | None = None

    def observe(self, beats: Mapping[int, Beat], *, now: float) -> list[Silence]:
        """Takes in what the ranks say at `now`. Once one has been silent for too long, returns all that may be why:
        those that have been silent for half the timeout.
        """
        self._leave_out_pause(now)
        silences = [self._observe(rank, beat, now) for rank, beat in beats.items()]
        if not any(silence.too_long for silence in silences):
            return []
        return [silence for silence in silences if silence.seconds > self.timeout / 2]

    def _leave_out_pause(self, now: float) -> None:
        pause = 0.0 if self._looked is None else now - self._looked - LONGEST_LOOK
        if pause > 0:
            self._seen = {rank: (sign, since + pause) for rank, (sign, since) in self._seen.items()}
        self._looked = now

    def _observe(self, rank: int, beat: Beat, now: float) -> Silence:
        sign = _sign_of_life(beat)
        last_sign, since = self._seen.get(rank, (None, now))
        if sign != last_sign:
            since = now
            self._seen[rank] = (sign, now)
        seconds = now - since
        return Silence(rank, beat.activity, beat.step, seconds, beat.pid, seconds > self._limit(beat.activity))

    def _limit(self, activity: Activity) -> float:
        if activity == "starting":
            return float("inf")
        return self.timeout if activity == "training" else max(self.timeout, GENEROUS_SECONDS)


def _sign_of_life(beat: Beat) -> tuple[str, float]:
    """What changes as long as a rank lives: its steps while it trains, else any beat."""
    return (beat.activity, beat.step if beat.activity == "training" else beat.time)


def find_culprit(silences: Sequence[Silence], findings: Mapping[int, Finding]) -> Hang:
    """The rank that the others wait for: one that isn't itself waiting in a collective, and of these one that has been
    silent for too long, and longest.
    """

    def order(silence: Silence) -> tuple[bool, bool, float]:
        return findings[silence.rank].waits_for_others, not silence.too_long, -silence.seconds

    culprit = min(silences, key=order)
    return Hang(culprit, findings[culprit.rank])
