"""Tensors that lie in pieces on the ranks (DTensor, as FSDP2 makes them), in checkpoints.

A part that has such tensors is several files. `<part>`, from rank 0, has the tree with its whole tensors, and says how
the others are cut. `<part>.shards`, from every rank, has that rank's pieces under the tensors' names. From these each
rank of any world knows which pieces it needs, fetches those alone, and reads of them only its own rows: a checkpoint
of three ranks can be loaded on two, or into a model that isn't sharded at all, and the other way round.

Invariant: piece n of every tensor is written by rank n.
"""

import sys
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from footplate_trainer.checkpoint.codec import Box, Packed, Split, flatten, whole
from footplate_trainer.errors import ConfigError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

SHARDS = ".shards"
"""Ending of the name of a part's pieces."""

Files = Mapping[int, Any]
"""Open safetensors files with pieces of a part, by the rank that wrote them."""


def is_dtensor(value: Any) -> "TypeGuard[DTensor]":
    """True for a DTensor. Doesn't import what takes half a second to import, and who has none hasn't imported."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


def is_sharded(model: nn.Module) -> bool:
    """True if a parameter of the model lies in pieces on the ranks."""
    return any(map(is_dtensor, model.state_dict().values()))


def check(model: nn.Module, optimizer: Optimizer | None) -> None:
    """Refuses, before training, what can't be saved or would train nothing.

    Raises:
        ConfigError: a parameter is cut in a way that can't be saved, or the optimizer can't do with pieces, or has the
            parameters that the model had before it was sharded.
    """
    if not is_sharded(model):
        return
    for name, tensor in model.state_dict().items():
        if is_dtensor(tensor):
            _cut_of(tensor, name)
    if optimizer is not None:
        check_kind(optimizer)
    held = {id(parameter) for parameter in model.parameters()}
    if optimizer is not None and not any(id(weight) in held for weight in _weights(optimizer)):
        raise ConfigError(
            f"the {type(optimizer).__name__} has none of the model's parameters: it was made before the model was "
            "sharded, which replaces them. Hand it to prepare(model, optimizer, strategy='fsdp'), or make it afterwards"
        )


def check_kind(optimizer: Optimizer) -> None:
    """Raises ConfigError for an optimizer that can't do with pieces of parameters."""
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ConfigError(
            f"{type(optimizer).__name__} steps along one vector of all weights, which strategy='fsdp' leaves no rank "
            "with; use strategy='ddp', or an optimizer that takes each weight by itself, such as AdamW"
        )


def divide(packed: Packed) -> tuple[Packed, Packed]:
    """Parts a tree into what rank 0 writes, and this rank's pieces.

    Raises:
        ConfigError: a tensor is cut in a way that can't be saved.
    """
    rest, splits, pieces = {}, {}, {}
    for name, tensor in packed.tensors.items():
        if is_dtensor(tensor):
            cut = _cut_of(tensor, name)
            splits[name] = Split(tuple(tensor.shape), _dtype_name(tensor), cut.dim, cut.pieces)
            if cut.writes:
                pieces[name] = tensor.to_local()
        else:
            rest[name] = tensor
    return Packed(rest, packed.structure, splits), Packed(pieces, None)


class Plan:
    """What this rank takes of the tensors of a part, given the object that they are loaded into."""

    def __init__(self, part: Any, packed: Packed) -> None:
        self._packed = packed
        self._targets = _targets(part, packed)

    def outline(self) -> Any:
        """The tree, before any piece is read: a tensor in pieces is a shape without values."""
        shapes = {name: torch.empty(split.shape, device="meta") for name, split in self._packed.splits.items()}
        return Packed({**self._packed.tensors, **shapes}, self._packed.structure).tree()

    def pieces(self) -> set[int]:
        """Which ranks' pieces are needed."""
        splits = self._packed.splits.items()
        return {piece for name, split in splits for piece in split.pieces_of(self._box(name, split.shape))}

    def load(self, files: Files) -> Any:
        """The tree: tensors that the object has in pieces are so here, and all others are whole."""
        tensors = {}
        for name, tensor in self._packed.tensors.items():
            tensors[name] = self._placed(name, tensor[self._box(name, tensor.shape)], tuple(tensor.shape))
        for name, split in self._packed.splits.items():
            local = _read(name, split, self._box(name, split.shape), files)
            tensors[name] = self._placed(name, local, split.shape)
        return Packed(tensors, self._packed.structure).tree()

    def _target(self, name: str) -> "DTensor | None":
        """Where a tensor goes; of an optimizer's state, the parameter that it belongs to."""
        return self._targets.get(name, self._targets.get(name.rpartition(".")[0]))

    def _box(self, name: str, shape: tuple[int, ...]) -> Box:
        target = self._target(name)
        if target is None or target.shape != shape:
            return whole(shape)
        cut = _cut_of(target, name)
        return Split(tuple(shape), "", cut.dim, cut.pieces).box(cut.piece)

    def _placed(self, name: str, local: Tensor, shape: tuple[int, ...]) -> Tensor:
        target = self._target(name)
        if target is None or (target.shape != shape and name not in self._packed.splits):
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


class Cut(NamedTuple):
    """How a DTensor is cut, and which piece this rank has."""

    dim: int
    pieces: int
    piece: int
    writes: bool
    """False on ranks whose piece another one writes too (replicas)."""


def _cut_of(tensor: "DTensor", name: str) -> Cut:
    cut = _cut(tensor.device_mesh, tuple(tensor.placements))
    if cut is None:
        raise ConfigError(
            f"checkpoint: {name} is placed as {tuple(tensor.placements)} on {tensor.device_mesh}; what can be saved is "
            "cut along one dimension over all ranks, or over the first ranks with replicas on the others, as "
            "prepare(model, strategy='fsdp') and fully_shard do"
        )
    return cut


@cache
def _cut(mesh: "DeviceMesh", placements: tuple[Any, ...]) -> Cut | None:
    from torch.distributed.tensor import Replicate, Shard

    cuts = [axis for axis, placement in enumerate(placements) if not isinstance(placement, Replicate)]
    if len(cuts) > 1 or not all(type(placements[axis]) is Shard for axis in cuts):
        return None
    rank = dist.get_rank()
    places = (mesh.mesh == rank).nonzero().tolist()
    writers = mesh.mesh.movedim(cuts[0], -1).reshape(-1, mesh.size(cuts[0]))[0].tolist() if cuts else [0]
    if not places or writers != list(range(len(writers))):
        return None
    dim, piece = (placements[cuts[0]].dim, places[0][cuts[0]]) if cuts else (0, 0)
    return Cut(dim, len(writers), piece, writes=rank in writers)


def _targets(part: Any, packed: Packed) -> Mapping[str, "DTensor"]:
    """The object's tensors that lie in pieces, by name; an optimizer's state is new, and will lie as its parameters."""
    tensors: Mapping[str, Tensor] = {}
    if isinstance(part, Optimizer):
        tensors = {f"state.{number}": weight for number, weight in enumerate(_weights(part))}
    elif part is not None and (isinstance(part, nn.Module) or packed.splits):
        tensors = flatten(part.state_dict()).tensors
    return {name: tensor for name, tensor in tensors.items() if is_dtensor(tensor)}


def _weights(optimizer: Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _read(name: str, split: Split, box: Box, files: Files) -> Tensor:
    """A part of a tensor, put together of its pieces."""
    values = torch.empty([part.stop - part.start for part in box], dtype=getattr(torch, split.dtype))
    for piece in split.pieces_of(box):
        there = split.box(piece)
        common = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, there, strict=True)]
        values[_within(common, box)] = files[piece].get_slice(name)[_within(common, there)]
    return values


def _within(part: Iterable[slice], box: Box) -> Box:
    """A part of the whole, counted from where a box begins."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, box, strict=True))


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
