"""`footplate suspend`, `resume`, `restart`, `scale`, `cancel`: what changes a job, each one line said about it."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from footplate.cli.session import JobName, on_cluster

if TYPE_CHECKING:
    from footplate.client import Client


@on_cluster
def suspend(client: "Client", job: JobName) -> None:
    """Stop a job after a checkpoint, until it is resumed."""
    found = client.get(job)
    trains = found.phase == "Running"
    found.suspend()
    typer.echo(f"{job} will stop{' after a checkpoint' * trains}; `footplate resume {job}` lets it go on")


@on_cluster
def resume(client: "Client", job: JobName) -> None:
    """Let a suspended job go on from its newest checkpoint."""
    found = client.get(job)
    found.resume()
    saved = found.status.checkpoint is not None
    typer.echo(f"{job} goes on{' from its newest checkpoint' * saved} as soon as its nodes are there")


@on_cluster
def restart(client: "Client", job: JobName) -> None:
    """Start a new run of a job that has finished."""
    client.get(job).restart()
    typer.echo(f"{job} gets a new run; `footplate status {job}` shows it")


@on_cluster
def scale(
    client: "Client",
    job: JobName,
    nodes: Annotated[int, typer.Argument(metavar="NODES", min=1, help="Nodes it is to have.", show_default=False)],
) -> None:
    """Change the nodes of an elastic job."""
    client.get(job).scale(nodes)
    typer.echo(f"{job} will have {nodes} nodes after its next checkpoint")


@on_cluster
def cancel(
    client: "Client", job: JobName, *, yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False
) -> None:
    """Delete a job and its pods for good; what it has saved stays."""
    found = client.get(job)
    if not yes and sys.stdin.isatty():
        words = f"{job} is {found.phase or 'new'}; delete it and its pods? Its checkpoints and models stay."
        typer.confirm(words, abort=True)
    found.cancel()
    typer.echo(f"{job} is deleted; what it has saved in storage stays")
