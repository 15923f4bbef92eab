"""What happened to a job under a schedule, and what of it must not be: pure.

The program's own witness is believed, not the status: it says which attempt took which step, in what order.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from chaos.schedule import EVERY, NATURES, STEPS, STORAGE, Kind, Schedule, Strike, Variant
from footplate.api.status import FailureClass

_NOBODYS = ("Completed", "SuspendedByUser", "Resized", "SchedulingTimeout")
_CLASSES = {
    "UserError": FailureClass.USER,
    "OutOfMemory": FailureClass.USER,
    "Killed": FailureClass.USER,
    "Hang": FailureClass.HANG,
}
"""Who pays for the end of an attempt; the infrastructure for all others."""
SAVE_SECONDS = 10.0
"""A save of these small models takes no longer, however busy the machine."""


class Step(NamedTuple):
    """A line of the witness: `outcome` is the loss, or the weights' sum, to the last bit."""

    attempt: int
    step: int
    outcome: str
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class Struck:
    """A strike that found its moment: in which attempt, with which checkpoints there, what found a victim, and when."""

    strike: Strike
    attempt: int
    complete: tuple[int, ...]
    landed: tuple[Kind, ...]
    time: float = 0.0


@dataclass(slots=True)
class Story:
    """All that is known in the end."""

    schedule: Schedule
    struck: list[Struck] = field(default_factory=list)
    status: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    reference_steps: Sequence[Step] = ()
    result: Any = None
    reference: Any = None
    checkpoints: Mapping[int, int] = field(default_factory=dict)
    """Attempt that committed each complete checkpoint, by step."""
    found: list[str] = field(default_factory=list)
    """What went wrong on the way."""
    told: list[str] = field(default_factory=list)
    """Events and the ends of all logs."""
    seconds: float = 0.0

    @property
    def landed(self) -> Counter[Kind]:
        """Faults that found something to harm, by kind."""
        return Counter(kind for struck in self.struck for kind in struck.landed)

    @property
    def attempts(self) -> int:
        """Gangs that it took."""
        return int(self.status.get("attempt", -1)) + 1


@dataclass(frozen=True, slots=True)
class Resumption:
    """How training went on: the last step before it, the first after it, and what struck in between."""

    before: int
    after: int
    last_attempt: int
    next_attempt: int
    struck: tuple[Struck, ...]
    time: float = 0.0
    """When the first step after it was done."""

    @property
    def cause(self) -> Kind | None:
        """The one fault that came between; None where there were several."""
        kinds = [kind for struck in self.struck for kind in struck.landed]
        return kinds[0] if len(kinds) == 1 else None

    @property
    def seconds(self) -> float:
        """From the fault to the first step after it."""
        return self.time - max(struck.time for struck in self.struck)

    def __str__(self) -> str:
        struck = "; ".join(", ".join(each.landed) for each in self.struck)
        return (
            f"attempt {self.last_attempt} (to step {self.before}) → {self.next_attempt} (from {self.after}): {struck}"
        )

    @property
    def lost(self) -> int:
        """Steps that were done again."""
        return self.before - self.after + 1

    @property
    def clean(self) -> bool:
        """All ranks were asked to stop, and nothing kept them from it."""
        kinds = [kind for struck in self.struck for kind in struck.landed]
        asked = [kind for kind in kinds if NATURES[kind].clean]
        harmless = [kind for kind in kinds if NATURES[kind].lasting and kind not in STORAGE]
        return bool(asked) and len(asked) + len(harmless) == len(kinds)


def parse_steps(text: str) -> list[Step]:
    """The lines of a witness."""
    lines = (line.split() for line in text.splitlines())
    return [Step(int(attempt), int(step), outcome, float(time)) for attempt, step, outcome, time in lines]


def resumptions(story: Story) -> Iterator[Resumption]:
    """Every change from one attempt that took steps to the next. What a zombie does after that counts for nothing."""
    attempts = sorted({step.attempt for step in story.steps})
    for last, following in pairwise(attempts):
        begin = next(place for place, step in enumerate(story.steps) if step.attempt == following)
        before = [step.step for step in story.steps[:begin] if step.attempt == last]
        struck = tuple(each for each in story.struck if last <= each.attempt < following)
        if before:
            first = story.steps[begin]
            yield Resumption(max(before), first.step, last, following, struck, first.time)


def problems(story: Story) -> list[str]:
    """Where a story differs from what it should be, the worst first."""
    checks = (_end, _exactness, _work_lost, _attempts, _usage, _checkpoints)
    return [*story.found, *(problem for check in checks for problem in check(story))]


def _end(story: Story) -> Iterator[str]:
    status = story.status
    if status.get("phase") != "Succeeded":
        yield f"ended {status.get('phase')}: {status.get('reason')}: {status.get('message')}"
    elif not status.get("artifact"):
        yield f"the status names no artifact: {status.get('message')}"


def _exactness(story: Story) -> Iterator[str]:
    if story.result != story.reference:
        names = [name for name in story.reference or {} if (story.result or {}).get(name) != story.reference[name]]
        yield f"the end differs from that of an undisturbed run in {names}"
    true = {step.step: step.outcome for step in story.reference_steps}
    wrong = [step for step in story.steps if true.get(step.step) != step.outcome]
    if wrong:
        yield f"{len(wrong)} steps went otherwise than in an undisturbed run, first {wrong[0]}"
    if missing := set(range(1, STEPS[story.schedule.program] + 1)) - {step.step for step in story.steps}:
        yield f"steps that nobody took: {sorted(missing)}"
    for attempt in {step.attempt for step in story.steps}:
        taken = [step.step for step in story.steps if step.attempt == attempt]
        if taken != sorted(set(taken)) or (len(_beginnings(taken)) > 1 and not _may_skip(story)):
            yield f"attempt {attempt} took the steps {taken}"


def _beginnings(taken: Sequence[int]) -> list[int]:
    """The first of each row of steps without a gap."""
    return [step for before, step in zip([None, *taken], taken, strict=False) if before is None or step != before + 1]


def _may_skip(story: Story) -> bool:
    """Of two trainings one after the other the first may lose its end, and take those steps again, while the second
    goes on from where it was.
    """
    return story.schedule.variant is Variant.TRAININGS and Kind.DAMAGED in story.landed


def _work_lost(story: Story) -> Iterator[str]:
    for resumption in resumptions(story):
        where = str(resumption)
        so_far = [kind for struck in story.struck if struck.attempt < resumption.next_attempt for kind in struck.landed]
        if resumption.lost < 0:
            yield f"{-resumption.lost} steps were left out, {where}"
        if resumption.clean and resumption.lost:
            yield f"{resumption.lost} steps lost at a clean stop, {where}"
        if Kind.DAMAGED in so_far:
            continue
        known = max((step for struck in resumption.struck for step in struck.complete), default=0)
        if resumption.after <= known:
            yield f"step {known} was complete, {where}"
        if not STORAGE & set(so_far) and (overdue := _seconds_overdue(story, resumption)) > SAVE_SECONDS:
            yield f"{resumption.lost} steps lost: for {overdue:.0f} s none of them was saved, {where}"


def _seconds_overdue(story: Story, resumption: Resumption) -> float:
    """For how long training had gone on after the next checkpoint was due, which it never came to."""
    first_due = resumption.after - 1 + EVERY
    lost = [
        step.time for step in story.steps if step.attempt == resumption.last_attempt and step.time < resumption.time
    ]
    taken = [step.time for step in story.steps if step.step == first_due and step.time < resumption.time]
    return max(lost) - taken[-1] if taken and resumption.before > first_due else 0.0


def _attempts(story: Story) -> Iterator[str]:
    kept = story.status.get("attempts", [])
    charged = Counter(_CLASSES.get(each["reason"], FailureClass.INFRASTRUCTURE) for each in kept if _is_failure(each))
    restarts = story.status.get("restarts") or {}
    for kind, name in ((each, each.lower()) for each in FailureClass if each is not FailureClass.PERMANENT):
        if len(kept) == story.attempts and restarts.get(name, 0) != charged[kind]:
            yield f"restarts.{name} is {restarts.get(name)}, but {charged[kind]} attempts ended so"
    for each in kept:
        yield from _attempt(story, each)


def _is_failure(attempt: Mapping[str, Any]) -> bool:
    return attempt.get("reason") is not None and attempt["reason"] not in _NOBODYS


def _attempt(story: Story, told: Mapping[str, Any]) -> Iterator[str]:
    taken = [step.step for step in story.steps if step.attempt == told["attempt"]]
    if not taken:
        return
    resumed, last = told.get("resumedFromStep"), told.get("lastStep")
    if resumed is not None and resumed + 1 not in _beginnings(taken):
        yield f"attempt {told['attempt']} says it went on from step {resumed}, but its first was {taken[0]}"
    if last is not None and last > max(taken):
        yield f"attempt {told['attempt']} says its last step was {last}, but it was {max(taken)}"


def _usage(story: Story) -> Iterator[str]:
    usage = story.status.get("usage") or {}
    held, productive, lost = (usage.get(name) for name in ("nodeSeconds", "productiveSeconds", "lostSeconds"))
    if productive is not None and lost is not None and productive + lost != held:
        yield f"usage doesn't add up: {usage}"
    if not 0 <= (usage.get("goodputPercent") or 0) <= 100:
        yield f"goodput of {usage['goodputPercent']} %"


def _checkpoints(story: Story) -> Iterator[str]:
    attempts = [story.checkpoints[step] for step in sorted(story.checkpoints)]
    if attempts != sorted(attempts):
        yield f"a zombie has committed a checkpoint: attempts by step {dict(story.checkpoints)}"
