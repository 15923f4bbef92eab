"""`footplate explain`: what a recipe takes."""

import json
from typing import Annotated

import typer

from footplate.cli.columns import table
from footplate.cli.output import Output, OutputOption, answer, to_json
from footplate.cli.session import explained
from footplate.cli.words import UNKNOWN


def explain(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="Its name.", show_default=False)],
    *,
    output: OutputOption = Output.TEXT,
) -> None:
    """List a recipe's hyperparameters, their rules and defaults."""
    from footplate.client.explaining import explain as read

    with explained("explain"):
        found = read(recipe)
        rows = [
            [
                each.name,
                each.type,
                "required" if each.required else json.dumps(each.default),
                each.rule or UNKNOWN,
                each.description,
            ]
            for each in found
        ]
        answer(
            output,
            data=lambda: to_json(found),
            names=lambda: [each.name for each in found],
            text=lambda: table(["NAME", "TYPE", "DEFAULT", "RULE", "WHAT IT DOES"], rows),
        )
