"""Tensors that are sharded over the ranks (DTensor, as FSDP2 makes them), in checkpoints.

A part that has such tensors is several files. `<part>`, from rank 0, has the tree with its whole tensors, and says how
the others are sharded. `<part>.shards`, from every rank, has that rank's shards under the tensors' names. From these
each rank of any world knows which shards it needs, fetches those alone, and reads of them only its own rows: a
checkpoint of three ranks can be loaded on two, or into a model that isn't sharded at all, and the other way round.

Invariant: shard n of every tensor is written by rank n.
"""

import sys
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from footplate_trainer.checkpoint.codec import Packed, Region, Sharding, flatten, whole
from footplate_trainer.errors import ConfigError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

SHARDS = ".shards"
"""Ending of the name of a part's shards."""

Files = Mapping[int, Any]
"""Open safetensors files with shards of a part, by the rank that wrote them."""


def is_dtensor(value: Any) -> "TypeGuard[DTensor]":
    """True for a DTensor. Doesn't import what takes half a second to import, and who has none hasn't imported."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


def is_sharded(model: nn.Module) -> bool:
    """True if a parameter of the model is sharded over the ranks."""
    return any(map(is_dtensor, model.state_dict().values()))


def check(model: nn.Module, optimizer: Optimizer | None) -> None:
    """Refuses, before training, what can't be saved or would train nothing.

    Raises:
        ConfigError: a parameter is sharded in a way that can't be saved, or the optimizer can't do with shards, or has
            the parameters that the model had before it was sharded.
    """
    if not is_sharded(model):
        return
    for name, tensor in model.state_dict().items():
        if is_dtensor(tensor):
            _placement_of(tensor, name)
    if optimizer is not None:
        check_kind(optimizer)
    held = {id(parameter) for parameter in model.parameters()}
    if optimizer is not None and not any(id(weight) in held for weight in weights_of(optimizer)):
        raise ConfigError(
            f"the {type(optimizer).__name__} has none of the model's parameters: it was made before the model was "
            "sharded, which replaces them. Hand it to prepare(model, optimizer, strategy='fsdp'), or make it afterwards"
        )


def check_kind(optimizer: Optimizer) -> None:
    """Raises ConfigError for an optimizer that can't do with shards of parameters."""
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ConfigError(
            f"{type(optimizer).__name__} steps along one vector of all weights, which strategy='fsdp' leaves no rank "
            "with; use strategy='ddp', or an optimizer that takes each weight by itself, such as AdamW"
        )


def divide(packed: Packed) -> tuple[Packed, Packed]:
    """Parts a tree into what rank 0 writes, and this rank's shards.

    Raises:
        ConfigError: a tensor is sharded in a way that can't be saved.
    """
    rest, shardings, shards = {}, {}, {}
    for name, tensor in packed.tensors.items():
        if is_dtensor(tensor):
            placement = _placement_of(tensor, name)
            shardings[name] = Sharding(tuple(tensor.shape), _dtype_name(tensor), placement.dim, placement.shards)
            if placement.writes:
                shards[name] = tensor.to_local()
        else:
            rest[name] = tensor
    return Packed(rest, packed.structure, shardings), Packed(shards, None)


class Plan:
    """What this rank takes of the tensors of a part, given the object that they are loaded into."""

    def __init__(self, part: Any, packed: Packed) -> None:
        self._packed = packed
        self._targets = _targets(part, packed)

    def outline(self) -> Any:
        """The tree, before any shard is read: a sharded tensor is a shape without values."""
        shapes = {name: torch.empty(sharding.shape, device="meta") for name, sharding in self._packed.shardings.items()}
        return Packed({**self._packed.tensors, **shapes}, self._packed.structure).tree()

    def shards(self) -> set[int]:
        """Which ranks' shards are needed."""
        shardings = self._packed.shardings.items()
        return {
            shard for name, sharding in shardings for shard in sharding.shards_of(self._region(name, sharding.shape))
        }

    def load(self, files: Files) -> Any:
        """The tree: tensors that the object has sharded are so here, and all others are whole."""
        tensors = {}
        for name, tensor in self._packed.tensors.items():
            tensors[name] = self._placed(name, tensor[self._region(name, tensor.shape)], tuple(tensor.shape))
        for name, sharding in self._packed.shardings.items():
            local = _read(name, sharding, self._region(name, sharding.shape), files)
            tensors[name] = self._placed(name, local, sharding.shape)
        return Packed(tensors, self._packed.structure).tree()

    def _target(self, name: str) -> "DTensor | None":
        """Where a tensor goes; of an optimizer's state, the parameter that it belongs to."""
        return self._targets.get(name, self._targets.get(name.rpartition(".")[0]))

    def _region(self, name: str, shape: tuple[int, ...]) -> Region:
        target = self._target(name)
        if target is None or target.shape != shape:
            return whole(shape)
        placement = _placement_of(target, name)
        return Sharding(tuple(shape), "", placement.dim, placement.shards).region(placement.shard)

    def _placed(self, name: str, local: Tensor, shape: tuple[int, ...]) -> Tensor:
        target = self._target(name)
        if target is None or (target.shape != shape and name not in self._packed.shardings):
            return local
        from torch.distributed.tensor import DTensor, Replicate

        placements = target.placements if target.shape == shape else [Replicate()] * target.device_mesh.ndim
        return DTensor.from_local(
            local.to(target.device).clone(memory_format=torch.contiguous_format),  # a view would hold on to the whole
            target.device_mesh,
            placements,
            run_check=False,
            shape=torch.Size(shape),
            stride=torch.empty(shape, device="meta").stride(),
        )


class Placement(NamedTuple):
    """How a DTensor is placed, and which shard this rank has."""

    dim: int
    shards: int
    shard: int
    writes: bool
    """False on ranks whose shard another one writes too (replicas)."""


def _placement_of(tensor: "DTensor", name: str) -> Placement:
    placement = _placement(tensor.device_mesh, tuple(tensor.placements))
    if placement is None:
        raise ConfigError(
            f"checkpoint: {name} is placed as {tuple(tensor.placements)} on {tensor.device_mesh}; what can be saved is "
            "cut along one dimension over all ranks, or over the first ranks with replicas on the others, as "
            "prepare(model, strategy='fsdp') and fully_shard do"
        )
    return placement


@cache
def _placement(mesh: "DeviceMesh", placements: tuple[Any, ...]) -> Placement | None:
    from torch.distributed.tensor import Replicate, Shard

    axes = [axis for axis, placement in enumerate(placements) if not isinstance(placement, Replicate)]
    if len(axes) > 1 or not all(type(placements[axis]) is Shard for axis in axes):
        return None
    rank = dist.get_rank()
    places = (mesh.mesh == rank).nonzero().tolist()
    writers = mesh.mesh.movedim(axes[0], -1).reshape(-1, mesh.size(axes[0]))[0].tolist() if axes else [0]
    if not places or writers != list(range(len(writers))):
        return None
    dim, shard = (placements[axes[0]].dim, places[0][axes[0]]) if axes else (0, 0)
    return Placement(dim, len(writers), shard, writes=rank in writers)


def _targets(part: Any, packed: Packed) -> Mapping[str, "DTensor"]:
    """The object's tensors that are sharded, by name; an optimizer's state is new, and will lie as its parameters."""
    tensors: Mapping[str, Tensor] = {}
    if isinstance(part, Optimizer):
        tensors = {f"state.{number}": weight for number, weight in enumerate(weights_of(part))}
    elif part is not None and (isinstance(part, nn.Module) or packed.shardings):
        tensors = flatten(part.state_dict()).tensors
    return {name: tensor for name, tensor in tensors.items() if is_dtensor(tensor)}


def weights_of(optimizer: Optimizer) -> list[Tensor]:
    """The parameters that an optimizer was made of, group by group."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _read(name: str, sharding: Sharding, region: Region, files: Files) -> Tensor:
    """A part of a tensor, put together of its shards."""
    values = torch.empty([part.stop - part.start for part in region], dtype=getattr(torch, sharding.dtype))
    for shard in sharding.shards_of(region):
        there = sharding.region(shard)
        common = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(region, there, strict=True)]
        values[_within(common, region)] = files[shard].get_slice(name)[_within(common, there)]
    return values


def _within(part: Iterable[slice], region: Region) -> Region:
    """A part of the whole, counted from where a region begins."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, region, strict=True))


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
