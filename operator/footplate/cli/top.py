"""`footplate top`: who holds the cluster's accelerators, and what comes of it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from footplate.cli.columns import table
from footplate.cli.output import Output, OutputOption, answer, to_json
from footplate.cli.session import on_cluster
from footplate.cli.words import UNKNOWN

if TYPE_CHECKING:
    from footplate.client import Client, ClusterView


@on_cluster
def top(client: "Client", *, output: OutputOption = Output.TEXT) -> None:
    """Show accelerators by namespace and job, and how well they are used."""
    view = client.cluster()
    answer(
        output,
        data=lambda: {**to_json(view), "namespaces": to_json(view.namespaces)},
        names=lambda: [f"{use.namespace}/{use.job}" for use in view.jobs],
        text=lambda: cluster_text(view, namespace=client.namespace),
    )


def cluster_text(view: "ClusterView", *, namespace: str) -> Text:
    """Tables of resources, namespaces and jobs."""
    return Text("\n\n").join(_parts(view, namespace))


def _parts(view: "ClusterView", namespace: str) -> Iterator[Text]:
    if not view.whole:
        yield Text(f"you may read jobs and pods of namespace {namespace} only, so that is all that is here", "yellow")
    if view.resources:
        rows = [
            [each.name, *map(_count, (each.capacity, each.used, each.others, each.free))] for each in view.resources
        ]
        yield table(["ACCELERATOR", "CAPACITY", "JOBS", "OTHERS", "FREE"], rows)
    else:
        yield Text("no node offers accelerators")
    if view.whole and view.namespaces:
        rows = [[name, _held(held)] for name, held in sorted(view.namespaces.items())]
        yield table(["NAMESPACE", "HOLDS"], rows)
    if not view.jobs:
        yield Text("no job holds or awaits any")
        return
    rows = [
        [
            each.namespace,
            each.job,
            each.phase or UNKNOWN,
            f"{each.nodes}",
            _percent(each.goodput_percent),
            _held(each.accelerators),
        ]
        for each in view.jobs
    ]
    yield table(["NAMESPACE", "JOB", "PHASE", "NODES", "GOODPUT", "HOLDS"], rows)
    if view.goodput_percent is not None:
        yield Text(f"goodput of all of them: {_percent(view.goodput_percent)}", "bold")


def _held(accelerators: Mapping[str, int]) -> str:
    return ", ".join(f"{many:,} {name}" for name, many in sorted(accelerators.items()) if many) or UNKNOWN


def _count(many: int | None) -> str:
    return UNKNOWN if many is None else f"{many:,}"


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f}%"
