"""Puts models and optimizers in place for this rank's device and for the gang."""

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

Precision = Literal["fp32", "bf16"]


def prepare(model: "nn.Module", *optimizers: Any, precision: Precision = "fp32") -> Any:
    """Moves `model` to this rank's device and, in a gang, wraps it in DistributedDataParallel.

    Args:
        model: the model, with its parameters already given to the optimizers.
        optimizers: handed back as they are, so that one line prepares all.
        precision: bf16 runs the forward pass under autocast, and hands out float32 results.

    Returns:
        The model, or (model, *optimizers) where optimizers were given.
    """
    raise NotImplementedError
