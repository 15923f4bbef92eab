"""Networks of transformers that are fine-tuned: written as its `save_pretrained` does, and so read by whatever reads
its folders.
"""

import warnings
from pathlib import Path
from typing import Any

from torch import nn

from footplate.api.recipes import PATH
from footplate_trainer.errors import ConfigError
from footplate_trainer.models.pretrained import quiet

ALPHA = 2
"""Adapters are scaled by this: LoRA's alpha is so many times its rank."""


class FolderModel(nn.Module):
    """A model that isn't one file but a folder of transformers.

    Args:
        network: of transformers.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def save(self, folder: Path) -> None:
        """Writes config.json and model.safetensors. Adapters become part of the weights, here too."""
        if hasattr(self.network, "merge_and_unload"):
            self.network = self.network.merge_and_unload()
        with quiet():
            self.network.save_pretrained(folder, max_shard_size="1TB")

    def read_back(self, folder: Path) -> "FolderModel":
        """Another one, of what `save` has written.

        Raises:
            DataError: the folder holds none, or a damaged one.
        """
        raise NotImplementedError


def add_adapters(network: Any, rank: int, *, classifies: bool = True) -> nn.Module:
    """The same with low-rank adapters beside each linear layer of its encoder or decoder. Only they are trained and, of
    one that classifies, the head.

    Raises:
        ConfigError: it has no linear layers.
    """
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    prefix = network.base_model_prefix
    body = getattr(network, prefix)
    linear = [f"{prefix}.{name}" for name, part in body.named_modules() if isinstance(part, nn.Linear | Conv1D)]
    if not linear:
        raise ConfigError(
            f"{PATH}.fineTuning = lora: adapters are for linear layers, and a {network.config.model_type} has none; "
            "use full"
        )
    head = [name for name, part in network.named_children() if name != prefix and [*part.parameters()]]
    settings = LoraConfig(
        r=rank, lora_alpha=ALPHA * rank, target_modules=linear, modules_to_save=head if classifies else None
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that is going away
        warnings.filterwarnings("ignore", message="fan_in_fan_out")  # of GPT-2's layers it finds out itself
        adapted: nn.Module = get_peft_model(network, settings)
    return adapted
