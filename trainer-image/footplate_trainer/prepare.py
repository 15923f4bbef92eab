"""Puts a model in place: on this rank's device, and in step with the other ranks' copies."""

from typing import TYPE_CHECKING, Any, Literal

from footplate_trainer.context import context
from footplate_trainer.report import reporter

if TYPE_CHECKING:
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

Precision = Literal["fp32", "bf16"]


def prepare(model: "nn.Module", *optimizers: Any, precision: Precision = "fp32") -> Any:
    """Moves `model` to this rank's device and, in a gang, wraps it in DistributedDataParallel.

    Collective in a gang: all ranks then have rank 0's weights.

    Args:
        model: its parameters stay the same objects, so optimizers may be made before or after.
        optimizers: handed back as they are, so that one line prepares all.
        precision: bf16 runs the forward pass under autocast; weights, gradients and optimizer state stay float32.

    Returns:
        The model, or (model, *optimizers) where optimizers were given.
    """
    import torch

    from footplate_trainer.measured import MeasuredDataParallel

    place = context()
    model.to(place.device)
    if precision == "bf16":
        model.forward = torch.autocast(place.device.type, dtype=torch.bfloat16)(model.forward)
    if place.world_size > 1 and any(parameter.requires_grad for parameter in model.parameters()):
        device_ids = [place.device] if place.device.type == "cuda" else None
        model = MeasuredDataParallel(model, reporter().work, device_ids=device_ids)
        _settle_buckets(model)
    return (model, *optimizers) if optimizers else model


def _settle_buckets(model: "DistributedDataParallel") -> None:
    """Makes the first step sum gradients in the same order as all later ones.

    After its first backward pass DDP sorts its buckets anew, by the order in which gradients came. With three ranks or
    more that changes the order of summation, and so the last bits: a resumed run, whose first step is in the middle,
    would part from an uninterrupted one. So that first pass is spent here, on a sum of all parameters: it needs no
    batch, touches no buffer and draws no random number, and gradients come in the order of a model's usual backward.
    """
    import torch

    module = model.module
    forward = module.__dict__.get("forward")
    module.forward = lambda: torch.stack([weight.sum().float() for weight in module.parameters()]).sum()
    try:
        model().backward()
    finally:
        if forward is None:
            del module.forward
        else:
            module.forward = forward
    model.zero_grad(set_to_none=True)
