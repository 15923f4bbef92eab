"""The `footplate` command, also installed as a plugin: `kubectl footplate`.

A subcommand is imported when it is used: `validate` starts fast, and who lacks an extra is told its name.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

try:
    import typer
    from typer.core import TyperGroup
except ModuleNotFoundError:
    raise SystemExit("footplate: the command line isn't installed; run: pip install 'footplate[cli]'") from None

from footplate import __version__


@dataclass(frozen=True, slots=True)
class Subcommand:
    """Where a subcommand lives: a function or a Typer app in a module, and the extra that it needs."""

    module: str
    attribute: str
    extra: str


SUBCOMMANDS: Mapping[str, Subcommand] = {
    "validate": Subcommand("footplate.cli.validate", "validate", "cli"),
    "operator": Subcommand("footplate.cli.operator", "operator", "operator"),
    "dev": Subcommand("footplate.cli.dev", "app", "dev"),
}


class LazyGroup(TyperGroup):
    """Commands that are imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The order in which --help shows them."""
        return [*SUBCOMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or one that names the missing extra."""
        if cmd_name not in SUBCOMMANDS:
            return super().get_command(ctx, cmd_name)
        subcommand = SUBCOMMANDS[cmd_name]
        try:
            found = getattr(importlib.import_module(subcommand.module), subcommand.attribute)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("footplate"):
                raise
            found = _refusal(cmd_name, subcommand.extra, missing=error.name)
        return _command(cmd_name, found)


def _command(name: str, target: Any) -> Any:
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    single = typer.Typer(add_completion=False)
    single.command(name)(target)
    return typer.main.get_command(single)


def _refusal(name: str, extra: str, *, missing: str | None) -> typer.Typer:
    app = typer.Typer(add_completion=False)

    @app.command(name, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def refuse() -> None:
        typer.echo(
            f"footplate {name}: {missing} isn't installed; run: pip install 'footplate[{extra}]'",
            err=True,
        )
        raise typer.Exit(2)

    refuse.__doc__ = f"Not installed: pip install 'footplate[{extra}]'."
    return app


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def main() -> None:
    """Managed training jobs on Kubernetes."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


if __name__ == "__main__":
    app()
