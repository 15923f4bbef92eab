"""`footplate top`: who holds the cluster's accelerators, what comes of it, and what it costs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from footplate.cli.columns import table
from footplate.cli.output import Output, OutputOption, answer, to_json
from footplate.cli.session import on_cluster
from footplate.cli.words import UNKNOWN

if TYPE_CHECKING:
    from footplate.client import Bill, Client, ClusterView


@on_cluster
def top(
    client: "Client",
    *,
    cost: Annotated[bool, typer.Option("--cost", help="What jobs have held and cost in their present runs.")] = False,
    by: Annotated[
        str, typer.Option("--by", help="With --cost: label of jobs that says who pays.", metavar="LABEL")
    ] = "",
    output: OutputOption = Output.TEXT,
) -> None:
    """Show accelerators by namespace and job, how well they are used, and what they cost."""
    if by and not cost:
        raise typer.BadParameter("--by goes with --cost")
    if cost:
        _bills(client.bills(by), by=by, output=output)
        return
    view = client.cluster()
    answer(
        output,
        data=lambda: {**to_json(view), "namespaces": to_json(view.namespaces)},
        names=lambda: [f"{use.namespace}/{use.job}" for use in view.jobs],
        text=lambda: cluster_text(view, namespace=client.namespace),
    )


def _bills(bills: "Sequence[Bill]", *, by: str, output: Output) -> None:
    answer(
        output,
        data=lambda: to_json(list(bills)),
        names=lambda: [f"{bill.namespace}/{bill.charged_to}" if by else bill.namespace for bill in bills],
        text=lambda: bills_text(bills, by=by),
    )


def bills_text(bills: "Sequence[Bill]", *, by: str) -> Text:
    """A table of who has spent what."""
    if not bills:
        return Text("there are no jobs")
    rows = [
        [
            bill.namespace,
            *([bill.charged_to or UNKNOWN] if by else []),
            f"{bill.jobs:,}",
            ", ".join(f"{hours:,.1f} {name}" for name, hours in sorted(bill.hours.items()) if hours) or UNKNOWN,
            ", ".join(f"{amount:,.2f} {currency}" for currency, amount in sorted(bill.cost.items())) or UNKNOWN,
        ]
        for bill in bills
    ]
    text = table(["NAMESPACE", *([by] if by else []), "JOBS", "ACCELERATOR-HOURS", "COST"], rows)
    if unpriced := sum(bill.unpriced for bill in bills):
        have = "has" if unpriced == 1 else "have"
        text.append(f"\n\n{unpriced:,} of the jobs {have} held accelerators without a price (spec.prices of a runtime)")
    return text


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
