"""`footplate logs`: what ranks wrote, from their pods or, when those are gone, from storage."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from footplate.cli.output import open_console, to_json
from footplate.cli.session import JobName, on_cluster

if TYPE_CHECKING:
    from footplate.client import Client, LogLine


class LogOutput(StrEnum):
    """Form of a log."""

    TEXT = "text"
    JSON = "json"


_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_red", "bright_cyan", "bright_green")


@on_cluster
def logs(
    client: "Client",
    job: JobName,
    *,
    rank: Annotated[int | None, typer.Option(min=0, help="Node's rank in the gang.  [default: 0]")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All nodes, each line with its rank before it.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Of the attempt and node that failed last.")] = False,
    attempt: Annotated[
        int | None, typer.Option(min=0, help="Number of the gang in this run.  [default: the newest]")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows, until the run's end.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only so many lines from the end.  [default: all]")] = None,
    output: Annotated[LogOutput, typer.Option("--output", "-o", help="json: a line is an object.")] = LogOutput.TEXT,
) -> None:
    """Print what a job's ranks wrote, also when their pods are gone."""
    if sum((rank is not None, everyone, failed)) > 1:
        raise typer.BadParameter("--rank, --all and --failed exclude each other: keep one")
    which = None if everyone or failed else rank or 0
    console = open_console()
    for line in client.get(job).logs(which, attempt=attempt, follow=follow, tail=tail, failed=failed):
        if output is LogOutput.JSON:
            typer.echo(json.dumps(to_json(line)))
        else:
            console.print(log_line(line, prefixed=everyone), soft_wrap=True)


def log_line(line: "LogLine", *, prefixed: bool) -> Text:
    """A line as it is shown, with its rank's own colour before it where it is one of many."""
    if not prefixed:
        return Text(line.text)
    return Text.assemble((f"{line.node_rank:>3} │ ", _COLOURS[line.node_rank % len(_COLOURS)]), line.text)
