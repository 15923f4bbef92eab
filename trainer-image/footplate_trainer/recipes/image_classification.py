"""Recipe image-classification: IDX files or folders of pictures in, a small convolutional network out."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from footplate.api.recipes import ImageHyperparameters
from footplate_trainer.data.images import Images, read_splits
from footplate_trainer.data.inputs import ImageInput
from footplate_trainer.data.scratch import ranks
from footplate_trainer.data.splits import TEST, VALIDATION, check_channels
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.networks import ImageClassifier
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter
from footplate_trainer.recipes.inputs import choose_inputs
from footplate_trainer.recipes.training import train_classifier

NAME = "image-classification"
EXAMPLES = 8
MAX_WORKERS = 8
BYTES_AT_ONCE = 2**22
SHIFT = 14
"""Images are shifted by up to a `SHIFT`th of their shorter side, and at least by a pixel."""


def train(ctx: Context, hyperparameters: ImageHyperparameters) -> None:
    """Reads the data, trains, evaluates, exports. Collective."""
    inputs, fractions = choose_inputs(ctx, hyperparameters)
    check_channels(inputs, recipe=NAME)
    reporter().enter("loading")
    notes: list[str] = []
    splits = read_splits(
        inputs,
        image_size=hyperparameters.image_size,
        max_corrupt=hyperparameters.max_corrupt,
        class_names=hyperparameters.classes,
        validation_fraction=fractions[VALIDATION],
        test_fraction=fractions[TEST],
        seed=hyperparameters.seed,
        note=notes.append,
    )
    for note in notes:
        reporter().note(note)
    images = splits.train
    card = make_card(images, hyperparameters, notes)
    network = ImageClassifier(**card.arguments)
    network.mean.data, network.std.data = measure(images)
    train_classifier(
        ctx,
        hyperparameters,
        network,
        card,
        train=AugmentedImages(images, flip=hyperparameters.augmentation == "shift-and-flip")
        if hyperparameters.augmentation != "none"
        else plain(images),
        validation=splits.validation and plain(splits.validation),
        test=splits.test and plain(splits.test),
        example=images.pixels[:EXAMPLES],
        num_workers=workers(hyperparameters),
    )


def workers(hyperparameters: ImageHyperparameters) -> int:
    """Processes of each rank that make samples: the supervisor has shared the pod's CPUs among the ranks' threads."""
    if hyperparameters.num_workers is not None:
        return hyperparameters.num_workers
    return min(MAX_WORKERS, torch.get_num_threads() - 1)


def make_card(images: Images, hyperparameters: ImageHyperparameters, notes: Sequence[str]) -> ModelCard:
    """The card of a network for such images."""
    channels, height, width = images.pixels.shape[1:]
    return ModelCard(
        recipe=NAME,
        network="image-classifier",
        arguments={
            "image_shape": [channels, height, width],
            "classes": len(images.classes),
            "width": hyperparameters.width,
            "hidden": hyperparameters.hidden,
            "dropout": hyperparameters.dropout,
        },
        classes=images.classes,
        input=ImageInput(shape=(channels, height, width), labelled=images.labelled),
        notes=tuple(notes),
    )


def mean_and_std(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [C, 1, 1] of each channel of uint8 pixels [N, C, H, W]; exact, in little memory."""
    values = torch.arange(256, dtype=torch.float64)
    counts = torch.zeros((pixels.shape[1], 256), dtype=torch.float64)
    for part in pixels.split(max(1, BYTES_AT_ONCE // pixels[0].numel())):
        counts += _histograms(part)
        reporter().beat()
    shares = counts / counts.sum(dim=1, keepdim=True)
    mean = shares @ values
    variance = (shares * (values - mean[:, None]) ** 2).sum(dim=1)
    std = torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
    return mean.float().reshape(-1, 1, 1), std.float().reshape(-1, 1, 1)


def _histograms(pixels: Tensor) -> Tensor:
    """How often each value occurs in each channel of pixels [N, C, H, W], int64 [C, 256]."""
    return torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in pixels.unbind(1)])


def measure(images: Images) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [C, 1, 1] of each channel, exact, whatever rank has looked at which picture.
    Collective.
    """
    if isinstance(images.pixels, Tensor) or images.moments is None:
        return ranks().from_main(lambda: mean_and_std(images.pixels[:]))
    count, channels, height, width = images.pixels.shape
    values = count * height * width
    sums, squares = images.moments.sum(dim=0)[:, :channels].tolist()
    mean = [total / values for total in sums]
    variance = [(values * square - total**2) / values**2 for total, square in zip(sums, squares, strict=True)]
    std = [math.sqrt(each) if each > 0 else 1.0 for each in variance]
    return torch.tensor(mean).reshape(-1, 1, 1), torch.tensor(std).reshape(-1, 1, 1)


def plain(images: Images) -> Dataset[Any]:
    """Images as they are, with their labels."""
    if isinstance(images.pixels, Tensor):
        return TensorDataset(images.pixels, images.labels)
    return PlainImages(images)


class PlainImages(Dataset[Any]):
    """Images that are read when they are asked for."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._images.pixels[index], self._images.labels[index]


class AugmentedImages(Dataset[Any]):
    """Images, each shifted and perhaps mirrored at random; `data.loader` seeds each sample's random numbers."""

    def __init__(self, images: Images, *, flip: bool) -> None:
        self._images = images
        self._flip = flip
        self._reach = max(1, min(images.pixels.shape[2:]) // SHIFT)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pixels = self._images.pixels[index]
        down, right = torch.randint(-self._reach, self._reach + 1, (2,)).tolist()
        if self._flip and torch.rand(()) < 0.5:
            pixels = pixels.flip(2)
        return shift(pixels, down, right), self._images.labels[index]


def shift(pixels: Tensor, down: int, right: int) -> Tensor:
    """Pixels [C, H, W] moved down and right; what comes in from outside is 0."""
    height, width = pixels.shape[1:]
    moved = torch.zeros_like(pixels)
    moved[:, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = pixels[
        :, max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)
    ]
    return moved
