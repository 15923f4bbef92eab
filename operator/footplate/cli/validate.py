"""`footplate validate`: checks manifests without a cluster, by the rules that the operator itself applies."""

import json
import sys
from enum import StrEnum
from typing import Annotated

import typer

from footplate.manifests.documents import find_files, read_documents
from footplate.manifests.validation import judge


class Output(StrEnum):
    """How the result is written."""

    TEXT = "text"
    JSON = "json"


def validate(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Manifests, folders of manifests, or - for standard input.")
    ],
    *,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to write the result.")] = Output.TEXT,
) -> None:
    """Check manifests without a cluster.

    A job is held against its runtime's defaults and policy where the runtime is among the files.
    Exit code 0: all valid; 1: some aren't; 2: a file can't be read.
    """
    try:
        documents = [
            document
            for path in files
            for file in find_files(path)
            for document in read_documents(file, stdin=sys.stdin)
        ]
    except (OSError, UnicodeDecodeError) as error:
        typer.echo(f"footplate validate: {error}", err=True)
        raise typer.Exit(2) from error
    verdicts = judge(documents)
    valid = not any(verdict.problems for verdict in verdicts)
    if output is Output.JSON:
        typer.echo(json.dumps({"valid": valid, "documents": [verdict.to_json() for verdict in verdicts]}, indent=2))
    else:
        for verdict in verdicts:
            for line in verdict.to_text():
                typer.echo(line)
    raise typer.Exit(0 if valid else 1)
