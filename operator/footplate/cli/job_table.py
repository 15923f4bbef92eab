"""The table of `footplate list`: a row a job, pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from footplate.cli.words import UNKNOWN, age, duration, number, share
from footplate.client.untrusted import plain
from footplate.objects import block, text
from footplate.objects import number as number_of

if TYPE_CHECKING:
    from footplate.client import Job

_HEAD = ["NAME", "PHASE", "NODES", "STEP", "PROGRESS", "LEFT", "RESTARTS", "AGE"]
_WIDE = ["RUN", "LOSS", "GOODPUT", "REASON", "MESSAGE"]
_MESSAGE_BYTES = 160


def job_rows(jobs: Sequence["Job"], *, now: datetime, wide: bool, namespaces: bool) -> list[list[str]]:
    """Head and rows of the table."""
    first = ["NAMESPACE"] if namespaces else []
    rows = [[*first, *_HEAD, *(_WIDE if wide else [])]]
    for job in jobs:
        first = [job.namespace] if namespaces else []
        rows.append([*first, *_row(job, now), *(_wide(job) if wide else [])])
    return rows


def _row(job: "Job", now: datetime) -> list[str]:
    """From the raw status: to validate five thousand of them takes seconds."""
    status = block(job.manifest, "status")
    progress = block(status, "progress")
    percent, left = progress.get("percent"), number_of(progress, "etaSeconds")
    return [
        job.name,
        job.phase or UNKNOWN,
        plain(text(block(status, "nodes"), "summary"), most=63) or UNKNOWN,
        share(number_of(progress, "step"), number_of(progress, "totalSteps")),
        f"{int(percent)}%" if isinstance(percent, int | float) else UNKNOWN,
        duration(left) if job.phase == "Running" else UNKNOWN,
        f"{number_of(block(status, 'restarts'), 'total') or 0}",
        age(job.created, now=now),
    ]


def _wide(job: "Job") -> list[str]:
    status, progress = job.status, job.progress
    goodput = status.usage.goodput_percent if status.usage else None
    return [
        UNKNOWN if status.run is None else f"{status.run}",
        number(progress.loss) if progress else UNKNOWN,
        UNKNOWN if goodput is None else f"{goodput:.0f}%",
        plain(status.reason or UNKNOWN),
        plain(status.message or "", most=_MESSAGE_BYTES),
    ]
