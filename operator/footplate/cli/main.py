"""The `footplate` command, also installed as a plugin: `kubectl footplate`.

A subcommand is imported when it is used, and not to be listed: help is there at once, and who lacks an extra is told
its name.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

try:
    import typer
    from typer.core import TyperCommand, TyperGroup
except ModuleNotFoundError:
    raise SystemExit("footplate: the command line isn't installed; run: pip install 'footplate[cli]'") from None

from footplate import __version__


@dataclass(frozen=True, slots=True)
class Subcommand:
    """Where a subcommand lives, `module:attribute` below footplate.cli, what it is for, and the extra that it needs."""

    place: str
    help: str
    extra: str = "cli"


SECTIONS: Mapping[str, Mapping[str, Subcommand]] = {
    "Jobs": {
        "submit": Subcommand(
            "submit:submit", "Submit a job, by a file or by flags for a recipe, after a look at what it will take."
        ),
        "list": Subcommand("jobs:list_", "List jobs: phase, progress, time left."),
        "status": Subcommand("status:status", "Show what a job does, live on a terminal."),
        "why": Subcommand("why:why", "Say why a job waits, restarts or failed, and the way out."),
        "logs": Subcommand("logs:logs", "Print what a job's ranks wrote, also when their pods are gone."),
        "metrics": Subcommand("metrics:metrics", "Plot a job's metrics in the terminal, or write them as PNG or CSV."),
        "evaluation": Subcommand(
            "evaluation:evaluation",
            "Show what was measured of a job's model, by class and slice, and whether its gates are passed.",
        ),
        "checkpoints": Subcommand("checkpoints:checkpoints", "List what a job's run has saved, the newest first."),
        "artifact": Subcommand("artifact:app", "Download or verify the model of a job."),
        "report": Subcommand(
            "report:report", "Write a redacted bundle on a job, for who helps: status, events, pods, logs' ends."
        ),
        "wait": Subcommand("jobs:wait", "Wait for a job's end: exit code 0 succeeded, 1 failed, 2 timed out."),
    },
    "Change a job": {
        "suspend": Subcommand("actions:suspend", "Stop a job after a checkpoint, until it is resumed."),
        "resume": Subcommand("actions:resume", "Let a suspended job go on from its newest checkpoint."),
        "restart": Subcommand("actions:restart", "Start a new run of a job that has finished."),
        "scale": Subcommand("actions:scale", "Change the nodes of an elastic job."),
        "cancel": Subcommand("actions:cancel", "Delete a job and its pods for good; what it has saved stays."),
    },
    "Cluster": {
        "ui": Subcommand("ui:ui", "Show jobs, curves, logs and the cluster as pages in your browser.", "ui"),
        "render": Subcommand(
            "render:render", "Print the objects that a job's first attempt would consist of, as YAML."
        ),
        "top": Subcommand(
            "top:top", "Show accelerators by namespace and job, how well they are used, and what they cost."
        ),
    },
    "Without a cluster": {
        "explain": Subcommand("explain:explain", "List a recipe's hyperparameters, their rules and defaults."),
        "validate": Subcommand("validate:validate", "Check manifests without a cluster."),
        "dev": Subcommand(
            "dev:app", "Run an embedded cluster on this machine, on loopback only, for laptops, demos and tests.", "dev"
        ),
    },
    "For platform teams": {
        "operator": Subcommand(
            "operator:operator",
            "Run the operator: it turns TrainingJobs into gangs of trainer pods, until it is told to stop.",
            "operator",
        ),
    },
}
SUBCOMMANDS = {name: subcommand for section in SECTIONS.values() for name, subcommand in section.items()}


class LazyGroup(TyperGroup):
    """Lists its commands from the table, and imports the one that is used."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, subcommand in SUBCOMMANDS.items():
            self.commands[name] = TyperCommand(name, help=subcommand.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command, or one that names the missing extra."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name in SUBCOMMANDS else command, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """A section a kind."""
        width = max(map(len, self.commands))
        sections = {title: [(name, each.help) for name, each in items.items()] for title, items in SECTIONS.items()}
        others = [(name, each.help or "") for name, each in self.commands.items() if name not in SUBCOMMANDS]
        for title, lines in {**sections, "Other": others}.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), words) for name, words in lines])


def _load(name: str) -> Any:
    subcommand = SUBCOMMANDS[name]
    module, _, attribute = subcommand.place.partition(":")
    try:
        found = getattr(importlib.import_module(f"footplate.cli.{module}"), attribute)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("footplate"):
            raise
        found = _refusal(name, subcommand.extra, missing=error.name)
    return _command(name, found)


def _command(name: str, target: Any) -> Any:
    if isinstance(target, typer.Typer):
        return typer.main.get_command(target)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
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
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
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
