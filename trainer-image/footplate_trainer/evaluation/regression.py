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
        """Predicted less right [N]."""
        errors: Numbers = self.predicted - self.targets
        return errors


def measure(samples: Estimated, *, metrics: Collection[str] | None = None) -> Measured:
    """All that `metrics` asks for; None: everything."""
    names = [*value_names("regression", metrics=metrics)]
    if why := why_not(len(samples.targets), targets=samples.targets, predictions=samples.predicted):
        return undefined(names, why)
    found, errors = Measured(), samples.errors
    if "mae" in names:
        found.add("mae", np.abs(errors).mean())
    if "rmse" in names:
        found.add("rmse", np.sqrt((errors**2).mean()))
    if "r2" in names:
        spread = ((samples.targets - samples.targets.mean()) ** 2).sum()
        found.add("r2", 1 - (errors**2).sum() / spread if spread > 0 else "all targets are equal")
    return found


def details(samples: Estimated, *, metrics: Collection[str] | None) -> dict[str, Any]:
    """Quantiles of the error, and samples for a plot: evenly many of all targets, in their order."""
    if why_not(len(samples.targets), targets=samples.targets, predictions=samples.predicted):
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
