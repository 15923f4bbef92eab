"""What `evaluate` is given, as samples that can be measured: looked at once, so that no value is a guess."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from footplate.api.evaluation import Task
from footplate_trainer.errors import UserError, sendable
from footplate_trainer.evaluation.classification import Classified
from footplate_trainer.evaluation.measured import Numbers
from footplate_trainer.evaluation.regression import Estimated

SUM_TOLERANCE = 1e-3
"""By how much the probabilities of a sample may miss 1: half precision does."""


def to_array(values: Any) -> Numbers:
    """A tensor of any device and precision, an array or a list, as an array in host memory."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() and values.element_size() < 4 else values).numpy()
    array = np.asarray(values)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def make_samples(
    predictions: Numbers,
    targets: Numbers,
    *,
    task: Task | None = None,
    classes: Sequence[object] | None = None,
    logits: bool = False,
) -> Classified | Estimated:
    """Samples of the task that the arrays' shapes and types show; see `evaluate`.

    Raises:
        UserError: they don't fit each other, or it can't be told what they are.
    """
    if len(predictions) != len(targets) or targets.ndim != 1 or predictions.ndim > 2:
        raise UserError(
            f"evaluate(predictions {list(predictions.shape)}, targets {list(targets.shape)}): give one target a "
            "sample, [N], and as many predictions, [N] or [N, classes]"
        )
    if (task or _task_of(predictions, targets)) == "regression":
        return _estimated(predictions, targets)
    if classes is not None:
        classes = [each.item() if hasattr(each, "item") else each for each in classes]
    if predictions.ndim == 2:
        return _of_probabilities(predictions, targets, classes, logits=logits)
    if predictions.dtype.kind == "f":
        second = predictions.astype(np.float64)
        second = 1 / (1 + np.exp(-second)) if logits else second
        return _of_probabilities(np.stack([1 - second, second], axis=1), targets, classes, logits=False)
    return _of_classes(predictions, targets, classes)


def _task_of(predictions: Numbers, targets: Numbers) -> Task:
    fractional = predictions.dtype.kind == "f"
    if predictions.ndim == 2 or not fractional:
        return "classification"
    if targets.dtype.kind == "f":
        return "regression"
    raise UserError(
        f"evaluate: predictions of type {predictions.dtype}, one a sample, and targets of type {targets.dtype} may be "
        "estimates of numbers or probabilities of the second of two classes; say which by task='regression' or "
        "task='classification'"
    )


def _estimated(predictions: Numbers, targets: Numbers) -> Estimated:
    for name, array in (("predictions", predictions), ("targets", targets)):
        if array.ndim != 1 or array.dtype.kind not in "fiub":
            raise UserError(
                f"evaluate({name}): {list(array.shape)} of type {array.dtype}; a regression has one number a sample"
            )
    return Estimated(targets.astype(np.float64), predictions.astype(np.float64))


def _of_probabilities(
    predictions: Numbers, targets: Numbers, classes: Sequence[object] | None, *, logits: bool
) -> Classified:
    names = _names(classes, predictions.shape[1])
    scores = predictions.astype(np.float64)
    if logits:
        scores -= scores.max(axis=1, keepdims=True) if scores.size else 0
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
    else:
        _check_probabilities(scores)
    return Classified(names, _numbers_of(targets, names, classes), scores.argmax(axis=1), scores)


def _check_probabilities(scores: Numbers) -> None:
    known = scores[np.isfinite(scores).all(axis=1)]
    if known.size and (known.min() < 0 or np.abs(known.sum(axis=1) - 1).max() > SUM_TOLERANCE):
        raise UserError(
            f"evaluate(predictions): rows are no probabilities, such as {np.round(known[0], 4).tolist()[:8]}: those "
            "are at least 0 and add up to 1; where they are a network's outputs, say logits=True"
        )


def _names(classes: Sequence[object] | None, count: int) -> tuple[str, ...]:
    if count < 2:
        raise UserError(f"evaluate(predictions): {count} class; a classification has at least two")
    names = tuple(map(str, range(count))) if classes is None else _texts(classes)
    if len(names) != count or len(set(names)) != count:
        raise UserError(f"evaluate(classes): {len({*names}):,} different names for {count:,} columns of predictions")
    return names


def _texts(names: Iterable[object]) -> tuple[str, ...]:
    """Names as any file can hold them: a folder's may have bytes that are no text."""
    return tuple(sendable(str(name)) for name in names)


def _of_classes(predictions: Numbers, targets: Numbers, classes: Sequence[object] | None) -> Classified:
    if classes is None:
        if predictions.dtype.kind != targets.dtype.kind and {predictions.dtype.kind, targets.dtype.kind} - {*"iub"}:
            raise UserError(
                f"evaluate: predictions of type {predictions.dtype} and targets of type {targets.dtype} can't be "
                "compared; give both as numbers of classes, or both as names"
            )
        found = np.unique(np.concatenate([np.unique(predictions), np.unique(targets)]))
        names = _texts(found.tolist())
        return Classified(names, np.searchsorted(found, targets), np.searchsorted(found, predictions))
    names = _texts(classes)
    predicted = _numbers_of(predictions, names, classes, what="predictions")
    return Classified(names, _numbers_of(targets, names, classes), predicted)


def _numbers_of(
    labels: Numbers, names: Sequence[str], classes: Sequence[object] | None, *, what: str = "targets"
) -> Numbers:
    """Labels [N] as numbers of classes: texts are names, as are True and False of classes named so; of classes that are
    numbers themselves each label is its class; else they are numbers already.
    """
    if labels.dtype.kind in "OUS" or (labels.dtype.kind == "b" and {*names} == {"True", "False"}):
        found = _places(names, [sendable(str(label)) for label in labels.tolist()])
    elif classes is not None and not any(isinstance(each, str) for each in classes):
        found = _places(classes, labels.tolist())
    elif labels.dtype.kind in "iub" or (labels.dtype.kind == "f" and np.array_equal(labels, np.floor(labels))):
        found = labels.astype(np.int64)
    else:
        raise UserError(f"evaluate({what}): of type {labels.dtype}; give numbers of classes from 0, or their names")
    wrong = np.flatnonzero((found < 0) | (found >= len(names)))
    if len(wrong):
        label = labels[wrong].tolist()[0]
        raise UserError(f"evaluate({what}): {label!r} (sample {wrong[0]:,}) is none of the {len(names):,} classes")
    return found


def _places(known: Sequence[object], labels: Sequence[object]) -> Numbers:
    """Where labels are among those that are known, int64; -1 for what isn't."""
    numbers = {value: number for number, value in enumerate(known)}
    return np.asarray([numbers.get(label, -1) for label in labels], dtype=np.int64)
