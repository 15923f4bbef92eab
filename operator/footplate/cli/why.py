"""`footplate why`: what keeps a job from going on, and the way out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

from footplate.cli.output import Output, OutputOption, answer, to_json
from footplate.cli.session import JobName, on_cluster

if TYPE_CHECKING:
    from footplate.client import Client, Why


@on_cluster
def why(client: "Client", job: JobName, *, output: OutputOption = Output.TEXT) -> None:
    """Say why a job waits, restarts or failed, and the way out."""
    found = client.get(job)
    reasons = found.why()
    answer(
        output,
        data=lambda: {"namespace": found.namespace, "name": found.name, "phase": found.phase, **to_json(reasons)},
        names=lambda: [found.name],
        text=lambda: Text("\n").join(_lines(reasons)),
    )


def _lines(why: "Why") -> Iterator[Text]:
    yield Text(why.headline, "bold")
    for fact in why.facts:
        yield Text.assemble(("  · ", "dim"), fact)
    for way in why.way_out:
        yield Text.assemble(("  → ", "bold green"), way)
