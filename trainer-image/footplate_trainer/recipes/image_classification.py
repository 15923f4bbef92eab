"""Recipe image-classification: IDX files or folders of pictures in, a small convolutional network or a fine-tuned one
out.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from footplate.api.recipe_inputs import MODEL
from footplate.api.recipes import ImageHyperparameters
from footplate_trainer.data.images import Images, read_splits
from footplate_trainer.data.splits import TEST, VALIDATION, check_channels
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter
from footplate_trainer.recipes.image_models import NAME, choose
from footplate_trainer.recipes.inputs import choose_inputs
from footplate_trainer.recipes.training import train_classifier
from footplate_trainer.recipes.tuning import check_conflicts, with_rate

EXAMPLES = 8
MAX_WORKERS = 8
SHIFT = 14
"""Images are shifted by up to a `SHIFT`th of their shorter side, and at least by a pixel."""


def train(ctx: Context, hyperparameters: ImageHyperparameters) -> None:
    """Reads the data, trains, evaluates, exports. Collective."""
    inputs, fractions = choose_inputs(ctx, hyperparameters)
    check_channels(inputs, recipe=NAME, also=[MODEL])
    check_conflicts(ctx, NAME, hyperparameters)
    reporter().enter("loading")
    beginning = choose(ctx, hyperparameters)
    notes: list[str] = []
    splits = read_splits(
        inputs,
        image_size=beginning.side,
        max_corrupt=hyperparameters.max_corrupt,
        class_names=hyperparameters.classes,
        validation_fraction=fractions[VALIDATION],
        test_fraction=fractions[TEST],
        seed=hyperparameters.seed,
        note=notes.append,
    )
    network, card, splits = beginning.make(splits, notes)
    for note in card.notes:
        reporter().note(note)
    images = splits.train
    train_classifier(
        ctx,
        with_rate(hyperparameters, pretrained=MODEL in ctx.inputs),
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
