"""`footplate evaluation`: what was measured of a job's model, and whether its gates are passed."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from footplate.api.evaluation import full_name
from footplate.cli.columns import table
from footplate.cli.output import Output, OutputOption, answer
from footplate.cli.session import JobName, on_cluster
from footplate.cli.words import UNKNOWN, count, number

if TYPE_CHECKING:
    from footplate.api.reports import GateStatus
    from footplate.client import Client, Job
    from footplate_trainer.evaluation_file import DataEvaluation, Slice

    Data = Mapping[str, DataEvaluation]

_ROWS = 50
"""Of a table; -o json has all."""
_MATRIX = 10
"""Classes up to which the confusion matrix is shown."""
_STYLES = {"not passed": "bold red", "passed": "green"}


@on_cluster
def evaluation(client: "Client", job: JobName, *, output: OutputOption = Output.TEXT) -> None:
    """Show what was measured of a job's model, by class and slice, and whether its gates are passed."""
    found = client.get(job)
    data, plots = _read(found)
    status = found.status.evaluation
    gates, metrics = (status.gates, status.metrics) if status is not None else ([], {})
    values = {full_name(name, key): value for name, each in data.items() for key, value in each.values.items()}
    answer(
        output,
        data=lambda: {
            "accepted": status.accepted if status is not None else None,
            "gates": [gate.model_dump(mode="json", by_alias=True, exclude_none=True) for gate in gates],
            "metrics": values or dict(metrics),
            "data": {
                name: each.model_dump(mode="json", by_alias=True, exclude_none=True) for name, each in data.items()
            },
            "plots": plots,
        },
        names=lambda: _plain(values or metrics),
        text=lambda: Text("\n\n").join([*_verdict(gates), *(_whole(data) if data else _short(metrics, bool(gates)))]),
    )


def _read(job: "Job") -> tuple["Data", Sequence[str]]:
    """All of evaluation.json and the names of the plots; nothing where they can't be read, which is said."""
    from footplate.client.storage import StorageUnreadable

    try:
        found = job.evaluation()
    except StorageUnreadable as error:
        typer.echo(f"footplate evaluation: {error}; so this is what the status has", err=True)
        return {}, []
    return found.data, found.plot_names()


def _plain(names: Any) -> list[str]:
    from footplate.client.untrusted import plain

    return [plain(name, most=160) for name in names]


def _verdict(gates: Sequence["GateStatus"]) -> Iterator[Text]:
    if not gates:
        return
    from footplate.client.status import verdict_in_words

    rows = [
        [
            *_plain([gate.metric, gate.bound]),
            *_plain([(gate.why or UNKNOWN) if gate.value is None else gate.shown]),
            "passed" if gate.passed else "not passed",
        ]
        for gate in gates
    ]
    yield Text(verdict_in_words(gates), "bold green" if all(gate.passed for gate in gates) else "bold red")
    yield table(["GATE", "ASKED", "VALUE", ""], rows, styles=_STYLES)


def _short(metrics: Mapping[str, float], has_gates: bool) -> Iterator[Text]:
    """What the status has."""
    rows = [[*_plain([name]), number(value)] for name, value in metrics.items()]
    if rows:
        yield table(["METRIC", "VALUE"], rows, styles={})
    elif not has_gates:
        yield Text("nothing was measured of this model; recipes do that, and footplate_trainer.evaluate in other code")


def _whole(data: "Data") -> Iterator[Text]:
    from footplate.client.scores import general_values

    for name, found in data.items():
        yield Text(f"On {_plain([name])[0]} data, {count(found.samples, 'sample')}", "bold")
        general = general_values(found)
        rows = [[*_plain([key]), number(value)] for key, value in islice(general.items(), _ROWS)]
        yield _cut(["METRIC", "VALUE"], rows, of=len(general))
        yield from _classes(found)
        for column, parts in (found.slices or {}).items():
            yield _slice(column, parts)


def _classes(found: "DataEvaluation") -> Iterator[Text]:
    from footplate.client.scores import MAX_COLUMNS, class_scores, confusion_of

    scores = class_scores(found)
    metrics = [*dict.fromkeys(key for each in scores for key in each.values)][:MAX_COLUMNS]
    if metrics:
        rows = [
            [*_plain([each.name]), *(number(each.values.get(key)) for key in metrics), _counted(each.samples)]
            for each in scores[:_ROWS]
        ]
        yield _cut(["CLASS", *_heads(metrics), "SAMPLES"], rows, of=len(scores))
    counts, classes = confusion_of(found), _plain(found.classes or ())
    if 0 < len(counts) <= _MATRIX:
        rows = [[each, *map(_counted, row)] for each, row in zip(classes, counts, strict=True)]
        yield table(["ACTUAL, TAKEN FOR", *classes], rows, styles={})


def _slice(column: str, parts: Mapping[str, "Slice"]) -> Text:
    from footplate.client.scores import MAX_COLUMNS

    keys = [*dict.fromkeys(key for part in parts.values() for key in part.values if "." not in key)][:MAX_COLUMNS]
    rows = [
        [*_plain([value]), _counted(part.samples), *(number(part.values.get(key)) for key in keys)]
        for value, part in islice(parts.items(), _ROWS)
    ]
    return _cut([*_plain([column]), "SAMPLES", *_heads(keys)], rows, of=len(parts))


def _heads(metrics: Sequence[str]) -> list[str]:
    return [name.upper() for name in _plain(metrics)]


def _counted(many: int | None) -> str:
    return UNKNOWN if many is None else f"{many:,}"


def _cut(head: Sequence[str], rows: Sequence[Sequence[str]], *, of: int) -> Text:
    more = f"\n{of - len(rows):,} more; -o json has all" if of > len(rows) else ""
    return Text.assemble(table(head, rows, styles={}), more)
