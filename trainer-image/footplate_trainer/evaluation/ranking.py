"""What scores are worth at every threshold: ROC and precision-recall curves, and the areas under them.

Equal to scikit-learn's `roc_auc_score` and `average_precision_score`.
"""

from dataclasses import dataclass

import numpy as np

from footplate_trainer.evaluation.measured import Numbers

MAX_POINTS = 200
"""Of a curve that is written down; areas are of all points."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Hits at every threshold, from the highest: how many samples with at least that score are positive, and not."""

    thresholds: Numbers
    """Distinct scores [T], descending."""
    true_positives: Numbers
    false_positives: Numbers

    @property
    def positives(self) -> int:
        """Of all samples."""
        return int(self.true_positives[-1]) if len(self.true_positives) else 0

    @property
    def negatives(self) -> int:
        """Of all samples."""
        return int(self.false_positives[-1]) if len(self.false_positives) else 0


def rank(scores: Numbers, positive: Numbers) -> Ranking:
    """The ranking of scores [N], of which some are `positive`, bool [N]."""
    order = np.argsort(scores, kind="stable")[::-1]
    scores, positive = scores[order], positive[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, int)
    hits = np.cumsum(positive, dtype=np.int64)[last]
    return Ranking(scores[last], hits, last + 1 - hits)


def roc_auc(ranking: Ranking) -> float:
    """Area under the ROC curve. Call where there are positives and negatives."""
    hits = np.concatenate([[0], ranking.true_positives]) / ranking.positives
    alarms = np.concatenate([[0], ranking.false_positives]) / ranking.negatives
    return float((np.diff(alarms) * (hits[1:] + hits[:-1])).sum() / 2)


def average_precision(ranking: Ranking) -> float:
    """Area under the precision-recall curve, in steps. Call where there are positives."""
    precision = ranking.true_positives / (ranking.true_positives + ranking.false_positives)
    recall = np.concatenate([[0], ranking.true_positives]) / ranking.positives
    return float(np.sum(np.diff(recall) * precision))


def points(ranking: Ranking) -> dict[str, list[float]]:
    """At most `MAX_POINTS` thresholds, evenly along the ROC curve, with what each gives. Call where there are positives
    and negatives.
    """
    recall = ranking.true_positives / ranking.positives
    alarms = ranking.false_positives / ranking.negatives
    along = recall + alarms
    wanted = np.linspace(along[0], along[-1], min(MAX_POINTS, len(along)))
    at = np.unique(np.searchsorted(along, wanted).clip(0, len(along) - 1))
    precision = ranking.true_positives / (ranking.true_positives + ranking.false_positives)
    columns = {
        "threshold": ranking.thresholds,
        "recall": recall,
        "falsePositiveRate": alarms,
        "precision": precision,
        "f1": 2 * ranking.true_positives / (ranking.positives + ranking.true_positives + ranking.false_positives),
    }
    return {name: column[at].astype(float).tolist() for name, column in columns.items()}
