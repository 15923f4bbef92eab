"""`footplate metrics`: a job's curves in the terminal, as a picture, or as a table for other programs."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from footplate.cli.chart import plot
from footplate.cli.output import Output, OutputOption, answer, open_console
from footplate.cli.session import JobName, on_cluster
from footplate.cli.words import number
from footplate.errors import ConfigurationError

if TYPE_CHECKING:
    from footplate.client import Client, History, Job

Metrics = Mapping[str, Sequence[float | None]]
_HEIGHT = 10
_WIDTH = 100


@on_cluster
def metrics(
    client: "Client",
    job: JobName,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="METRIC...", help="Which; default: all.", show_default=False)
    ] = None,
    *,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a picture instead.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write a line a step, as a table for programs.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Plot a job's metrics in the terminal, or write them as PNG or CSV."""
    found = client.get(job)
    whole = png is not None or as_csv or output in (Output.JSON, Output.YAML)
    history = _read(found, whole=whole)
    shown = _chosen(history, names or [])
    if png is not None:
        _draw(png, f"{found.namespace}/{found.name}", history.steps, shown)
        typer.echo(f"{png} shows {', '.join(shown)}")
    elif as_csv:
        typer.echo(to_csv(history, shown), nl=False)
    else:
        width = min(open_console().width, _WIDTH)
        answer(
            output,
            data=lambda: {"steps": history.steps, "times": history.times, "metrics": shown},
            names=lambda: list(shown),
            text=lambda: Text("\n").join(_plots(history.steps, shown, width=width)),
        )


def to_csv(history: "History", metrics: Metrics) -> str:
    """A column a metric beside the step's and, where it is known, the time's; empty where a value isn't known."""
    first = {"step": history.steps} | ({"time": history.times} if history.times is not None else {})
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*first, *metrics])
    writer.writerows(zip(*first.values(), *metrics.values(), strict=True))
    return file.getvalue()


def _read(job: "Job", *, whole: bool) -> "History":
    """All that was reported, where that is wanted and kept; else the status' curve."""
    from footplate.client.storage import StorageUnreadable

    if whole:
        try:
            history = job.history(full=True)
        except StorageUnreadable as error:
            typer.echo(f"footplate metrics: {error}; so this is the status' curve of at most 120 points", err=True)
        else:
            if history.metrics:
                return history
    return job.history()


def _chosen(history: "History", names: Sequence[str]) -> Metrics:
    """The metrics that are asked for, all where none is; raises ConfigurationError for one that isn't there."""
    from footplate.client.untrusted import plain

    known = {plain(name, most=256): values for name, values in history.metrics.items()}
    if not known:
        raise ConfigurationError("it has reported no metrics; docs/trainer.md says how code reports them")
    for name in names:
        if name not in known:
            raise ConfigurationError(f"it has reported no metric {name!r}; there are {', '.join(known)}")
    return {name: known[name] for name in names or known}


def _plots(steps: Sequence[int], metrics: Metrics, *, width: int) -> Iterator[Text]:
    for name, values in metrics.items():
        known = [value for value in values if value is not None]
        newest = f"   {number(known[-1])}   ({number(min(known))} … {number(max(known))})" if known else "   not known"
        yield Text.assemble((name, "bold"), newest)
        yield Text("\n".join([*plot(steps, values, width=width, height=_HEIGHT), ""]), "cyan")


def _draw(file: Path, title: str, steps: Sequence[int], metrics: Metrics) -> None:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ConfigurationError(
            "--png draws with matplotlib, which isn't installed; run: pip install matplotlib"
        ) from None
    figure = Figure(figsize=(8, 2.5 * len(metrics)), layout="constrained")
    figure.suptitle(title)
    for axes, (name, values) in zip(figure.subplots(len(metrics), squeeze=False)[:, 0], metrics.items(), strict=True):
        known = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
        axes.plot([step for step, _ in known], [value for _, value in known])
        axes.set_ylabel(name, parse_math=False)
    axes.set_xlabel("step")
    figure.savefig(file, format="png")  # else its name would say which, and one without an end gets another name
