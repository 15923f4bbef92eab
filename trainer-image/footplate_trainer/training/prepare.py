"""Puts a model in place: on this rank's device, and in step with the other ranks' copies."""

from types import MethodType
from typing import TYPE_CHECKING, Any, Literal

from footplate_trainer.errors import ConfigError
from footplate_trainer.rank.context import context
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter

if TYPE_CHECKING:
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

Precision = Literal["fp32", "bf16"]
Strategy = Literal["ddp", "fsdp"]


def prepare(model: "nn.Module", *optimizers: Any, strategy: Strategy = "ddp", precision: Precision = "fp32") -> Any:
    """Moves `model` to this rank's device and, in a gang, has all ranks train it together.

    Collective in a gang: all ranks then have rank 0's weights. A model that is sharded already is left as it is.

    Args:
        model: ddp leaves its parameters the same objects, so optimizers may be made before or after. fsdp replaces
            them: give it the optimizers that were made before, which must be new.
        optimizers: handed back as they are, so that one line prepares all.
        strategy: ddp wraps the model in DistributedDataParallel: every rank has all of it. fsdp shards parameters,
            gradients and optimizer state over all ranks, in place (FSDP2; see `sharding` for what is gathered when).
        precision: bf16 runs the forward pass under autocast, or with fsdp in bfloat16 altogether; weights, gradients
            and optimizer state stay float32.

    Returns:
        The model, or (model, *optimizers) where optimizers were given.

    Raises:
        ConfigError: the strategy is unknown, the model has no values yet, or an optimizer has state before fsdp.
    """
    if strategy not in ("ddp", "fsdp"):
        raise ConfigError(f"prepare(strategy={strategy!r}): there is ddp and fsdp")
    from footplate_trainer.checkpoint.sharded import is_sharded

    place = context()
    if not is_sharded(model):
        if strategy == "fsdp" and place.world_size > 1:
            from footplate_trainer.models.sharding import shard
            from footplate_trainer.timing.measured import measure_entry

            shard(model, optimizers, device=place.device, bf16=precision == "bf16")
            measure_entry(model, reporter().work)
        else:
            model = _replicate(model, place, precision)
    return (model, *optimizers) if optimizers else model


def compile_model(model: "nn.Module") -> None:
    """Compiles a model in place, one that is a container of torch's own (nn.Sequential) included: torch compiles none
    of the frames in torch.nn, so that `nn.Module.compile` alone leaves such a one as it is.
    """
    import torch

    call: Any = model._call_impl
    model._compiled_call_impl = torch.compile(lambda *inputs, **named: call(*inputs, **named))


def _replicate(model: "nn.Module", place: Context, precision: Precision) -> "nn.Module":
    import torch

    from footplate_trainer.timing.measured import MeasuredDataParallel

    model.to(place.device)
    if precision == "bf16":
        # A method, where the model's is one: a deep copy of the model then computes with its own weights.
        forward: Any = model.forward
        autocast = torch.autocast(place.device.type, dtype=torch.bfloat16)
        bound = isinstance(forward, MethodType) and forward.__self__ is model
        model.forward = MethodType(autocast(forward.__func__), model) if bound else autocast(forward)
    if place.world_size > 1 and any(parameter.requires_grad for parameter in model.parameters()):
        device_ids = [place.device] if place.device.type == "cuda" else None
        model = MeasuredDataParallel(model, reporter().work, device_ids=device_ids)
        _settle_buckets(model)
    return model


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
