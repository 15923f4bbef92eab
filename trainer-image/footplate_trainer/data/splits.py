"""What a recipe makes of its input channels: training data, and what is held out of it where no channel brings it.

A held-out part is stratified by class and a function of the seed and the labels' order alone, so every rank, attempt
and world size holds out the same samples.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from footplate_trainer.errors import ConfigError, DataError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
CHANNELS = (TRAIN, VALIDATION, TEST)

SPLIT_OF_NAME = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "dev": VALIDATION,
    "t10k": TEST,
    "test": TEST,
    "testing": TEST,
    "eval": TEST,
    "evaluation": TEST,
}
"""What file and folder names say of the part they hold, in lower case: Hugging Face's words, and MNIST's."""


def check_channels(inputs: Mapping[str, Path], *, recipe: str, also: Sequence[str] = ()) -> None:
    """Raises ConfigError for an input that the recipe doesn't read, and where there is none to train on.

    Args:
        also: channels that this recipe reads beside those of the data.
    """
    known = (*CHANNELS, *also)
    for name in inputs:
        if name not in known:
            raise ConfigError(
                f"spec.inputs: recipe {recipe} reads the channels {', '.join(known)}, not {name!r}; rename it"
            )
    if TRAIN not in inputs:
        raise ConfigError(
            f"spec.inputs: recipe {recipe} needs a channel named {TRAIN!r}; "
            f"add {{name: {TRAIN}, uri: s3://bucket/folder/}}"
        )


def hold_out(labels: Tensor, fraction: float, *, seed: int) -> Tensor:
    """Which of the samples with these labels [N] are held out, bool [N].

    Each class gives the rounded share `fraction` of its samples, and keeps at least one.
    """
    generator = torch.Generator().manual_seed(seed)
    held = torch.zeros(len(labels), dtype=torch.bool)
    by_class = torch.from_numpy(np.argsort(labels.numpy(), kind="stable"))
    for members in by_class.split(labels.bincount().tolist()):
        share = max(0, min(round(fraction * len(members)), len(members) - 1))
        held[members[torch.randperm(len(members), generator=generator)[:share]]] = True
    return held


def say_not_held_out(split: str, fraction: float, note: Callable[[str], object]) -> None:
    """Notes that a split is missing."""
    note(
        f"no {split} data are held out: a share of {fraction:g} of each class's samples is less than one; "
        f"bring a channel named {split}, or raise {split}Fraction"
    )


def check_classes(labels: Tensor, *, where: str) -> None:
    """Raises DataError where fewer than two classes occur in `labels`."""
    if not len(labels) or labels.min() == labels.max():
        raise DataError(
            f"{where}: all {len(labels):,} samples are of one class; a classifier needs at least two. "
            "Check that the input names the whole data set"
        )
