"""`footplate render`: the objects that the operator would create for a job."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from footplate.cli.columns import table
from footplate.cli.output import Output, OutputOption, answer, as_list
from footplate.cli.session import on_cluster
from footplate.cli.source import read_source

if TYPE_CHECKING:
    from footplate.client import Client


@on_cluster
def render(
    client: "Client",
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Manifest, or - for standard input.", show_default=False)
    ],
    *,
    output: OutputOption = Output.YAML,
) -> None:
    """Print the objects that a job's first attempt would consist of, as YAML."""
    from footplate.manifests.kubectl_yaml import to_yaml

    objects = client.render(read_source(file))
    if output is Output.YAML:
        typer.echo(to_yaml(objects), nl=False)
        return
    rows = [[each["kind"], each["metadata"]["name"]] for each in objects]
    answer(
        output,
        data=lambda: as_list(objects),
        names=lambda: [f"{kind.lower()}/{name}" for kind, name in rows],
        text=lambda: table(["KIND", "NAME"], rows),
    )
