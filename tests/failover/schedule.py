"""What befalls replicas of the operator and when, drawn from a seed. Pure: the same seed is the same schedule.

The first strike goes round the table of kinds, so that a row of seeds as long as it meets every kind, with two replicas
and with three in turn.
"""

import random
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What may befall a replica, or all of them."""

    KILLED = "killed"
    FROZEN = "frozen and thawed"
    CUT_OFF = "cut off from the API server"
    WATCHES_SILENT = "its watches silent"
    LEASE_CUT = "its requests for the lease unanswered"
    SLOW = "seconds a request"
    FLAPPING = "requests fail, answers are lost"
    STEPPED = "its clock stepped by hours"
    UPGRADED = "all replaced, one by one"


KINDS = tuple(Kind)
LASTING = frozenset({Kind.FROZEN, Kind.CUT_OFF, Kind.WATCHES_SILENT, Kind.LEASE_CUT, Kind.SLOW, Kind.FLAPPING})


class Whom(StrEnum):
    """Which replicas are struck."""

    LEADER = "the leader"
    STANDBY = "a standby"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Strike:
    """`pause` seconds after the one before, or after all replicas were ready. What lasts does so for `seconds`; a clock
    is stepped by `hours`; what is slow takes `delay` seconds more a request.
    """

    kind: Kind
    whom: Whom
    pause: float
    seconds: float
    hours: float
    delay: float

    def __str__(self) -> str:
        extent = {Kind.STEPPED: f" by {self.hours:+.1f} h", Kind.SLOW: f", {self.delay:.1f} s each"}.get(self.kind, "")
        lasts = f", for {self.seconds:.0f} s" if self.kind in LASTING else ""
        return f"{self.pause:.1f} s later {self.whom}: {self.kind}{extent}{lasts}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One life of replicas."""

    seed: int
    replicas: int
    strikes: tuple[Strike, ...]

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}, {self.replicas} replicas", *(f"  {each}" for each in self.strikes)])


def draw(seed: int) -> Schedule:
    """The schedule of a seed."""
    chance = random.Random(seed)
    kinds = [KINDS[seed % len(KINDS)], *chance.choices(KINDS, k=chance.randint(1, 2))]
    strikes = tuple(_draw_strike(chance, kind, first=number == 0) for number, kind in enumerate(kinds))
    return Schedule(seed, 2 + seed // len(KINDS) % 2, strikes)


def _draw_strike(chance: random.Random, kind: Kind, *, first: bool) -> Strike:
    whom = Whom.LEADER if first else chance.choices(tuple(Whom), weights=(5, 2, 2))[0]
    if kind is Kind.UPGRADED:
        whom = Whom.ALL
    return Strike(
        kind=kind,
        whom=whom,
        pause=chance.uniform(0.5, 3.0) if first else chance.uniform(1.0, 16.0),
        seconds=chance.uniform(11.0, 22.0),
        hours=chance.choice((-1, 1)) * chance.uniform(1.0, 12.0),
        delay=chance.uniform(0.5, 3.0),
    )
