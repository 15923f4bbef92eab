"""Jobs as a client has them, without a cluster: for tests of what is shown of them."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from footplate.api.status import TrainingJobStatus

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
EVIL = "\x1b]0;owned\x07\x1b[2J[red]x[/] <script>\n2. line"
"""What a tenant may write wherever the API takes a text."""


def at(seconds: float) -> str:
    """A time, so long before NOW, as the API has it."""
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def job_view(name: str = "digits", *, namespace: str = "team", **status: Any) -> SimpleNamespace:
    """A job with this status, created an hour before NOW."""
    read = TrainingJobStatus.model_validate(status)
    manifest = {"kind": "TrainingJob", "metadata": {"name": name, "namespace": namespace}, "status": status}
    return SimpleNamespace(
        name=name,
        namespace=namespace,
        manifest=manifest,
        status=read,
        phase=read.phase,
        run=read.run or 1,
        attempt=read.attempt or 0,
        progress=read.progress,
        created=NOW - timedelta(hours=1),
    )


def rank_view(rank: int, state: str = "running", *, reason: str = "", slow: float | None = None) -> SimpleNamespace:
    """One pod of a gang, on a node of its own."""
    return SimpleNamespace(node_rank=rank, node=f"node-{rank}", state=state, reason=reason, slow=slow)
