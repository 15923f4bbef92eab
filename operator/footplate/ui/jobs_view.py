"""The list of jobs: which ones, in which order, and what a row says. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from footplate.api.accelerators import is_accelerator
from footplate.api.reports import ProgressStatus
from footplate.api.status import Phase
from footplate.client import Job
from footplate.objects import block, number
from footplate.ui.charts import sparkline

PAGE_ROWS = 100
UNSEEN = "Pending"
"""Of a job that the operator hasn't looked at yet."""
LIVELIEST_FIRST = [
    *(Phase.RUNNING, Phase.RESTARTING, Phase.STARTING, Phase.QUEUED, Phase.PENDING),
    *(Phase.SUSPENDING, Phase.SUSPENDED, Phase.FAILED, Phase.SUCCEEDED),
]

_PLACES = {str(phase): place for place, phase in enumerate(LIVELIEST_FIRST)}


@dataclass(frozen=True, slots=True)
class Row:
    """A job in the list."""

    job: Job
    phase: str
    reason: str
    progress: ProgressStatus
    metric: str
    """The metric that stands for the job: loss, else the first that it reports; empty without one."""
    value: float | None
    spark: str
    """Path of its curve in a box of 100 by 24."""
    nodes: str
    restarts: int
    accelerators: str
    age: float
    """Seconds since the job was made."""

    @property
    def name(self) -> str:
        """Of the job."""
        return self.job.name

    @property
    def namespace(self) -> str:
        """Of the job."""
        return self.job.namespace

    @property
    def key(self) -> str:
        """How a page's address names the job."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Query:
    """What the user wants to see of the list; the page's address holds it."""

    text: str = ""
    phase: str = ""
    namespace: str = ""
    sort: str = "phase"
    descending: bool = False
    page: int = 1

    @classmethod
    def read(cls, said: Mapping[str, str]) -> "Query":
        """From a page's address; what makes no sense is as if it weren't there."""
        sort = said.get("sort", "phase")
        page = said.get("page", "1")
        return cls(
            text=said.get("q", "")[:200],
            phase=said.get("phase", "") if said.get("phase", "") in list(Phase) else "",
            namespace=said.get("namespace", "")[:63],
            sort=sort if sort in SORTS else "phase",
            descending=said.get("order") == "down",
            page=int(page) if page.isdecimal() and len(page) < 6 and int(page) else 1,
        )

    def address(self, **changes: Any) -> str:
        """The query string with some of it changed; a change of what is seen begins at page 1."""
        query = replace(self, **{"page": 1, **changes})
        said = {
            "q": query.text,
            "phase": query.phase,
            "namespace": query.namespace,
            "sort": query.sort if query.sort != "phase" else "",
            "order": "down" if query.descending else "",
            "page": str(query.page) if query.page > 1 else "",
        }
        return "?" + urlencode({name: value for name, value in said.items() if value})

    def sorted_by(self, column: str) -> str:
        """The query string for a click on a column's head: a second click turns the order."""
        return self.address(sort=column, descending=self.sort == column and not self.descending)


@dataclass(frozen=True, slots=True)
class JobsPage:
    """The list as it is shown."""

    query: Query
    rows: Sequence[Row]
    found: int
    total: int
    pages: int
    phases: Mapping[str, int]
    """Jobs by phase, of all that the other filters leave."""
    namespaces: Sequence[str]


SORTS: Mapping[str, Callable[[Row], Any]] = {
    "phase": lambda row: (_PLACES[row.phase], row.age),
    "name": lambda row: (row.name, row.namespace),
    "progress": lambda row: row.progress.percent,
    "eta": lambda row: row.progress.eta_seconds,
    "metric": lambda row: row.value,
    "restarts": lambda row: row.restarts,
    "accelerators": lambda row: (_leading_number(row.accelerators), row.nodes),
    "age": lambda row: row.age,
}


def show_jobs(jobs: Sequence[Job], query: Query, *, now: datetime) -> JobsPage:
    """The rows of one page. Only these are made whole: with ten thousand jobs the rest costs little."""
    rows = [make_row(job, now=now) for job in jobs]
    near = [row for row in rows if _matches(row, query)]
    found = [row for row in near if not query.phase or row.phase == query.phase]
    found = _sort(found, SORTS[query.sort], descending=query.descending)
    pages = max(1, -(-len(found) // PAGE_ROWS))
    page = min(query.page, pages)
    shown = found[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]
    return JobsPage(
        query=replace(query, page=page),
        rows=[replace(row, spark=_spark_of(row)) for row in shown],
        found=len(found),
        total=len(rows),
        pages=pages,
        phases=Counter(row.phase for row in near),
        namespaces=sorted({row.namespace for row in rows}),
    )


def make_row(job: Job, *, now: datetime) -> Row:
    """A job's row, without its curve."""
    status = job.status
    progress = job.progress or ProgressStatus()
    metric = main_metric(progress.metrics)
    return Row(
        job=job,
        phase=str(job.phase or UNSEEN),
        reason=status.reason or "",
        progress=progress,
        metric=metric,
        value=progress.metrics.get(metric),
        spark="",
        nodes=status.nodes.summary if status.nodes else "",
        restarts=status.restarts.total if status.restarts else 0,
        accelerators=accelerators_of(job),
        age=(now - job.created).total_seconds() if job.created else 0.0,
    )


def main_metric(metrics: Mapping[str, Any]) -> str:
    """The one metric that is shown where there is room for one."""
    return "loss" if "loss" in metrics else next(iter(metrics), "")


def accelerators_of(job: Job) -> str:
    """What the gang holds or asks for: `8 gpu`; empty for CPUs alone."""
    resolved = job.status.resolved
    found = resolved.accelerators if resolved is not None else None
    limits = block(job.manifest, "spec", "resources", "limits")
    asked = found or {name: count for name, count in limits.items() if is_accelerator(name)}
    nodes = job.status.nodes.desired if job.status.nodes else number(block(job.manifest, "spec"), "nodes") or 1
    each = {name.rpartition("/")[2]: str(count) for name, count in asked.items()}
    return ", ".join(f"{int(count) * nodes:,} {name}" for name, count in each.items() if count.isdecimal())


def _spark_of(row: Row) -> str:
    history = row.progress.history
    return sparkline(history.metrics.get(row.metric, [])) if history else ""


def _matches(row: Row, query: Query) -> bool:
    if query.namespace and row.namespace != query.namespace:
        return False
    words = query.text.lower().split()
    text = f"{row.namespace}/{row.name} {row.reason} {row.job.status.message or ''}".lower()
    return all(word in text for word in words)


def _sort(rows: Sequence[Row], key: Callable[[Row], Any], *, descending: bool) -> list[Row]:
    """In the order of a column, by name among equals; what isn't known comes last, whichever way it goes."""
    named = sorted(rows, key=lambda row: (row.name, row.namespace))
    keyed = [(key(row), row) for row in named]
    known = sorted((pair for pair in keyed if pair[0] is not None), key=lambda pair: pair[0], reverse=descending)
    return [row for _, row in known] + [row for value, row in keyed if value is None]


def _leading_number(words: str) -> int:
    return int(words.split(" ")[0].replace(",", "")) if words else 0
