"""FSDP2: every rank holds a shard of each parameter, of its gradient and of its optimizer state.

Parameters are gathered a group at a time: each item of a ModuleList or Sequential is a group, as is each item of a
ModuleList inside of such an item; what is left is the last group. So of a stack of blocks, one or two are whole at any
moment. A module that shares a parameter with one outside of it is left to the group around both.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from footplate_trainer.checkpoint.sharded import check_kind, is_dtensor
from footplate_trainer.errors import ConfigError
from footplate_trainer.models.tensors import take_mains

_AS_IT_IS = MixedPrecisionPolicy(cast_forward_inputs=False)
_outlines: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()
"""Copies without values of the models that were sharded here: torch can't copy a sharded one."""


def shard(model: nn.Module, optimizers: Sequence[Optimizer], *, device: torch.device, low: torch.dtype | None) -> None:
    """Shards a model over all ranks, in place, with rank 0's weights, and has optimizers hold its new parameters.

    Args:
        model: on any device: its groups are moved one by one.
        optimizers: made of the model's parameters, and not yet used.
        device: where the shards lie.
        low: type to compute in, such as bfloat16; shards, their gradients and optimizer state keep their own.

    Raises:
        ConfigError: an optimizer has state, or can't do with other parameters or with shards.
    """
    _check(model, optimizers)
    for parameter in model.parameters():
        # FSDP2 shards no others. Of channels_last the inputs' are enough.
        parameter.data = parameter.data.contiguous()
    for tensor in chain(model.parameters(), model.buffers()):
        take_mains(tensor)
    before = dict(model.named_parameters())
    _remember(model)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    # Batch norm's buffers stay float32, so its parameters must, too.
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)] if low else []
    for module in dict.fromkeys([*norms, *groups(model), model]):
        computes_low = low if module not in norms else None
        outputs = torch.float32 if module is model else None
        policy = MixedPrecisionPolicy(computes_low, torch.float32, outputs) if computes_low else _AS_IT_IS
        fully_shard(module, mesh=mesh, mp_policy=policy)
    after = dict(model.named_parameters())
    moved = {id(parameter): after[name] for name, parameter in before.items()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["params"] = [moved.get(id(parameter), parameter) for parameter in group["params"]]


def groups(model: nn.Module) -> Iterator[nn.Module]:
    """The modules to gather one by one, inner ones first; without the model itself, which is the last group."""
    uses = _uses(model)
    for module in _items(model, (nn.ModuleList, nn.Sequential)):
        own = _uses(module)
        if own and all(uses[parameter] == count for parameter, count in own.items()):
            yield module


@torch.no_grad()
def full_weights(model: nn.Module) -> dict[str, Any]:
    """A sharded model's state on rank 0, in host memory; empty on other ranks. Collective; gathers tensor by tensor."""
    weights = {}
    for name, value in model.state_dict().items():
        whole = value.full_tensor() if is_dtensor(value) else value
        if dist.get_rank() == 0:
            # A gathered tensor may lie in more memory than it has values.
            weights[name] = whole.to("cpu", copy=True) if isinstance(whole, Tensor) else whole
    return weights


def unsharded(model: nn.Module, weights: Mapping[str, Any]) -> nn.Module:
    """A copy, not sharded, of a model that `shard` has sharded, with these weights, which it takes over.

    Raises:
        ConfigError: the user's own code has sharded it.
    """
    outline = _outlines.get(model)
    if outline is None:
        raise ConfigError(
            f"export_model needs a copy of this {type(model).__name__} that isn't sharded, and has none: your own code "
            "has sharded it, or copy.deepcopy can't copy it. Use prepare(model, strategy='fsdp'), or save the weights "
            "alone: torch.distributed.checkpoint.state_dict.get_model_state_dict"
        )
    plain = _copy_with(outline, lambda name, _: weights[name])
    plain.load_state_dict(weights)
    return plain


def _check(model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    weights = {id(parameter) for parameter in model.parameters()}
    for optimizer in optimizers:
        check_kind(optimizer)
        for name, value in vars(optimizer).items():
            if isinstance(value, list | tuple) and any(id(item) in weights for item in value):
                raise ConfigError(
                    f"prepare: the {type(optimizer).__name__} keeps the model's parameters in its attribute {name} "
                    "too, and sharding replaces them: its steps would move nothing. Make the optimizer after "
                    "prepare(model, strategy='fsdp'), or use strategy='ddp'"
                )
        if optimizer.state:
            raise ConfigError(
                f"prepare: the {type(optimizer).__name__} has already state, of parameters that sharding replaces; "
                "prepare it before its first step, and have checkpoint.restore load its state"
            )


def _items(module: nn.Module, lists: type[nn.Module] | tuple[type[nn.Module], ...]) -> Iterator[nn.Module]:
    for child in module.children():
        if not isinstance(module, lists):
            yield from _items(child, lists)
            continue
        yield from _items(child, nn.ModuleList)
        if not isinstance(child, nn.ModuleList | nn.ModuleDict):  # those are never called
            yield child


def _uses(module: nn.Module) -> Counter[nn.Parameter]:
    """How often each parameter is used, in shared modules too."""
    modules = (inner for _, inner in module.named_modules(remove_duplicate=False))
    return Counter(parameter for inner in modules for parameter in inner.parameters(recurse=False))


def _remember(model: nn.Module) -> None:
    with suppress(Exception):  # whatever a model's own parts raise; only an export will miss the copy, and say so
        _outlines[model] = _copy_with(model, lambda _, parameter: parameter.detach().to("meta"))


def _copy_with(model: nn.Module, value: Callable[[str, nn.Parameter], Tensor]) -> nn.Module:
    """A deep copy whose parameters have other values: those of the model aren't copied."""
    memo = {
        id(parameter): nn.Parameter(value(name, parameter), requires_grad=parameter.requires_grad)
        for name, parameter in model.named_parameters()
    }
    copied: nn.Module = copy.deepcopy(model, memo)
    return copied
