"""`footplate list` and `footplate wait`."""

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

from footplate.cli.columns import table
from footplate.cli.output import Output, OutputOption, answer, as_list, open_console
from footplate.cli.session import JobName, on_cluster
from footplate.cli.words import read_duration

if TYPE_CHECKING:
    from footplate.client import Client, Job

TIMED_OUT, NOBODY_KNOWS = 2, 3
Rows = Callable[[Sequence["Job"]], list[list[str]]]


def read_seconds(text: str) -> float:
    """Seconds of an option."""
    try:
        return read_duration(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no duration; write 90s, 10m or 2h") from None


@on_cluster
def list_(
    client: "Client",
    *,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Jobs of all namespaces.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing what changes, until Ctrl-C.")] = False,
    phase: Annotated[str | None, typer.Option(help="Only jobs in this phase, such as Running.")] = None,
    selector: Annotated[str | None, typer.Option("--selector", "-l", help="Only jobs with these labels.")] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """List jobs: phase, progress, time left."""
    from footplate.cli.job_table import job_rows

    def rows(jobs: Sequence["Job"]) -> list[list[str]]:
        return job_rows(jobs, now=datetime.now(UTC), wide=output is Output.WIDE, namespaces=everywhere)

    if watch and output not in (Output.TEXT, Output.WIDE):
        raise typer.BadParameter(f"--watch shows text or wide, and no {output}; leave one of them out")
    jobs = client.list(all_namespaces=everywhere, phase=phase, selector=selector)
    if watch:
        _watch(client, rows, everywhere=everywhere, phase=phase, selector=selector)
        return
    where = "any namespace" if everywhere else f"namespace {client.namespace}"
    kind = "jobs of that kind" if phase or selector else "jobs"
    answer(
        output,
        data=lambda: as_list(job.manifest for job in jobs),
        names=lambda: [f"trainingjob.footplate.dev/{job.name}" for job in jobs],
        text=lambda: _table(rows(jobs)) if jobs else Text(f"no {kind} in {where}"),
    )


@partial(on_cluster, trouble=NOBODY_KNOWS)
def wait(
    client: "Client",
    job: JobName,
    *,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="DURATION", help="Such as 90s, 10m or 2h; without it, for ever.", parser=read_seconds),
    ] = None,
) -> None:
    """Wait for a job's end: exit code 0 succeeded, 1 failed, 2 timed out.

    3: it can't be known, since the cluster doesn't answer or the job is gone.
    """
    from footplate.client.errors import WaitTimeout

    found = client.get(job)
    try:
        found.wait(timeout=timeout)
    except WaitTimeout as error:
        typer.echo(f"footplate wait: {error}", err=True)
        raise typer.Exit(TIMED_OUT) from None
    typer.echo(f"{found.name} has {str(found.phase).lower()}")
    raise typer.Exit(0 if found.phase == "Succeeded" else 1)


def _watch(client: "Client", rows: Rows, *, everywhere: bool, phase: str | None, selector: str | None) -> None:
    """A table that lives, or, where nobody looks on, a line a change."""
    console = open_console()
    jobs: dict[tuple[str, str], Job] = {}

    def picture() -> Text:
        shown = sorted([*jobs.values()], key=lambda job: (job.namespace, job.name))
        return _table(rows(shown[: console.height - 2]))

    live = Live(get_renderable=picture, console=console, refresh_per_second=1)
    with live if console.is_terminal else nullcontext():
        if not console.is_terminal:
            typer.echo(_line(rows([])[0]))
        for change in client.watch(all_namespaces=everywhere, selector=selector):
            job, key = change.job, (change.job.namespace, change.job.name)
            jobs.pop(key, None)
            if change.type != "DELETED" and (phase is None or phase.lower() == (job.phase or "").lower()):
                jobs[key] = job
                if not console.is_terminal:
                    typer.echo(_line(rows([job])[1]))
                    sys.stdout.flush()


def _table(rows: Sequence[Sequence[str]]) -> Text:
    return table(rows[0], rows[1:])


def _line(cells: Sequence[str]) -> str:
    return "   ".join(f"{cell:<10}" for cell in cells).rstrip()
