"""A model's weights, whole and in host memory."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from footplate_trainer.checkpoint.sharded import is_sharded
from footplate_trainer.rank.context import context


@torch.no_grad()
def copied(weights: Mapping[str, Any]) -> dict[str, Any]:
    """In host memory."""
    return {
        name: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
        for name, value in weights.items()
    }


def on_main(model: nn.Module) -> dict[str, Any]:
    """A copy of a model's state on rank 0, by name; empty on other ranks. Collective where the model is sharded."""
    if is_sharded(model):
        from footplate_trainer.models.sharding import full_weights

        return full_weights(model)
    return copied(model.state_dict()) if context().is_main else {}
