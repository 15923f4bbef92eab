"""Who waits for nodes, and how much of what namespaces hold goes into their models. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from footplate.api.status import Phase
from footplate.client import Job
from footplate.objects import block
from footplate.ui.jobs_view import accelerators_of

WAITING = (Phase.PENDING, Phase.QUEUED)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that waits: what for, and for how long."""

    job: Job
    phase: str
    reason: str
    accelerators: str
    """What it asks for, in words."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Goodput:
    """Of what a namespace's jobs have held, the part that went into their models."""

    namespace: str
    percent: float
    seconds: float
    """Accelerator seconds held (node seconds where there are none)."""
    jobs: int


def queue(jobs: Sequence[Job], *, now: datetime) -> list[Waiting]:
    """The jobs that wait, who has waited longest first."""
    waiting = []
    for job in jobs:
        if job.phase is not None and job.phase not in WAITING:
            continue
        since = job.status.transitions[-1].time if job.status.transitions else job.created or now
        reason = job.status.message or "the operator hasn't looked at it yet"
        seconds = max(0.0, (now - since).total_seconds())
        waiting.append(Waiting(job, str(job.phase or Phase.PENDING), reason, _asked(job), seconds))
    return sorted(waiting, key=lambda each: -each.seconds)


def _asked(job: Job) -> str:
    """A runtime may ask for accelerators where the job itself doesn't: what it says isn't read for this."""
    has_runtime = bool(block(job.manifest, "spec", "runtimeRef"))
    return accelerators_of(job) or ("as its runtime says" if has_runtime else "CPUs")


def goodputs(jobs: Sequence[Job]) -> list[Goodput]:
    """By namespace, who holds most first; jobs whose code says no steps aren't counted."""
    productive: Counter[str] = Counter()
    held: Counter[str] = Counter()
    count: Counter[str] = Counter()
    for job in jobs:
        usage = job.status.usage
        if usage is None or usage.productive_seconds is None or usage.lost_seconds is None:
            continue
        productive[job.namespace] += usage.productive_seconds
        held[job.namespace] += usage.productive_seconds + usage.lost_seconds
        count[job.namespace] += 1
    return [
        Goodput(namespace, 100 * productive[namespace] / seconds, seconds, count[namespace])
        for namespace, seconds in held.most_common()
        if seconds
    ]
