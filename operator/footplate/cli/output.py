"""How a command's answer is written: for people on a terminal or in a pipe, and for programs.

Texts of a cluster are never read as rich's markup here, and what isn't a terminal gets neither colours nor breaks of
lines.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType


class Output(StrEnum):
    """Form of an answer."""

    TEXT = "text"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="text and wide for people, json, yaml and name for programs.")
]


def open_console() -> Console:
    """A console on standard output as it is now."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 shows question marks, and no traceback
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def answer(
    output: Output, *, data: Callable[[], Any], names: Callable[[], Iterable[str]], text: Callable[[], RenderableType]
) -> None:
    """Writes the form that is wanted, and makes no other."""
    if output is Output.JSON:
        typer.echo(json.dumps(data(), indent=2))
    elif output is Output.YAML:
        from footplate.manifests.kubectl_yaml import to_yaml

        typer.echo(to_yaml([data()]), nl=False)
    elif output is Output.NAME:
        for name in names():
            typer.echo(name)
    else:
        open_console().print(text(), soft_wrap=True)


def to_json(value: Any) -> Any:
    """Dataclasses as JSON has them: fields in camelCase, as everywhere in the API; what they hold keeps its names."""
    if is_dataclass(value):
        return {_camel(each.name): to_json(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return value


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def as_list(items: Iterable[Any]) -> dict[str, Any]:
    """Several objects as one, as kubectl gives them."""
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}
