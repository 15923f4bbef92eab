"""`footplate artifact`: the model that a run has left, downloaded or verified."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal
from rich.text import Text

from footplate.cli.columns import table
from footplate.cli.output import Output, OutputOption, answer
from footplate.cli.session import JobName, on_cluster

if TYPE_CHECKING:
    from footplate.client import Client

app = typer.Typer(help="Download or verify the model of a job.", no_args_is_help=True, rich_markup_mode=None)


@app.command("get")
@on_cluster
def artifact_get(
    client: "Client",
    job: JobName,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New, or empty.", show_default=False)],
) -> None:
    """Download it, each file held against what was trained."""
    artifact = client.get(job).artifact
    but = "; its gates haven't accepted it" if artifact.status.accepted is False else ""
    typer.echo(f"{artifact.download(folder)} has the model of {job}, each file verified{but}")


@app.command("verify")
@on_cluster
def artifact_verify(
    client: "Client",
    job: JobName,
    *,
    key: Annotated[
        Path | None,
        typer.Option(help="Public key, in PEM, that must have signed it.", exists=True, dir_okay=False),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Read every file where it is stored, and hold it against what was trained, and against whoever has signed it."""
    from footplate.client.untrusted import plain

    artifact = client.get(job).artifact
    manifest = artifact.verify(key=key.read_bytes() if key is not None else None)
    proven = "are what was trained" if key is None else f"are what was trained, and what {key} has signed"
    rows = [[plain(each.name), decimal(each.size_bytes), each.sha256] for each in manifest.files]
    answer(
        output,
        data=lambda: manifest.model_dump(mode="json", by_alias=True),
        names=lambda: [name for name, _, _ in rows],
        text=lambda: Text("\n").join(
            [table(["FILE", "SIZE", "SHA-256"], rows), Text(f"all files of {plain(artifact.uri)} {proven}")]
        ),
    )
