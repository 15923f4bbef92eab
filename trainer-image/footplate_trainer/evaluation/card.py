"""README.md: a model's card, in the form that Hugging Face's tools read: metadata in YAML, and what a person wants to
know in Markdown. Pure.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from footplate.api.evaluation import RECIPE_TASKS
from footplate.api.reports import GateStatus
from footplate_trainer.evaluation_file import DataEvaluation, EvaluationFile

CARD_NAME = "README.md"
MAX_CLASSES = 50
"""Whose values are shown."""

METRIC_IDS: Mapping[str, str] = {
    "accuracy": "accuracy",
    "f1Macro": "f1",
    "rocAuc": "roc_auc",
    "logLoss": "log_loss",
    "calibrationError": "calibration_error",
    "mae": "mae",
    "rmse": "rmse",
    "r2": "r_squared",
    "perplexity": "perplexity",
}
"""Names that Hugging Face's hub has for the values that say most."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")


def card_text(
    *,
    job: str,
    recipe: str,
    evaluation: EvaluationFile | None,
    gates: Sequence[GateStatus] = (),
    hyperparameters: Mapping[str, Any],
    inputs: Mapping[str, str],
    notes: Sequence[str] = (),
    plots: Sequence[str] = (),
    loads: bool = True,
) -> str:
    """The text of README.md.

    Args:
        job: its name, which is the model's.
        recipe: that made it.
        evaluation: what was measured; None where nothing was.
        gates: how the model meets those of the job.
        hyperparameters: as the job has them.
        inputs: URIs of the data by channel.
        notes: what their owner should know of the data.
        plots: files of the artifact that are pictures.
        loads: whether `load_model` reads the artifact.
    """
    data = evaluation.data if evaluation is not None else {}
    metadata = yaml.safe_dump(_metadata(job, recipe, data), sort_keys=False, allow_unicode=True, width=10_000)
    lines = [f"# {_shown(job)}", "", f"Made by the recipe `{recipe}` of Footplate. `manifest.json` says of what."]
    for name, one in data.items():
        lines += ["", f"## Evaluation on {name} data", "", *_results(one)]
    if gates:
        lines += ["", "## Gates", *_gates(gates)]
    lines += [line for plot in plots for line in ("", f"![{plot}]({plot})")]
    lines += ["", "## Data", "", *(f"- {_shown(name)}: `{uri}`" for name, uri in inputs.items())]
    lines += [f"- {_shown(note)}" for note in notes]
    if hyperparameters:
        lines += ["", "## Hyperparameters", "", "```json", json.dumps(hyperparameters, indent=2, sort_keys=True), "```"]
    if loads:
        lines += ["", "## Use", "", "```python", *_USE, "```"]
    return f"---\n{metadata}---\n\n" + "\n".join(lines) + "\n"


_USE = (
    "from footplate_trainer import load_model",
    "",
    'model = load_model("folder")  # of the artifact, as `footplate artifact get` fetches it',
    "model.predict(inputs)",
)


def _metadata(job: str, recipe: str, data: Mapping[str, DataEvaluation]) -> dict[str, Any]:
    measured = {name: _headlines(one) for name, one in data.items()}
    names_task = recipe.endswith(("classification", "regression"))
    others = (RECIPE_TASKS.get(recipe), *(one.task for one in data.values()))
    task = recipe if names_task else next(filter(None, others), recipe)
    metadata: dict[str, Any] = {"library_name": "footplate", "pipeline_tag": task, "tags": ["footplate", recipe]}
    if any(measured.values()):
        metadata["metrics"] = [*dict.fromkeys(METRIC_IDS[name] for values in measured.values() for name in values)]
        metadata["model-index"] = [{"name": job, "results": [_result(task, *item) for item in measured.items()]}]
    return metadata


def _result(task: str, name: str, values: Mapping[str, float]) -> dict[str, Any]:
    return {
        "task": {"type": task},
        "dataset": {"type": name, "name": name},
        "metrics": [{"type": METRIC_IDS[key], "value": value, "name": key} for key, value in values.items()],
    }


def _headlines(one: DataEvaluation) -> dict[str, float]:
    return {name: one.values[name] for name in METRIC_IDS if name in one.values}


def _results(one: DataEvaluation) -> Iterator[str]:
    yield f"{one.samples:,} samples, each once."
    general = {name: value for name, value in one.values.items() if "." not in name}
    yield from _table(("metric", "value"), [(name, _digits(value)) for name, value in general.items()])
    if one.classes is not None and len(one.classes) <= MAX_CLASSES:
        known = {key.partition(".")[0] for key in one.values if "." in key}
        scores = [name for name in ("precision", "recall", "f1") if name in known]
        by_class = {each: [_digits(one.values.get(f"{name}.{each}")) for name in scores] for each in one.classes}
        yield from _table(("class", *scores), [(_shown(each), *cells) for each, cells in by_class.items() if scores])
    for column, parts in (one.slices or {}).items():
        values = {each: [_digits(part.values.get(name)) for name in general] for each, part in parts.items()}
        rows = [(_shown(each), f"{part.samples:,}", *values[each]) for each, part in parts.items()]
        yield from _table((_shown(column), "samples", *general), rows)
    why = dict.fromkeys(f"{name} has no value: {reason}" for name, reason in one.undefined.items() if "." not in name)
    if said := [*why, *one.notes]:
        yield ""
        yield from (f"- {_shown(text)}" for text in said)


def _gates(gates: Sequence[GateStatus]) -> Iterator[str]:
    rows = [
        (_shown(gate.metric), gate.bound, _digits(gate.value) or "no value", "yes" if gate.passed else "**no**")
        for gate in gates
    ]
    yield from _table(("metric", "asked", "value", "passed"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield from ("", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}")
        yield from (f"| {' | '.join(row)} |" for row in rows)


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _shown(text: str) -> str:
    """Somebody's text within a line of Markdown: without what would be markup there."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", _CONTROL.sub(" ", text))
