"""A run's life as a bar of phases, and what its attempts came to. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from footplate.api.status import Attempt, TrainingJobStatus
from footplate.client.status import phases_of_run

WIDTH = 1000.0
"""Of the bar, in its own units."""
THINNEST = 4.0
"""A phase of an instant is still seen."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One phase: where it lies in the bar, and for how long it lasted."""

    phase: str
    start: datetime
    seconds: float
    x: float
    width: float
    now: bool
    """Whether the job is in it still."""


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One gang and what became of it."""

    attempt: Attempt
    seconds: float | None
    current: bool
    undone: int | None
    """Steps that the next attempt had to do again; None where it isn't known."""


def timeline(status: TrainingJobStatus, *, now: datetime) -> list[Segment]:
    """The phases of the run as far as the status keeps them, the latest at the right end.

    A phase that lasted no time at all has the least width, taken from the others in proportion.
    """
    phases = phases_of_run(status)
    moments = [transition.time for transition in phases]
    finished = status.phase is not None and status.phase.finished
    lasting = phases[:-1] if finished else phases
    ends = [*moments[1:], now][: len(lasting)]
    spans = [max(0.0, (end - each.time).total_seconds()) for each, end in zip(lasting, ends, strict=True)]
    widths = _share(spans)
    segments, x = [], 0.0
    for index, (transition, lasted, width) in enumerate(zip(lasting, spans, widths, strict=True)):
        still = not finished and index == len(lasting) - 1
        segments.append(Segment(str(transition.phase), transition.time, lasted, x, width, still))
        x += width
    return segments


def attempts(status: TrainingJobStatus, *, now: datetime) -> list[AttemptView]:
    """The run's attempts, the newest first."""
    views = []
    following: Attempt | None = None
    for attempt in reversed(status.attempts):
        end = attempt.end_time or now
        lasted = (end - attempt.start_time).total_seconds() if attempt.start_time else None
        views.append(AttemptView(attempt, lasted, attempt.end_time is None, _undone(attempt, following)))
        following = attempt
    return views


def _undone(attempt: Attempt, following: Attempt | None) -> int | None:
    if following is None or attempt.last_step is None or following.resumed_from_step is None:
        return None
    return max(0, attempt.last_step - following.resumed_from_step)


def _share(spans: Sequence[float]) -> list[float]:
    if not spans:
        return []
    room = WIDTH - THINNEST * len(spans)
    total = sum(spans)
    if total == 0:
        return [WIDTH / len(spans)] * len(spans)
    return [THINNEST + room * span / total for span in spans]
