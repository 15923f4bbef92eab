"""What predictions of classes are worth. Values equal scikit-learn's with its defaults: averages are over the classes
that occur among targets or predictions, and what would divide by 0 counts as 0 and is noted.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from footplate.api.evaluation import value_names
from footplate_trainer.evaluation import ranking
from footplate_trainer.evaluation.measured import Measured, Numbers, listed, undefined, why_not

CALIBRATION_BINS = 15
MAX_MATRIX = 200
"""Classes of a confusion matrix that is written down."""
MAX_CURVES = 20
"""Classes whose curves are written down."""


@dataclass(slots=True)
class Classified:
    """Predictions of `classes` beside what was right.

    targets, predicted: numbers of classes, int [N]. probabilities: float64 [N, classes], or None where only the
    predicted classes are known.
    """

    classes: Sequence[str]
    targets: Numbers
    predicted: Numbers
    probabilities: Numbers | None = None
    _rankings: dict[int, ranking.Ranking] = field(default_factory=dict)

    def of(self, which: Numbers) -> "Classified":
        """Some of the samples, by a mask [N]."""
        probabilities = None if self.probabilities is None else self.probabilities[which]
        return Classified(self.classes, self.targets[which], self.predicted[which], probabilities)

    def confusion(self) -> Numbers:
        """How often each class [rows] was predicted as each [columns], int64 [classes, classes]."""
        count = len(self.classes)
        pairs = self.targets.astype(np.int64) * count + self.predicted
        return np.bincount(pairs, minlength=count * count).reshape(count, count)

    def ranking_of(self, number: int) -> ranking.Ranking:
        """How the probabilities of a class tell its samples from the others."""
        if number not in self._rankings:
            assert self.probabilities is not None  # noqa: S101
            scores = self.probabilities[:, number]
            self._rankings[number] = ranking.rank(scores, self.targets == number)
        return self._rankings[number]


def measure(samples: Classified, *, metrics: Collection[str] | None = None) -> Measured:
    """All that `metrics` asks for; None: everything."""
    asked = ("accuracy", "precision", "recall", "f1", "rocAuc", "prAuc", "logLoss", "calibration")
    wanted = [name for name in asked if metrics is None or name in metrics]
    names = [*value_names("classification", metrics=wanted, classes=samples.classes)]
    arrays = {} if samples.probabilities is None else {"predictions": samples.probabilities}
    if why := why_not(len(samples.targets), **arrays):
        return undefined(names, why)
    found = Measured()
    if {"accuracy", "precision", "recall", "f1"} & set(wanted):
        _by_class(samples, wanted, found)
    if samples.probabilities is None:
        ranked = ("rocAuc", "prAuc", "logLoss", "calibration")
        for name in value_names("classification", metrics=[each for each in wanted if each in ranked]):
            found.add(name, "the predictions are classes, without probabilities")
        return found
    if "rocAuc" in wanted:
        _ranked(samples, "rocAuc", ranking.roc_auc, found)
    if "prAuc" in wanted:
        _ranked(samples, "prAuc", ranking.average_precision, found)
    if "logLoss" in wanted:
        found.add("logLoss", log_loss(samples))
    if "calibration" in wanted:
        found.add("calibrationError", calibration_error(reliability(samples), len(samples.targets)))
    return found


def _by_class(samples: Classified, wanted: Collection[str], found: Measured) -> None:
    count = len(samples.classes)
    support, predicted = np.bincount(samples.targets, minlength=count), np.bincount(samples.predicted, minlength=count)
    right = np.bincount(samples.targets[samples.targets == samples.predicted], minlength=count)
    if "accuracy" in wanted:
        found.add("accuracy", right.sum() / support.sum())
    there = (support > 0) | (predicted > 0)
    scores = {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, support),
        "f1": _ratio(2 * right, support + predicted),
    }
    for name, values in scores.items():
        if name in wanted:
            found.add(f"{name}Macro", values[there].mean())
            found.add(f"{name}Weighted", np.average(values, weights=support))
            for number, class_ in enumerate(samples.classes):
                absent = "the class occurs neither among the targets nor among the predictions"
                found.add(f"{name}.{class_}", values[number] if there[number] else absent)
    if {"precision", "recall", "f1"} & set(wanted):
        _note_absent(samples.classes, support, predicted, found)


def _note_absent(classes: Sequence[str], support: Numbers, predicted: Numbers, found: Measured) -> None:
    def named(which: Numbers) -> list[str]:
        return [classes[number] for number in np.flatnonzero(which).tolist()]

    if neither := named((support == 0) & (predicted == 0)):
        found.notes.append(f"neither among targets nor predictions, and in no average: {listed(neither)}")
    if never := named((support > 0) & (predicted == 0)):
        found.notes.append(f"never predicted, so that the precision counts as 0: {listed(never)}")
    if absent := named((support == 0) & (predicted > 0)):
        found.notes.append(f"not among the targets, so that the recall counts as 0: {listed(absent)}")


def _ratio(part: Numbers, whole: Numbers) -> Numbers:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _ranked(samples: Classified, name: str, area: Callable[[ranking.Ranking], float], found: Measured) -> None:
    """An area for each class against the others, and their mean; of two classes that of the second."""
    every = Measured()
    for number, class_ in enumerate(samples.classes):
        one = samples.ranking_of(number)
        if not one.positives:
            every.add(class_, f"class {class_!r} does not occur among the targets")
        elif not one.negatives and name == "rocAuc":
            every.add(class_, f"all targets are of class {class_!r}")
        else:
            every.add(class_, area(one))
    for class_ in samples.classes:
        found.add(f"{name}.{class_}", every.undefined.get(class_) or every.values[class_])
    if len(samples.classes) == 2:
        second = samples.classes[1]
        found.add(name, every.undefined.get(second) or every.values[second])
    else:
        found.add(name, next(iter(every.undefined.values()), None) or float(np.mean([*every.values.values()])))


def log_loss(samples: Classified) -> float:
    """Mean of -log of the probability of what was right, which counts as no less than float64's epsilon."""
    assert samples.probabilities is not None  # noqa: S101
    of_targets = samples.probabilities[np.arange(len(samples.targets)), samples.targets]
    epsilon = np.finfo(np.float64).eps
    return float(-np.log(of_targets.clip(epsilon, 1 - epsilon)).mean())


@dataclass(frozen=True, slots=True)
class Reliability:
    """By bins of equal width of the predicted class's probability: samples [B], their mean probability [B], and how
    many of them are right, as a share [B]. Empty bins are left out.
    """

    samples: Numbers
    confidence: Numbers
    accuracy: Numbers


def reliability(samples: Classified) -> Reliability:
    """How often the model is right when it is so sure."""
    assert samples.probabilities is not None  # noqa: S101
    confidence = samples.probabilities[np.arange(len(samples.predicted)), samples.predicted]
    right = samples.predicted == samples.targets
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    bins = np.searchsorted(edges[1:-1], confidence)
    count = np.bincount(bins, minlength=CALIBRATION_BINS)
    there = count > 0
    sure = np.bincount(bins, weights=confidence, minlength=CALIBRATION_BINS)[there] / count[there]
    hit = np.bincount(bins, weights=right, minlength=CALIBRATION_BINS)[there] / count[there]
    return Reliability(count[there], sure, hit)


def calibration_error(bins: Reliability, samples: int) -> float:
    """Expected calibration error: how far confidence and accuracy are apart, over all bins' samples."""
    return float((bins.samples * np.abs(bins.confidence - bins.accuracy)).sum() / samples)


def details(samples: Classified, *, metrics: Collection[str] | None, found: Measured) -> dict[str, Any]:
    """What plots are made of: the confusion matrix, curves and bins, as far as they are asked for and defined."""
    said: dict[str, Any] = {}
    if why_not(len(samples.targets), **({} if samples.probabilities is None else {"p": samples.probabilities})):
        return said
    if metrics is None or "confusion" in metrics:
        if len(samples.classes) <= MAX_MATRIX:
            said["confusion"] = samples.confusion().tolist()
        else:
            found.notes.append(f"no confusion matrix: {len(samples.classes):,} classes are more than {MAX_MATRIX}")
    if samples.probabilities is None:
        return said
    if metrics is None or {"rocAuc", "prAuc"} & set(metrics):
        numbers = [1] if len(samples.classes) == 2 else [*range(len(samples.classes))]
        if len(numbers) > MAX_CURVES:
            found.notes.append(f"no curves: {len(samples.classes):,} classes are more than {MAX_CURVES}")
        else:
            ranked = {samples.classes[number]: samples.ranking_of(number) for number in numbers}
            said["thresholds"] = {
                name: ranking.points(one) for name, one in ranked.items() if one.positives and one.negatives
            }
    if metrics is None or "calibration" in metrics:
        bins = reliability(samples)
        said["calibration"] = {
            "samples": bins.samples.tolist(),
            "confidence": bins.confidence.tolist(),
            "accuracy": bins.accuracy.tolist(),
        }
    return said
