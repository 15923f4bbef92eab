"""Puts a model in place: on this rank's device, and in step with the other ranks' copies."""

from types import MethodType
from typing import TYPE_CHECKING, Any, Literal

from footplate_trainer.context import Context, context
from footplate_trainer.devices import use_tf32
from footplate_trainer.errors import ConfigError
from footplate_trainer.report import reporter

if TYPE_CHECKING:
    from torch import nn

Precision = Literal["fp32", "tf32", "bf16"]
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
        precision: bf16 runs the forward pass under autocast, or with fsdp in bfloat16 altogether; weights, gradients,
            optimizer state and the model's outputs are float32. tf32 is fp32 whose matrix products are rounded to 10
            bits on GPUs that can (Ampere and later), in the whole process.

    Returns:
        The model, or (model, *optimizers) where optimizers were given.

    Raises:
        ConfigError: the strategy is unknown, the model has no values yet, or an optimizer can't go with fsdp.
    """
    if precision == "tf32":
        use_tf32(context().device)
        precision = "fp32"
    if strategy not in ("ddp", "fsdp"):
        raise ConfigError(f"prepare(strategy={strategy!r}): there is ddp and fsdp")
    from footplate_trainer.checkpoint.sharded import is_sharded
    from footplate_trainer.tensors import check_values

    place = context()
    if not is_sharded(model):
        check_values(model)
        if strategy == "fsdp" and place.world_size > 1:
            from footplate_trainer.measured import measure_entry
            from footplate_trainer.sharding import shard

            shard(model, optimizers, device=place.device, bf16=precision == "bf16")
            measure_entry(model)
        else:
            model = _replicate(model, place, precision)
    return (model, *optimizers) if optimizers else model


def compile_model(model: "nn.Module") -> None:
    """Compiles a model in place, one that is a container of torch's own (nn.Sequential) included: torch compiles none
    of the frames in torch.nn, so that `nn.Module.compile` alone leaves such a one as it is.

    Raises:
        ConfigError: there is no compiler that torch.compile could use.
    """
    import torch

    from footplate_trainer import compilers

    compilers.check_compiler(context().device)
    call: Any = model._call_impl
    model._compiled_call_impl = torch.compile(lambda *inputs, **named: call(*inputs, **named))


def _replicate(model: "nn.Module", place: Context, precision: Precision) -> "nn.Module":
    import torch

    from footplate_trainer.measured import MeasuredDataParallel
    from footplate_trainer.outputs import in_float32

    model.to(place.device)
    if precision == "bf16":
        # A method, where the model's is one: a deep copy of the model then computes with its own weights.
        forward: Any = model.forward
        autocast = in_float32(torch.autocast(place.device.type, dtype=torch.bfloat16))
        bound = isinstance(forward, MethodType) and forward.__self__ is model
        model.forward = MethodType(autocast(forward.__func__), model) if bound else autocast(forward)
    if place.world_size > 1 and any(parameter.requires_grad for parameter in model.parameters()):
        device_ids = [place.device] if place.device.type == "cuda" else None
        model = MeasuredDataParallel(model, reporter().work, device_ids=device_ids)
    return model
