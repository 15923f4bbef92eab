"""How a job shows itself in a notebook: phase, progress bar, and the curve of its first metric. Pure.

All words in it are a tenant's, and a notebook runs the HTML that it is given: everything is escaped, and the page asks
for nothing from elsewhere.
"""

import math
from html import escape

from footplate.api.reports import CurveStatus, ProgressStatus
from footplate.api.status import TrainingJobStatus
from footplate.durations import in_words
from footplate.text import clean

WIDTH, HEIGHT, MARGIN = 360, 90, 4
"""Of the curve, in pixels."""


def job_html(name: str, namespace: str, status: TrainingJobStatus) -> str:
    """A job as a fragment of HTML."""
    parts = [_head(name, namespace, status), _message(status)]
    if status.progress is not None:
        parts += [_bar(status.progress), _values(status.progress)]
        if status.progress.history is not None:
            parts.append(_curve(status.progress.history))
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
