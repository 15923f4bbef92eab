"""A model's parameters and buffers, before ranks train them together."""

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from footplate_trainer.errors import ConfigError


def check_values(model: nn.Module) -> None:
    """Raises ConfigError for a model that has no values to train yet."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise ConfigError(
                f"prepare: {name} has no shape yet (a lazy module); call the model once on a batch before preparing "
                "it, and make the optimizer then"
            )
        if tensor.is_meta:
            raise ConfigError(
                f"prepare: {name} has no values (it is on the meta device). Give the model values first "
                "(model.to_empty(device='cpu'), then its own initialisation or load_state_dict), or shard it with "
                "torch's fully_shard and then give it values: prepare leaves a sharded model as it is"
            )


def take_mains(tensor: Tensor) -> None:
    """Gives a tensor rank 0's values, however it lies in memory. Collective."""
    values = tensor.detach()
    if any(stride == 0 and size > 1 for stride, size in zip(values.stride(), values.shape, strict=True)):
        return  # one value that is shown many times can't be written to, by training neither
    sent = values.contiguous()
    dist.broadcast(sent, src=0)
    if sent.data_ptr() != values.data_ptr():
        values.copy_(sent)
