"""Copies of a model's weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from footplate_trainer.checkpoint.sharded import is_dtensor, is_sharded
from footplate_trainer.rank.context import context


@torch.no_grad()
def copied(weights: Mapping[str, Any]) -> dict[str, Any]:
    """In host memory; of a sharded tensor this rank's shard, where it is."""
    return {name: _copied(value) for name, value in weights.items()}


def _copied(value: Any) -> Any:
    if is_dtensor(value):
        return value.detach().clone()
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value


def placed_as(tensor: Tensor, value: Tensor) -> Tensor:
    """A value sharded as the tensor is; a checkpoint of a model that was not sharded has it whole. Collective there."""
    if not is_dtensor(tensor) or is_dtensor(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(tensor.device), tensor.device_mesh, tensor.placements)


def on_main(model: nn.Module) -> dict[str, Any]:
    """A copy of a model's state on rank 0, by name; empty on other ranks. Collective where the model is sharded."""
    if is_sharded(model):
        from footplate_trainer.models.sharding import full_weights

        return full_weights(model)
    return copied(model.state_dict()) if context().is_main else {}
