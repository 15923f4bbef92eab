"""What the page of one job shows, from what was seen of it. Pure."""

from collections import Counter
from datetime import datetime
from typing import Any

import yaml

from footplate.api.reports import ProgressStatus
from footplate.api.status import Phase, TrainingJobStatus
from footplate.client import Job, RankView
from footplate.client.status import model_in_words
from footplate.objects import block
from footplate.ui.charts import Line, charts, metrics_table
from footplate.ui.evaluation_view import verdict_of
from footplate.ui.jobs_view import accelerators_of
from footplate.ui.sight import Sight
from footplate.ui.timeline import attempts, timeline

TROUBLED = frozenset({"slow", "failed", "absent", "pending", "stopping"})
MAX_TROUBLES = 8
"""Ranks that are named with their reasons; the rest are squares."""


def overview(sight: Sight, *, now: datetime) -> dict[str, Any]:
    """What the template of the overview knows."""
    status = sight.job.status
    lines = [line_of(sight.job, sight.progress, name=f"run {sight.job.run}")]
    return {
        "sight": sight,
        "job": sight.job,
        "status": status,
        "progress": sight.progress,
        "model": model_in_words(status.artifact) if status.artifact is not None else "",
        "verdict": verdict_of(status.evaluation),
        "why": sight.why if is_worth_explaining(sight) else None,
        "segments": timeline(status, now=now),
        "attempts": attempts(status, now=now),
        "table": metrics_table(lines),
        "rank_states": list(Counter(state_of(rank) for rank in sight.ranks).items()),
        "rank_troubles": [rank for rank in sight.ranks if state_of(rank) in TROUBLED][:MAX_TROUBLES],
        "accelerators": accelerators_of(sight.job),
        "restarts": restarts_in_words(status),
        "age": (now - sight.job.created).total_seconds() if sight.job.created else None,
        "now": now,
    }


def is_worth_explaining(sight: Sight) -> bool:
    """Whether there is more to say than the phase and its message: of a run that goes well there isn't."""
    if sight.why is None or sight.job.phase is Phase.SUCCEEDED:
        return False
    return sight.job.phase is not Phase.RUNNING or bool(sight.why.facts)


def state_of(rank: RankView) -> str:
    """A rank's state, where one that runs may be slow."""
    return "slow" if rank.slow else rank.state


def restarts_in_words(status: TrainingJobStatus) -> str:
    """Who paid for them: `2 infrastructure, 1 user`; empty without any."""
    if status.restarts is None:
        return ""
    kinds = {
        "infrastructure": status.restarts.infrastructure,
        "user": status.restarts.user,
        "hang": status.restarts.hang,
    }
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)


def curves_of(sight: Sight) -> list[dict[str, Any]]:
    """Its charts, as JSON."""
    return charts([line_of(sight.job, sight.progress, name=f"run {sight.job.run}")])


def line_of(job: Job, progress: ProgressStatus | None, *, name: str) -> Line:
    """A job's curves as far as the status, or its pod, tells them."""
    history = progress.history if progress else None
    if history is None:
        return Line(name, [], {})
    return Line(name, history.steps, history.metrics)


def manifest_text(job: Job) -> str:
    """The job as YAML, as its user would write it: without what the API server adds for itself."""
    metadata = {key: value for key, value in block(job.manifest, "metadata").items() if key != "managedFields"}
    parts = {**job.manifest, "metadata": metadata}
    order = [key for key in ("apiVersion", "kind", "metadata", "spec", "status") if key in parts]
    return yaml.safe_dump({key: parts[key] for key in order}, sort_keys=False, allow_unicode=True, width=110)
