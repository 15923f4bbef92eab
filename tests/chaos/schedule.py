"""What befalls a job and when, drawn from a seed. Pure: the same seed is the same schedule, everywhere and always.

A schedule is a list of strikes in the order of training's progress. Each waits for its moment, which is tied to what
the gang does (starts, takes step k, saves, evaluates, hands in its model), not to a clock, and then brings one fault or
two at once. The first fault goes round the table of kinds, so that a row of seeds as long as it meets every kind.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

STEPS = {"exact.py": 72, "fit.py": 70}
"""Programs of tests/programs, and the optimizer steps that each takes."""
EVERY = 12
"""Steps between two checkpoints; there is one at the end of each epoch, too."""


class Kind(StrEnum):
    """What may befall a job."""

    RANK_KILLED = "rank killed"
    RANK_ASKED = "rank asked to stop"
    RANK_FROZEN = "rank frozen"
    POD_KILLED = "pod killed"
    POD_ASKED = "pod asked to stop"
    POD_FROZEN = "pod frozen and thawed"
    POD_DELETED = "pod deleted"
    POD_DELETED_NOW = "pod deleted without grace"
    POD_EVICTED = "pod evicted"
    NODE_DRAINED = "node drained"
    NODE_DIED = "node died"
    NODE_PARTITIONED = "node partitioned and healed"
    SUSPENDED = "job suspended and resumed"
    DAMAGED = "newest checkpoint damaged, pod killed"
    OPERATOR_KILLED = "operator killed"
    OPERATOR_KILLED_AT_WRITE = "operator killed at a write"
    CLOCK_JUMPED = "operator's clock jumps"
    API_THROTTLED = "API answers 429"
    API_BROKEN = "API answers 500"
    API_ANSWERS_LOST = "API's answers to writes are lost"
    WATCHES_CUT = "watches cut"
    S3_REFUSED = "S3 refuses connections"
    S3_SILENT = "S3 never answers"
    S3_SLOW = "S3 is slow"
    S3_SLOW_DOWN = "S3 answers 503"
    S3_CUT = "S3 connections cut"
    S3_LOST = "S3's answers are lost"


@dataclass(frozen=True, slots=True)
class Nature:
    """What is known of a kind beforehand."""

    weight: int
    ends: bool = True
    """It ends the attempt that it meets in training."""
    clean: bool = False
    """The ranks are asked to stop, and have the time to: not one step may be lost."""
    lasting: bool = False
    """It lasts for seconds, and harms only who needs something meanwhile."""


NATURES: Mapping[Kind, Nature] = {
    Kind.RANK_KILLED: Nature(6),
    Kind.RANK_ASKED: Nature(3, clean=True),
    Kind.RANK_FROZEN: Nature(2),
    Kind.POD_KILLED: Nature(6),
    Kind.POD_ASKED: Nature(3, clean=True),
    Kind.POD_FROZEN: Nature(1),
    Kind.POD_DELETED: Nature(3, clean=True),
    Kind.POD_DELETED_NOW: Nature(3),
    Kind.POD_EVICTED: Nature(4, clean=True),
    Kind.NODE_DRAINED: Nature(3, clean=True),
    Kind.NODE_DIED: Nature(3),
    Kind.NODE_PARTITIONED: Nature(3),
    Kind.SUSPENDED: Nature(4, clean=True),
    Kind.DAMAGED: Nature(3),
    Kind.OPERATOR_KILLED: Nature(4, ends=False, lasting=True),
    Kind.OPERATOR_KILLED_AT_WRITE: Nature(5, ends=False, lasting=True),
    Kind.CLOCK_JUMPED: Nature(2, ends=False, lasting=True),
    Kind.API_THROTTLED: Nature(2, ends=False, lasting=True),
    Kind.API_BROKEN: Nature(2, ends=False, lasting=True),
    Kind.API_ANSWERS_LOST: Nature(3, ends=False, lasting=True),
    Kind.WATCHES_CUT: Nature(2, ends=False, lasting=True),
    **{kind: Nature(1, ends=False, lasting=True) for kind in Kind if kind.name.startswith("S3_")},
}
KINDS = tuple(Kind)
STRIDE = 10
"""Has no divisor in common with the number of kinds: neighbouring seeds begin with faults of different sorts."""
STORAGE = frozenset(kind for kind in Kind if kind.name.startswith("S3_"))


class Variant(StrEnum):
    """What is particular about a job's training."""

    PLAIN = "plain"
    STREAM = "stream"
    """Of exact.py: its samples come as a stream."""
    TRAININGS = "trainings"
    """Of exact.py: two trainings, one after the other."""
    CALLBACKS = "callbacks"
    """Of fit.py: early stopping that never stops, whose best weights are taken in the end, and an average of them."""


VARIANTS = {
    "exact.py": (Variant.PLAIN, Variant.PLAIN, Variant.STREAM, Variant.TRAININGS),
    "fit.py": (Variant.PLAIN, Variant.CALLBACKS),
}


class Moment(StrEnum):
    """What the gang is doing when it is struck."""

    STARTING = "starting"
    """From the sight of its pods on: images, interpreters, rendezvous, restoring."""
    STEP = "step"
    SAVING = "saving"
    EVALUATING = "evaluating"
    FINISHING = "finishing"
    """The result is written; ranks leave, the model is uploaded, verified and committed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; `target` is a number that chooses among what there is (pods, ranks, files), `extent` how much."""

    kind: Kind
    target: int
    extent: float


@dataclass(frozen=True, slots=True)
class Strike:
    """Faults at one moment: `delay` seconds after the gang has taken `step`, or after it began what it does."""

    moment: Moment
    step: int
    delay: float
    faults: tuple[Fault, ...]

    @property
    def ends(self) -> bool:
        """True where another attempt follows, if the strike doesn't come too late."""
        return any(NATURES[fault.kind].ends for fault in self.faults)

    def __str__(self) -> str:
        when = f"{self.moment} {self.step}" if self.moment in (Moment.STEP, Moment.SAVING) else str(self.moment)
        return f"{when} + {self.delay:.2f} s: " + " and ".join(str(fault.kind) for fault in self.faults)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A job's shape, and what befalls it."""

    seed: int
    program: str
    variant: Variant
    nodes: int
    processes: int
    """Ranks a node."""
    workers: int
    """Data workers a rank."""
    strikes: tuple[Strike, ...]

    @property
    def world(self) -> int:
        """Ranks in all."""
        return self.nodes * self.processes

    def __str__(self) -> str:
        shape = f"{self.nodes} nodes × {self.processes} ranks, {self.workers} data workers each"
        title = f"seed {self.seed}: {self.program} ({self.variant}) on {shape}"
        return "\n".join([title, *(f"  {strike}" for strike in self.strikes)])


def draw(seed: int) -> Schedule:
    """The schedule of a seed."""
    chance = random.Random(seed)
    first = KINDS[seed * STRIDE % len(KINDS)]
    program = "exact.py" if first is Kind.RANK_FROZEN else chance.choices(["exact.py", "fit.py"], [3, 2])[0]
    shapes = [(2, 1), (3, 1)] if first is Kind.POD_FROZEN else [(1, 1), (1, 2), (2, 1), (3, 1)]
    nodes, processes = chance.choice(shapes)
    workers = chance.choice([0, 0, 1]) if program == "exact.py" and nodes * processes == 1 else 0
    kinds = [kind for kind in KINDS if _fits(kind, program, nodes)]
    steps = sorted(chance.sample(range(3, STEPS[program] - 4), chance.choice([2, 2, 3, 3, 4])))
    strikes = [
        _draw_strike(chance, kinds, program, step, first=first if number == 0 else None)
        for number, step in enumerate(steps)
    ]
    variant = chance.choice(VARIANTS[program])
    return Schedule(seed, program, variant, nodes, processes, workers, _at_other_moments(chance, program, strikes))


def _fits(kind: Kind, program: str, nodes: int) -> bool:
    """A rank that is frozen while it evaluates, or at the last save, is given an hour; nobody is left to miss a gang of
    one pod.
    """
    if kind is Kind.RANK_FROZEN:
        return program == "exact.py"
    return kind is not Kind.POD_FROZEN or nodes > 1


def _draw_strike(
    chance: random.Random, kinds: Sequence[Kind], program: str, step: int, *, first: Kind | None
) -> Strike:
    kind = first or chance.choices(kinds, [NATURES[kind].weight for kind in kinds])[0]
    chosen = [kind]
    if chance.random() < (0.8 if NATURES[kind].lasting else 0.25):
        others = [other for other in kinds if other is not kind and NATURES[other].ends]
        chosen.append(chance.choices(others, [NATURES[other].weight for other in others])[0])
    faults = tuple(Fault(each, chance.randrange(64), chance.random()) for each in chosen)
    if chance.random() < 0.3:
        last = STEPS[program] // EVERY * EVERY
        if Kind.RANK_FROZEN in chosen:
            last = (STEPS[program] - 1) // EVERY * EVERY
        saving = min(-(-step // EVERY) * EVERY, last)
        return Strike(Moment.SAVING, saving, chance.uniform(0, 0.08), faults)
    return Strike(Moment.STEP, step, chance.uniform(0, 0.03), faults)


def _at_other_moments(chance: random.Random, program: str, strikes: list[Strike]) -> tuple[Strike, ...]:
    """Some strikes come while a gang starts, evaluates or finishes instead, where that can be."""
    moved = list(strikes)
    after_end = [True, *(before.ends for before, _ in pairwise(strikes))]
    for number, strike in enumerate(strikes):
        frozen = any(fault.kind in (Kind.RANK_FROZEN, Kind.POD_FROZEN) for fault in strike.faults)
        if frozen or chance.random() > 0.4:
            continue
        if number == len(strikes) - 1 and chance.random() < 0.5:
            moved[number] = Strike(Moment.FINISHING, STEPS[program], chance.uniform(0, 0.5), strike.faults)
        elif program == "fit.py" and chance.random() < 0.5:
            moved[number] = Strike(Moment.EVALUATING, strike.step, 0.0, strike.faults)
        elif after_end[number]:
            moved[number] = Strike(Moment.STARTING, 0, chance.uniform(0, 3.0), strike.faults)
    return tuple(moved)
