"""Classifiers of images: pretrained networks of transformers, with or without low-rank adapters.

What their preprocessor does with an image is part of the network, so that it takes raw pixels as any recipe's does. A
batch norm keeps the statistics that it was pretrained with: else they would differ from rank to rank.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from footplate_trainer.errors import DataError
from footplate_trainer.models.folders import FolderModel
from footplate_trainer.models.model_files import read_settings, told
from footplate_trainer.models.networks import constant
from footplate_trainer.models.pretrained import CONFIG_FILE, IMAGES, PREPROCESSOR_FILE, load_network

NAME = "pretrained-image-classifier"
"""The network's name in model.json."""
SIDES = (8, 1024)
"""Fewest and most pixels of an image's side."""
LARGEST_NUMBER = 1e6
BICUBIC = 3
"""Pillow's number for how pictures are resized."""


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """What a model wants of an image: its size, and its values times `factor`, less `mean`, by `std` of a channel."""

    height: int
    width: int
    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def settings(self) -> dict[str, Any]:
        """As a preprocessor_config.json with which transformers does the same."""
        return {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": self.height, "width": self.width},
            "resample": BICUBIC,
            "do_rescale": True,
            "rescale_factor": self.factor,
            "do_normalize": True,
            "image_mean": [*self.mean],
            "image_std": [*self.std],
        }


def read_preprocessor(folder: Path) -> Preprocessor:
    """What a model's preprocessor_config.json says.

    Raises:
        DataError: it can't be read, or says no size, mean or standard deviation that make sense.
    """
    path = folder / PREPROCESSOR_FILE
    settings = read_settings(path)
    channels = read_settings(folder / CONFIG_FILE).get("num_channels", 3)
    if channels not in (1, 3):
        raise DataError(f"{folder / CONFIG_FILE} says num_channels = {channels}; images have 1 (grey) or 3 (RGB)")
    size = settings.get("crop_size") if settings.get("do_center_crop") else None
    height, width = _sides(size or settings.get("size"), path)
    mean, std = ((0.0,) * channels, (1.0,) * channels)
    if settings.get("do_normalize", True):
        mean, std = (_numbers(settings, key, channels, path) for key in ("image_mean", "image_std"))
    factor = _number(settings.get("rescale_factor", 1 / 255)) if settings.get("do_rescale", True) else 1.0
    if not factor or not all(value > 0 for value in (factor, *std)):
        raise DataError(f"{path}: rescale_factor and image_std must be greater than 0; take the model's own file")
    return Preprocessor(height, width, factor, mean, std)


def _sides(size: Any, path: Path) -> tuple[int, int]:
    """Height and width."""
    sides = size if isinstance(size, Mapping) else {"shortest_edge": size}
    both = (sides.get("shortest_edge"),) * 2 if "shortest_edge" in sides else (sides.get("height"), sides.get("width"))
    if not all(type(side) is int and SIDES[0] <= side <= SIDES[1] for side in both):
        raise DataError(
            f"{path}: the size of images is {json.dumps(size)[:80]}; it must be a number of pixels, or their height "
            f"and width, from {SIDES[0]} to {SIDES[1]:,}: take the model's own file"
        )
    return both  # type: ignore[return-value]  # as just seen


def _numbers(settings: Mapping[str, Any], key: str, channels: int, path: Path) -> tuple[float, ...]:
    """A number for each channel."""
    value = settings.get(key)
    values = [*map(_number, value if isinstance(value, list) else [value] * channels)]
    if len(values) != channels or None in values:
        raise DataError(
            f"{path}: {key} is {json.dumps(value)[:80]}; it must be a list of numbers, one for each of the model's "
            f"{channels} channels: take the model's own file"
        )
    return tuple(values)  # type: ignore[arg-type]  # as just seen


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and abs(value) <= LARGEST_NUMBER else None


class PretrainedImageClassifier(FolderModel):
    """Pixels 0–255 [N, C, H, W], of any dtype, size and number of channels, to logits [N, classes].

    Args:
        network: of transformers; gives `logits`.
        preprocessor: its own, which is saved with it.
    """

    def __init__(self, network: nn.Module, preprocessor: Preprocessor) -> None:
        super().__init__(network)
        self.preprocessor = preprocessor
        self.mean = constant(torch.tensor(preprocessor.mean).reshape(-1, 1, 1))
        self.std = constant(torch.tensor(preprocessor.std).reshape(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [N, classes] of pixels [N, C, H, W]."""
        wants = self.preprocessor
        pixels = _with_channels(pixels.float(), len(wants.mean))
        if pixels.shape[2:] != (wants.height, wants.width):
            size = (wants.height, wants.width)
            pixels = functional.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 255)
        logits: Tensor = self.network(pixel_values=(pixels * wants.factor - self.mean) / self.std).logits
        return logits

    def train(self, mode: bool = True) -> Self:
        """See `nn.Module`; batch norms stay in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def save(self, folder: Path) -> None:
        """Writes the preprocessor too."""
        super().save(folder)
        (folder / PREPROCESSOR_FILE).write_text(json.dumps(self.preprocessor.settings(), indent=2) + "\n")

    def read_back(self, folder: Path) -> "PretrainedImageClassifier":
        """See `FolderModel`."""
        return load_classifier(folder)


def _with_channels(pixels: Tensor, channels: int) -> Tensor:
    """Pixels [N, 1 or 3, H, W] as grey (1) or RGB (3)."""
    if pixels.shape[1] == channels:
        return pixels
    return pixels.expand(-1, 3, -1, -1) if channels == 3 else pixels.mean(dim=1, keepdim=True)


def load_classifier(folder: Path) -> PretrainedImageClassifier:
    """What `PretrainedImageClassifier.save` has written.

    Raises:
        DataError: the folder holds none, or a damaged one.
    """
    return PretrainedImageClassifier(load_network(folder, IMAGES), read_preprocessor(folder))


@torch.no_grad()
def check_computes(model: PretrainedImageClassifier, folder: Path) -> None:
    """Computes an image.

    Raises:
        DataError: the network takes none of the size that its preprocessor makes.
    """
    wants = model.preprocessor
    with told(folder / PREPROCESSOR_FILE):
        model.eval()(torch.zeros(1, len(wants.mean), wants.height, wants.width))
