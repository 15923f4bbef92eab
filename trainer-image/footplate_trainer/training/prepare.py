"""Puts a model in place: on this rank's device, and in step with the other ranks' copies."""

import difflib
import inspect
from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any, Literal, TypeGuard, get_args

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from footplate_trainer.checkpoint.sharded import is_sharded
from footplate_trainer.errors import ConfigError
from footplate_trainer.models.tensors import check_values
from footplate_trainer.rank.context import context
from footplate_trainer.rank.devices import use_tf32
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter
from footplate_trainer.training import compilers
from footplate_trainer.training.activation_checkpointing import checkpoint_activations
from footplate_trainer.training.measured import MeasuredDataParallel, measure_entry
from footplate_trainer.training.outputs import in_float32

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Strategy = Literal["ddp", "fsdp"]
OWN_DDP_OPTIONS = {"self", "module", "device_ids", "output_device", "dim", "process_group", "device_mesh"}
"""What `prepare` decides itself."""


def prepare(
    model: nn.Module,
    *optimizers: Any,
    strategy: Strategy = "ddp",
    precision: Precision = "fp32",
    ddp_options: Mapping[str, Any] | None = None,
    sync_batch_norm: bool = False,
    activation_checkpointing: str | Sequence[str] = (),
) -> Any:
    """Moves `model` to this rank's device and, in a gang, has all ranks train it together.

    Collective in a gang: all ranks then have rank 0's weights. A model that is sharded already, or in
    DistributedDataParallel, is left so.

    Args:
        model: ddp leaves its parameters the same objects, so optimizers may be made before or after. fsdp replaces
            them: give it the optimizers that were made before, which must be new.
        optimizers: handed back as they are, so that one line prepares all.
        strategy: ddp wraps the model in DistributedDataParallel: every rank has all of it. fsdp shards parameters,
            gradients and optimizer state over all ranks, in place (FSDP2; see `sharding` for what is gathered when).
        precision: bf16 and fp16 run the forward pass under autocast, or with fsdp in that type altogether; weights,
            gradients, optimizer state and the model's outputs are float32. With fp16 the loss must be scaled
            (torch.amp.GradScaler), which `Trainer` does by itself. tf32 is fp32 whose matrix products are rounded to
            10 bits on GPUs that can (Ampere and later), in the whole process.
        ddp_options: passed on to DistributedDataParallel, such as find_unused_parameters, static_graph,
            gradient_as_bucket_view and bucket_cap_mb.
        sync_batch_norm: batch norm takes its statistics of all ranks' samples (torch's SyncBatchNorm, which needs
            accelerators); with one rank nothing changes.
        activation_checkpointing: class names of modules that compute their activations anew in the backward pass
            instead of keeping them.

    Returns:
        The model, or (model, *optimizers) where optimizers were given.

    Raises:
        ConfigError: there is no such strategy, precision, option or class; the model has no values yet, or is in
            DataParallel; what comes after it is no optimizer; an optimizer can't go with fsdp; or batch norm can't be
            synchronised on this device.
    """
    _check_kinds(model, optimizers)
    if strategy not in get_args(Strategy):
        raise ConfigError(f"prepare(strategy={strategy!r}): there is ddp and fsdp")
    if precision not in get_args(Precision):
        raise ConfigError(f"prepare(precision={precision!r}): there is fp32, tf32, bf16 and fp16")
    if precision == "tf32":
        use_tf32(context().device)
    ctx = context()
    options = _checked_options(model, strategy, ddp_options or {})
    if activation_checkpointing:
        checkpoint_activations(model, activation_checkpointing)
    if sync_batch_norm:
        _synchronise_batch_norm(model, ctx)
    if not is_sharded(model):
        check_values(model)
        if strategy == "fsdp" and ctx.world_size > 1:
            from footplate_trainer.models.sharding import shard  # what it imports takes long, and few need it

            shard(model, optimizers, device=ctx.device, low=_low(precision))
            measure_entry(model, reporter().work)
        else:
            model = _replicate(model, ctx, precision, options)
    return (model, *optimizers) if optimizers else model


def compile_model(model: nn.Module) -> None:
    """Compiles a model in place, one that is a container of torch's own (nn.Sequential) included: torch compiles none
    of the frames in torch.nn, so that `nn.Module.compile` alone leaves such a one as it is.

    Raises:
        ConfigError: there is no compiler that torch.compile could use.
    """
    compilers.check_compiler(context().device)
    call: Any = model._call_impl
    model._compiled_call_impl = torch.compile(lambda *inputs, **named: call(*inputs, **named))


def _check_kinds(model: Any, optimizers: Sequence[Any]) -> None:
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"prepare(model): a {type(model).__name__} is no torch.nn.Module; the model comes first, then optimizers"
        )
    if isinstance(model, nn.DataParallel):
        raise ConfigError(
            "prepare(model): it is in DataParallel, which would take the accelerators of other ranks, and rename its "
            "weights; give the model itself: every accelerator has a rank of its own"
        )
    for other in optimizers:
        if not hasattr(other, "param_groups"):
            raise ConfigError(
                f"prepare(model, …): a {type(other).__name__} is no optimizer, and would come back as it is. Data are "
                "shared out over the ranks by data.loader(dataset, batch_size=…); schedulers need nothing"
            )


def _replicate(model: nn.Module, ctx: Context, precision: Precision, options: Mapping[str, Any]) -> nn.Module:
    wrapped = _is_wrapped(model)
    module: Any = model.module if wrapped else model
    if not wrapped:  # else its device is the user's own choice, and its gradients are reduced there
        module.to(ctx.device)
    if low := _low(precision):
        # A method, where the model's is one: a deep copy of the model then computes with its own weights.
        forward: Any = module.forward
        autocast = in_float32(torch.autocast(ctx.device.type, dtype=low))
        bound = isinstance(forward, MethodType) and forward.__self__ is module
        module.forward = MethodType(autocast(forward.__func__), module) if bound else autocast(forward)
    if not wrapped and ctx.world_size > 1 and any(parameter.requires_grad for parameter in model.parameters()):
        device_ids = [ctx.device] if ctx.device.type == "cuda" else None
        model = MeasuredDataParallel(model, reporter().work, device_ids=device_ids, **options)
    return model


def _low(precision: Precision) -> torch.dtype | None:
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def _is_wrapped(model: Any) -> TypeGuard[DistributedDataParallel]:
    return isinstance(model, DistributedDataParallel)


def _checked_options(model: Any, strategy: Strategy, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is passed on to DistributedDataParallel."""
    known = inspect.signature(DistributedDataParallel.__init__).parameters.keys() - OWN_DDP_OPTIONS
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            rest = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
            raise ConfigError(f"prepare(ddp_options): {name!r} can't be given to DistributedDataParallel here; {rest}")
    if options and strategy == "fsdp":
        raise ConfigError("prepare(ddp_options, strategy='fsdp'): there is no DistributedDataParallel; leave them out")
    if _is_wrapped(model) and (options or strategy == "fsdp"):
        raise ConfigError(
            "prepare: the model is in DistributedDataParallel already, so strategy='fsdp' and ddp_options come too "
            "late; give the model itself"
        )
    return options


def _synchronise_batch_norm(model: nn.Module, ctx: Context) -> None:
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise ConfigError(f"prepare(sync_batch_norm=True): this {type(model).__name__} has no batch norm; leave it out")
    if ctx.world_size == 1:
        return
    if ctx.device.type == "cpu":
        raise ConfigError(
            f"prepare(sync_batch_norm=True): torch's SyncBatchNorm needs accelerators, and these {ctx.world_size} "
            "ranks compute on CPUs; leave it out, use fewer nodes, or a norm of single samples such as GroupNorm"
        )
    if isinstance(model, _BatchNorm) or _is_wrapped(model):
        raise ConfigError(
            f"prepare(sync_batch_norm=True): it replaces batch norms inside of a model, and can't replace this "
            f"{type(model).__name__} itself, or one in DistributedDataParallel; give the model around it, or itself"
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(model)
