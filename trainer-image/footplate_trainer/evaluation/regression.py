"""What predictions of numbers are worth. Values equal scikit-learn's; what it makes of a division by 0 is undefined."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from footplate.api.evaluation import value_names
from footplate_trainer.evaluation.measured import Measured, Numbers, undefined, why_not

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
MAX_POINTS = 500
"""Samples that a plot of residuals shows."""


@dataclass(frozen=True, slots=True)
class Estimated:
    """Predicted numbers beside what was right, float64 [N] each."""

    targets: Numbers
    predicted: Numbers

    def of(self, which: Numbers) -> "Estimated":
        """Some of the samples, by a mask [N]."""
        return Estimated(self.targets[which], self.predicted[which])

    @property
    def errors(self) -> Numbers:
        """Predicted less right [N]; infinite where they are too far apart."""
        with np.errstate(over="ignore"):
            errors: Numbers = self.predicted - self.targets
        return errors


@np.errstate(over="ignore")  # what comes of it is told to have no value
def measure(samples: Estimated, *, metrics: Collection[str] | None = None) -> Measured:
    """All that `metrics` asks for; None: everything."""
    names = [*value_names("regression", metrics=metrics)]
    if why := _why_not(samples):
        return undefined(names, why)
    found, errors = Measured(), samples.errors
    if "mae" in names:
        found.add("mae", np.abs(errors).mean())
    if "rmse" in names:
        found.add("rmse", _root_mean_square(errors))
    if "r2" in names:
        found.add("r2", _r2(samples))
    return found


def _why_not(samples: Estimated) -> str:
    return why_not(
        len(samples.targets), targets=samples.targets, predictions=samples.predicted, differences=samples.errors
    )


def _r2(samples: Estimated) -> float | str:
    """The coefficient of determination; in words, why there is none."""
    targets = samples.targets
    if targets.min() == targets.max():  # whose mean may be another number, by rounding
        return "all targets are equal"
    return float(1 - (_root_mean_square(samples.errors) / _root_mean_square(targets - targets.mean())) ** 2)


def _root_mean_square(values: Numbers) -> float:
    """Of any size: the squares of values [N] may be too large, or too small, for float64."""
    largest = float(np.abs(values).max())
    return largest * float(np.sqrt(((values / largest) ** 2).mean())) if 0 < largest < np.inf else largest


def details(samples: Estimated, *, metrics: Collection[str] | None) -> dict[str, Any]:
    """Quantiles of the error, and samples for a plot: evenly many of all targets, in their order."""
    if _why_not(samples):
        return {}
    order = np.argsort(samples.targets, kind="stable")
    shown = order[np.linspace(0, len(order) - 1, min(MAX_POINTS, len(order))).round().astype(int)]
    said: dict[str, Any] = {
        "residuals": {"predicted": samples.predicted[shown].tolist(), "error": samples.errors[shown].tolist()}
    }
    if metrics is None or "errorQuantiles" in metrics:
        said["errorQuantiles"] = dict(
            zip(map(str, QUANTILES), np.quantile(samples.errors, QUANTILES).tolist(), strict=True)
        )
    return said
