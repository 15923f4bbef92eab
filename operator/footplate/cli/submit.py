"""`footplate submit`: a job from a file, or from flags for a recipe; what it will take is shown first."""

import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from footplate.cli.logs import log_line
from footplate.cli.output import open_console
from footplate.cli.session import on_cluster
from footplate.cli.source import read_source
from footplate.errors import FootplateError

if TYPE_CHECKING:
    from footplate.client import Client, Job

_SECONDS = 2.0
"""Between two looks at how far training is."""


@on_cluster
def submit(
    client: "Client",
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Manifest, or - for standard input.", show_default=False)
    ] = None,
    *,
    recipe: Annotated[str | None, typer.Option(help="Instead of a file; `explain` lists its settings.")] = None,
    name: Annotated[str | None, typer.Option(help="Of a recipe's job.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Hyperparameter of the recipe; repeatable.")
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="CHANNEL=URI", help="Data of the recipe; repeatable.")
    ] = None,
    output: Annotated[str | None, typer.Option(metavar="URI", help="Where its model goes.")] = None,
    checkpoint: Annotated[str | None, typer.Option(metavar="URI", help="Where its checkpoints go.")] = None,
    secret: Annotated[str | None, typer.Option(help="Secret with the keys of that storage.")] = None,
    image: Annotated[str | None, typer.Option(help="Trainer's image; default: the runtime's.")] = None,
    runtime: Annotated[str | None, typer.Option(help="ClusterTrainingRuntime it builds on.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Nodes of the gang.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="nvidia.com/gpu of each node.")] = None,
    cpu: Annotated[str | None, typer.Option(help="Cores that each node asks for.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory that each node asks for, such as 16Gi.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Let the cluster check it, and create nothing.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show its log and progress to its end.")] = False,
) -> None:
    """Submit a job, by a file or by flags for a recipe, after a look at what it will take."""
    if (file is None) == (recipe is None):
        raise typer.BadParameter("name either a FILE, or a recipe by --recipe")
    flags = {
        "name": name,
        "settings": settings,
        "inputs": inputs,
        "output": output,
        "checkpoint": checkpoint,
        "secret": secret,
        "image": image,
        "runtime": runtime,
        "nodes": nodes,
        "gpus": gpus,
        "cpu": cpu,
        "memory": memory,
    }
    given = {flag: value for flag, value in flags.items() if value is not None}
    source = read_source(file) if file else _of_flags(recipe or "", given)
    if file and given:
        raise typer.BadParameter(f"the flags of a job go with --recipe; of this one write them into {file}")
    typer.echo(client.plan(source))
    if dry_run:
        client.submit(source, dry_run=True)
        typer.echo("the cluster would take it; nothing was created")
        return
    if not yes and sys.stdin.isatty() and sys.stdout.isatty():
        typer.confirm("submit it?", abort=True)
    job = client.submit(source)
    typer.echo(f"{job.name} is submitted; `footplate status {job.name} -n {job.namespace}` shows what it does")
    if follow:
        _follow(client, job)


def _of_flags(recipe: str, given: dict[str, Any]) -> dict[str, Any]:
    from footplate.cli.recipe_job import recipe_job

    if "name" not in given:
        raise typer.BadParameter("--recipe needs a --name for its job")
    return recipe_job(recipe=recipe, **given)


def _follow(client: "Client", job: "Job") -> None:
    """Shows what rank 0 writes until the run's end, and below it, on a terminal, how far training is."""
    from footplate.cli.follow import describe_end, describe_progress
    from footplate.client.untrusted import plain, plain_lines

    console, watcher = open_console(), client.get(job.name, namespace=job.namespace)
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(_SECONDS):
            with suppress(FootplateError):
                progress = watcher.refresh().live()
                told = describe_progress({"progress": progress.to_json() if progress is not None else None})
                status.update(Text(plain(told) or f"{watcher.phase or 'waiting for the operator'}"))

    with console.status("waiting for the operator") as status:
        threading.Thread(target=tell, daemon=True).start()
        try:
            for line in job.logs(0, follow=True):
                console.print(log_line(line, prefixed=False), soft_wrap=True)
            job.wait()
        finally:
            ended.set()
    typer.echo(plain_lines(describe_end(job.manifest)))
    if job.phase != "Succeeded":
        raise typer.Exit(1)
