"""`footplate report`: what whoever helps with a job needs, without what may be secret."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from footplate.cli.session import JobName, on_cluster

if TYPE_CHECKING:
    from footplate.client import Client


@on_cluster
def report(
    client: "Client",
    job: JobName,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Zip to write.  [default: JOB-report.zip]", show_default=False)
    ] = None,
) -> None:
    """Write a redacted bundle on a job, for who helps: status, events, pods, logs' ends."""
    written = client.get(job).support_bundle(file or Path(f"{job}-report.zip"))
    typer.echo(f"{written} is written; look through it before you hand it on")
