"""How a job shows itself in a notebook: phase, progress bar, evaluation with its gates, and the curve of its first
metric; and how its whole evaluation does, with plots. Pure.

All words in it are a tenant's, and a notebook runs the HTML that it is given: everything is escaped, and the page asks
for nothing from elsewhere.
"""

import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from footplate.api.reports import CurveStatus, EvaluationStatus, GateStatus, ProgressStatus
from footplate.api.status import TrainingJobStatus
from footplate.client.scores import MAX_COLUMNS, class_scores, general_values
from footplate.client.status import verdict_in_words
from footplate.durations import in_words
from footplate.text import clean

if TYPE_CHECKING:
    from footplate_trainer.evaluation_file import DataEvaluation

WIDTH, HEIGHT, MARGIN = 360, 90, 4
"""Of the curve, in pixels."""
MAX_ROWS = 50
"""Of a table; of more, the first."""


def job_html(name: str, namespace: str, status: TrainingJobStatus) -> str:
    """A job as a fragment of HTML."""
    parts = [_head(name, namespace, status), _message(status)]
    if status.progress is not None:
        parts += [_bar(status.progress), _values(status.progress)]
        if status.progress.history is not None:
            parts.append(_curve(status.progress.history))
    if status.evaluation is not None:
        parts += _evaluation(status.evaluation)
    return _whole(parts)


def evaluation_html(
    gates: Sequence[GateStatus], evaluated: Mapping[str, "DataEvaluation"], plots: Mapping[str, bytes]
) -> str:
    """What was measured of a model as a fragment of HTML: `evaluated` by the name of the data, plots as PNG by name."""
    parts = [_verdict(gates)]
    for name, found in evaluated.items():
        parts += [f"<h4>{_shown(name)}: {found.samples:,} samples</h4>", *_measured(found)]
    parts += [
        f'<img style="max-width:360px" alt="{_shown(name)}" src="data:image/png;base64,{b64encode(data).decode()}">'
        for name, data in plots.items()
    ]
    return _whole(parts)


def _whole(parts: Iterable[str]) -> str:
    return f'<div style="font-family:sans-serif;line-height:1.5">{"".join(parts)}</div>'


def _shown(text: str) -> str:
    return escape(clean(text))


def _head(name: str, namespace: str, status: TrainingJobStatus) -> str:
    phase = status.phase or "new"
    return f"<div><b>{_shown(namespace)}/{_shown(name)}</b> {_shown(phase)}</div>"


def _message(status: TrainingJobStatus) -> str:
    return f"<div>{_shown(status.message)}</div>" if status.message else ""


def _bar(progress: ProgressStatus) -> str:
    percent = progress.percent
    if percent is None or not math.isfinite(percent):
        return ""
    done = min(max(percent, 0.0), 100.0)
    left = f", {in_words(progress.eta_seconds)} left" if progress.eta_seconds else ""
    return f'<div><progress value="{done:.1f}" max="100">{done:.0f} %</progress> {done:.0f} %{left}</div>'


def _values(progress: ProgressStatus) -> str:
    of = f" of {progress.total_steps:,}" if progress.total_steps is not None else ""
    words = [f"step {progress.step:,}{of}"] if progress.step is not None else []
    words += [f"{_shown(name)} {value:.4g}" for name, value in list(progress.metrics.items())[:8]]
    return f"<div>{', '.join(words)}</div>" if words else ""


def _curve(curve: CurveStatus) -> str:
    """Of the first metric; nothing where there are no two points."""
    name, values = next(iter(curve.metrics.items()), ("", []))
    known = [
        (step, value)
        for step, value in zip(curve.steps, values, strict=False)
        if value is not None and math.isfinite(value)
    ]
    if len(known) < 2:
        return ""
    numbers = [value for _, value in known]
    low, high, first, last = min(numbers), max(numbers), known[0][0], known[-1][0]
    words = escape(f"{clean(name)}: {numbers[-1]:.4g} at step {last:,}, {low:.4g} to {high:.4g}")
    points = " ".join(
        f"{_place(step, first, last, WIDTH):.1f},{HEIGHT - _place(value, low, high, HEIGHT):.1f}"
        for step, value in known
    )
    return (
        f'<svg role="img" aria-label="{words}" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f'<g fill="none" stroke="currentColor" stroke-width="1.5"><polyline points="{points}"/></g></svg>'
        f"<div>{words}</div>"
    )


def _place(value: float, low: float, high: float, size: int) -> float:
    share = (value / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5
    return MARGIN + share * (size - 2 * MARGIN)


def _evaluation(found: EvaluationStatus) -> Iterable[str]:
    values = ", ".join(f"{_shown(name)} {value:.4g}" for name, value in found.metrics.items())
    return (f"<div>{values}</div>" if values else "", _verdict(found.gates))


def _verdict(gates: Sequence[GateStatus]) -> str:
    """Whether the gates are passed, in words and by sign, so that no colour is needed."""
    if not gates:
        return ""
    rows = [
        [
            "✓" if gate.passed else "✗",
            gate.metric,
            (gate.why or gate.shown) if gate.value is None else gate.shown,
            f"{gate.bound} is asked",
        ]
        for gate in gates
    ]
    return f"<div><b>{_shown(verdict_in_words(gates))}</b></div>{_table(['', 'gate', 'value', ''], rows)}"


def _measured(found: "DataEvaluation") -> Iterable[str]:
    yield _table(["metric", "value"], [[name, f"{value:.4g}"] for name, value in general_values(found).items()])
    scores = class_scores(found)
    names = [*dict.fromkeys(name for each in scores for name in each.values)][:MAX_COLUMNS]
    if names:
        rows = [[each.name, *(f"{each.values[name]:.4g}" if name in each.values else "" for name in names)]
                for each in scores[:MAX_ROWS]]  # fmt: skip
        yield _table(["class", *names], rows, of=len(scores))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, of: int | None = None) -> str:
    """`of`: how many rows there are, where these are only the first."""
    left = (len(rows) if of is None else of) - MAX_ROWS
    lines = [f"<tr>{''.join(f'<td>{_shown(cell)}</td>' for cell in row)}</tr>" for row in rows[:MAX_ROWS]]
    more = f"<tr><td>and {left:,} more</td></tr>" if left > 0 else ""
    return f"<table><tr>{''.join(f'<th>{_shown(name)}</th>' for name in head)}</tr>{''.join(lines)}{more}</table>"
