"""What was measured on one set of data, as evaluation.json has it. Pure."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from footplate_trainer.errors import UserError, sendable
from footplate_trainer.evaluation import classification, regression
from footplate_trainer.evaluation.classification import Classified
from footplate_trainer.evaluation.measured import Measured, Numbers
from footplate_trainer.evaluation.regression import Estimated
from footplate_trainer.evaluation_file import DataEvaluation, Slice

MAX_SLICES = 100
"""Values of a column."""
MAX_SLICED_CLASSES = 20
"""Classes up to which each has its values in slices too."""

Samples = Classified | Estimated


def evaluate_samples(
    samples: Samples,
    *,
    metrics: Collection[str] | None = None,
    slices: Mapping[str, Sequence[object] | Numbers] | None = None,
) -> DataEvaluation:
    """Everything, or the `metrics` alone, of all samples and of those with each value of a column.

    Raises:
        UserError: a column of `slices` has another length, or more than `MAX_SLICES` values.
    """
    found = _measure(samples, metrics)
    if isinstance(samples, Classified):
        details = classification.details(samples, metrics=metrics, found=found)
    else:
        details = regression.details(samples, metrics=metrics)
    return DataEvaluation.model_validate(
        {
            "task": "classification" if isinstance(samples, Classified) else "regression",
            "samples": len(samples.targets),
            "classes": list(samples.classes) if isinstance(samples, Classified) else None,
            "values": found.values,
            "undefined": found.undefined,
            "notes": found.notes,
            "slices": {name: _sliced(samples, name, values, metrics) for name, values in (slices or {}).items()}
            or None,
            **details,
        }
    )


def _measure(samples: Samples, metrics: Collection[str] | None) -> Measured:
    if isinstance(samples, Classified):
        return classification.measure(samples, metrics=metrics)
    return regression.measure(samples, metrics=metrics)


def _sliced(
    samples: Samples, column: str, values: Sequence[object] | Numbers, metrics: Collection[str] | None
) -> dict[str, Slice]:
    texts = np.asarray([sendable(str(value)) for value in np.asarray(values).tolist()])
    if len(texts) != len(samples.targets):
        raise UserError(f"slices: column {column!r} has {len(texts):,} values for {len(samples.targets):,} samples")
    names, place = np.unique(texts, return_inverse=True)
    if len(names) > MAX_SLICES:
        raise UserError(
            f"slices: column {column!r} has {len(names):,} different values, the most is {MAX_SLICES}; choose one with "
            "fewer, or one that groups them"
        )
    found = {}
    for number, name in enumerate(names.tolist()):
        part = samples.of(place == number)
        measured = _measure(part, metrics)
        found[name] = _slice(part, measured)
    return found


def _slice(part: Samples, measured: Measured) -> Slice:
    every = not isinstance(part, Classified) or len(part.classes) <= MAX_SLICED_CLASSES
    values = {name: value for name, value in measured.values.items() if every or "." not in name}
    undefined = {name: why for name, why in measured.undefined.items() if every or "." not in name}
    return Slice(samples=len(part.targets), values=values, undefined=undefined)
