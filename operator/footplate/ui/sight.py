"""What is known of one job at a moment: its status, and what its pods and events say beside it.

Each of these may be forbidden to the user, or fail: then its place says so, and the rest of the page stays.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from footplate.api.reports import ProgressStatus
from footplate.client import Job, JobEvent, RankView, Why
from footplate.errors import FootplateError

T = TypeVar("T")
PODS_SECONDS = 4.0
"""Ranks, events and reasons are asked for so often while somebody looks."""


@dataclass(frozen=True, slots=True)
class Sight:
    """`troubles`: by name of what couldn't be read, why."""

    job: Job
    progress: ProgressStatus
    why: Why | None = None
    ranks: Sequence[RankView] = ()
    events: Sequence[JobEvent] = ()
    troubles: Mapping[str, str] = field(default_factory=dict)


class Observer:
    """Looks at one job again and again for one page; blocks, and belongs to one thread at a time."""

    def __init__(self) -> None:
        self._slow: Sight | None = None
        self._slow_version = ""
        self._slow_time = 0.0

    def look(self, job: Job) -> Sight:
        """The job now; what takes more requests is a few seconds old, unless its phase has changed."""
        version = f"{job.phase}/{job.run}/{job.attempt}"
        now = time.monotonic()
        if self._slow is None or version != self._slow_version or now - self._slow_time > PODS_SECONDS:
            self._slow, self._slow_version, self._slow_time = look_whole(job), version, now
        return replace(self._slow, job=job, progress=_live(job))


def look_whole(job: Job) -> Sight:
    """Everything of a job, with the requests that this takes."""
    troubles: dict[str, str] = {}

    def ask(name: str, question: Callable[[], T], otherwise: T) -> T:
        try:
            return question()
        except FootplateError as error:
            troubles[name] = str(error)
            return otherwise

    return Sight(
        job=job,
        progress=_live(job),
        why=ask("why", job.why, None),
        ranks=ask("ranks", job.ranks, []),
        events=ask("events", job.events, []),
        troubles=troubles,
    )


def _live(job: Job) -> ProgressStatus:
    """As the pod says it, else as the status has it."""
    try:
        return job.live() or ProgressStatus()
    except FootplateError:
        return job.progress or ProgressStatus()
