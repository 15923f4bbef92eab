"""What `Trainer` takes for a loss, and how its value becomes the mean over every sample of all ranks.

A loss is called with a batch's outputs and targets. It gives their mean, or one value a sample, or (sum, weight): then
sums are divided by the weights of all ranks together, such as the number of tokens that count.
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from footplate_trainer.errors import ConfigError, UserError

Loss = Callable[[Any, Any], Any]
"""(outputs [N, ...], targets [N, ...], or what the batch has in their places) → the mean over the N samples [], one
value a sample [N], or (sum [], weight []).
"""

_BY_CLASS = {nn.functional.cross_entropy, nn.functional.nll_loss}
_BY_CLASS_MODULES = (nn.CrossEntropyLoss, nn.NLLLoss)
_BY_VALUE = {nn.functional.mse_loss, nn.functional.l1_loss, nn.functional.smooth_l1_loss, nn.functional.huber_loss}
_BY_VALUE_MODULES = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
NOT_COUNTED = -100
"""torch's own label of what doesn't count."""


class Scored(NamedTuple):
    """The loss of a batch, or of a part of it, on this rank."""

    value: Tensor
    """[]: what the backward pass begins with."""
    times: int
    """`value` times this is the sum of the losses."""
    weight: Tensor | None
    """[]: what the loss says that sums are divided by; None: the samples."""


class BatchLoss:
    """A user's loss, of any of the kinds.

    Raises:
        ConfigError: it is no function of outputs and targets, or gives a sum alone.
    """

    def __init__(self, loss: Loss) -> None:
        if not callable(loss) or isinstance(loss, type):
            raise ConfigError(
                f"Trainer(loss={loss!r}): it must be a function of (outputs, targets), such as "
                "torch.nn.functional.cross_entropy, or an object such as torch.nn.CrossEntropyLoss(), with its brackets"
            )
        if getattr(loss, "reduction", None) == "sum":
            raise ConfigError(
                f"Trainer(loss={type(loss).__name__}(reduction='sum')): the gradient would grow with the batch; use "
                "reduction='mean' or 'none', or a function that returns (sum, weight)"
            )
        self._loss = loss
        self._each = _one_a_sample(loss)
        self._ignored = _ignored_label(loss)
        self._by_value = _compares_values(loss)

    def __call__(self, outputs: Any, targets: Any, weights: Tensor | None, *, size: int) -> Scored:
        """The loss of `size` samples; with weights [size], the sum of weighted losses is divided by `size`, as Keras
        does.

        Raises:
            UserError: it isn't of any of the kinds, or has no value for each sample to be weighted.
        """
        try:
            found = self._loss(outputs, targets) if weights is None else self._each(outputs, targets)
        except IndexError as error:
            if "out of bounds" not in str(error):
                raise
            raise UserError(f"the loss: {error} {_labels_of(outputs)}") from error
        if weights is not None:
            return Scored(_weighted(found, weights, size), size, None)
        if isinstance(found, tuple) and len(found) == 2:
            total, weight = (torch.as_tensor(part) for part in found)
            if total.ndim == 0 and weight.ndim == 0:
                return Scored(total, 1, weight.detach().to(total.device))
        elif isinstance(found, Tensor) and found.ndim == 0:
            return Scored(found, size, None)
        elif isinstance(found, Tensor) and len(found) == size:
            return Scored(found.mean(), size, None)
        raise UserError(
            f"the loss gave {_shape_of(found)} of a batch of {size} samples: it must return their mean, a scalar; one "
            f"value a sample, [{size}]; or (sum, weight), two scalars"
        )

    def check(self, outputs: Any, targets: Any) -> None:
        """Looks at a batch's labels, where torch's own loss takes labels: on a GPU one that is out of range would end
        the process without its name. Costs nothing on a device: only labels in host memory are looked at. Where torch's
        own loss compares values, their shapes must be the same: torch would compare each with every other one.

        Raises:
            UserError: the first label that the outputs have no place for, outputs that can learn nothing, or values of
                another shape than the outputs.
        """
        if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
            return
        if self._by_value and outputs.shape != targets.shape:
            raise UserError(
                f"the loss: the model's outputs are {list(outputs.shape)} and the targets {list(targets.shape)}, so "
                "torch would compare each with every other; give both one shape: targets by unsqueeze(1) or outputs "
                "by squeeze(1), in the dataset or the model"
            )
        if self._ignored is None:
            return
        if outputs.ndim < 2 or targets.is_floating_point() or targets.device.type != "cpu" or not targets.numel():
            return
        classes = outputs.shape[1]
        if classes == 1:
            raise UserError(
                f"the model gives one output a sample, {list(outputs.shape)}, of which cross-entropy is always 0: it "
                "needs one for each class, two for yes and no; with one, use binary_cross_entropy_with_logits"
            )
        lowest, highest = (int(label) for label in torch.aminmax(targets))
        if lowest < 0 or highest >= classes:
            wrong = targets[((targets < 0) | (targets >= classes)) & (targets != self._ignored)]
            if len(wrong):
                raise UserError(f"the loss: label {int(wrong[0])} is out of range. {_labels_of(outputs)}")


class ClassWeights:
    """A weight for each sample by its class; 1 for classes that aren't named. Keras' `class_weight`.

    Raises:
        ConfigError: a class is no label, or a weight no number of at least 0.
    """

    def __init__(self, weights: Mapping[int, float], device: torch.device) -> None:
        for label, weight in weights.items():
            if isinstance(label, bool) or not isinstance(label, int) or label < 0:
                raise ConfigError(
                    f"fit(class_weight): {label!r} is no class; its keys are labels, whole numbers from 0"
                )
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
                raise ConfigError(f"fit(class_weight): class {label} has weight {weight!r}; it must be a number ≥ 0")
        self._others = max(weights, default=-1) + 1
        self._table = torch.ones(self._others + 1, device=device)
        for label, weight in weights.items():
            self._table[label] = weight

    def __call__(self, targets: Any, weights: Tensor | None) -> Tensor:
        """The weights [N] of samples with these targets: labels [N] or [N, 1], or a value for each class [N, classes].

        Raises:
            UserError: the targets are no classes.
        """
        if not isinstance(targets, Tensor) or targets.ndim not in (1, 2) or _are_several_labels(targets):
            raise UserError(
                "fit(class_weight) needs targets that are one tensor of labels [N], or of classes [N, classes] in "
                f"floating point, not {_shape_of(targets)}; for others, such as a label for each token, give each "
                "sample, or each loss, its weight: batches (inputs, targets, weights)"
            )
        labels = targets if targets.ndim == 1 else targets[:, 0] if targets.shape[1] == 1 else targets.argmax(dim=1)
        labels = labels.round().long() if labels.is_floating_point() else labels.long()
        known = (labels >= 0) & (labels < self._others)
        found = self._table[torch.where(known, labels, self._others)]
        return found if weights is None else found.reshape(-1, *[1] * (weights.ndim - 1)) * weights


def _are_several_labels(targets: Tensor) -> bool:
    """[N, T]: whole numbers, of which the greatest is no class."""
    return targets.ndim == 2 and targets.shape[1] > 1 and not targets.is_floating_point()


def _weighted(losses: Any, weights: Tensor, size: int) -> Tensor:
    if not isinstance(losses, Tensor) or losses.ndim == 0 or len(losses) != size:
        raise UserError(
            f"sample weights need a loss for each sample, and this loss gave {_shape_of(losses)} of {size} samples; "
            f"have it return one value a sample, [{size}], or give a loss of torch's own, which can"
        )
    if weights.shape == losses.shape:
        return (losses * weights).mean()
    if weights.numel() != size:
        raise UserError(
            f"sample weights {list(weights.shape)} fit neither {size} samples nor their losses {list(losses.shape)}: "
            f"give one a sample, [{size}], or one for each loss"
        )
    return (losses.reshape(size, -1).mean(dim=1) * weights.reshape(size)).mean()


def _one_a_sample(loss: Loss) -> Loss:
    """The loss without its mean, where it is of torch's kind; else as it is."""
    if isinstance(loss, nn.Module):
        if not hasattr(loss, "reduction"):
            return loss
        each: Any = copy.copy(loss)
        each.reduction = "none"
        return each  # type: ignore[no-any-return]
    try:
        takes_reduction = "reduction" in inspect.signature(loss).parameters
    except (TypeError, ValueError):  # what is written in C tells nothing
        return loss
    function: Callable[..., Any] = loss
    return partial(function, reduction="none") if takes_reduction else loss


def _ignored_label(loss: Loss) -> int | None:
    """The label that doesn't count, of a loss of torch's that takes labels; None of others."""
    if isinstance(loss, _BY_CLASS_MODULES):
        return int(loss.ignore_index)
    if isinstance(loss, partial):
        found = _ignored_label(loss.func)
        return found if found is None else int(loss.keywords.get("ignore_index", found))
    return NOT_COUNTED if _is_one_of(_BY_CLASS, loss) else None


def _compares_values(loss: Loss) -> bool:
    """True of a loss of torch's that compares each output with the target in its place."""
    if isinstance(loss, partial):
        return _compares_values(loss.func)
    return isinstance(loss, _BY_VALUE_MODULES) or _is_one_of(_BY_VALUE, loss)


def _is_one_of(functions: Iterable[Any], loss: Loss) -> bool:
    return any(loss is function for function in functions)  # a user's object may have no hash


def _labels_of(outputs: Any) -> str:
    shape = _shape_of(outputs)
    classes = outputs.shape[1] if isinstance(outputs, Tensor) and outputs.ndim > 1 else 0
    rule = f", so labels are 0 to {classes - 1}" if classes else ""
    way_out = "give the model as many outputs as there are classes, or mend the data"
    return f"The model's outputs are {shape}{rule}; {way_out}"


def _shape_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{list(value.shape)}"
    what = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"a {type(value).__name__}{what}"
