"""`footplate checkpoints`: what a run has saved."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.text import Text

from footplate.cli.columns import table
from footplate.cli.output import Output, OutputOption, answer, to_json
from footplate.cli.session import JobName, on_cluster
from footplate.cli.words import UNKNOWN, age

if TYPE_CHECKING:
    from footplate.client import CheckpointView, Client

_STYLES = {"damaged": "bold red"}


@on_cluster
def checkpoints(client: "Client", job: JobName, *, output: OutputOption = Output.TEXT) -> None:
    """List what a job's run has saved, the newest first."""
    from footplate.client.untrusted import plain

    found = client.get(job).checkpoints()
    now = datetime.now(UTC)
    rows = [[*_row(each, now), plain(each.uri, most=2048)] for each in found]
    answer(
        output,
        data=lambda: to_json(found),
        names=lambda: [plain(each.uri, most=2048) for each in found],
        text=lambda: (
            table(["STEP", "AGE", "SIZE", "TRAINING", "STATE", "URI"], rows, styles=_STYLES)
            if rows
            else Text(f"{job} has saved nothing yet")
        ),
    )


def _row(view: "CheckpointView", now: datetime) -> list[str]:
    return [
        UNKNOWN if view.step is None else f"{view.step:,}",
        age(view.time, now=now),
        UNKNOWN if view.size_bytes is None else decimal(view.size_bytes),
        view.training,
        "damaged" if view.damaged else "complete",
    ]
