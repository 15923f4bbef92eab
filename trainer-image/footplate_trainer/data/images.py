"""Reads labelled images, as IDX files or as folders of pictures (`class/picture.png`), into memory.

A channel holds one split, or several whose names tell them apart, as MNIST's `train-…` and `t10k-…` files do.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from footplate_trainer.data.idx import find_idx_pairs, read_idx_pair
from footplate_trainer.data.inputs import SMALLEST_IMAGE
from footplate_trainer.data.pictures import KINDS, SUFFIXES, is_hidden, read_pictures
from footplate_trainer.data.splits import SPLIT_OF_NAME, TEST, TRAIN, VALIDATION, check_classes, hold_out
from footplate_trainer.errors import ConfigError, DataError

SPLIT_WORDS = frozenset(SPLIT_OF_NAME)
Note = Callable[[str], None]
"""Takes what a user should know of the data though nothing is wrong with them."""


@dataclass(frozen=True, slots=True)
class Images:
    """Labelled images: pixels uint8 [N, C, H, W], labels int64 [N], and where they come from, for messages."""

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    where: str

    def __len__(self) -> int:
        return len(self.labels)

    def pick(self, indices: Tensor) -> "Images":
        """The images at `indices` alone."""
        return replace(self, pixels=self.pixels[indices], labels=self.labels[indices])


class ImageSplits(NamedTuple):
    """All the data of a run; validation and test are None where nothing is held out."""

    train: Images
    validation: Images | None
    test: Images | None


def read_splits(
    inputs: Mapping[str, Path],
    *,
    image_size: int,
    class_names: Sequence[str] | None,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    note: Note,
) -> ImageSplits:
    """Reads every channel, and holds out of the training data what no channel brings.

    Raises:
        DataError: naming the file or folder, what is wrong with it, and the way out.
        ConfigError: where `class_names` don't fit the labels.
    """
    found = read_channel(inputs[TRAIN], split=TRAIN, image_size=image_size, note=note)
    for split in (VALIDATION, TEST):
        if split in inputs:
            channel = read_channel(inputs[split], split=split, image_size=image_size, note=note)
            found[split] = channel.get(split) or next(iter(channel.values()))
    if TRAIN not in found:
        raise DataError(f"{inputs[TRAIN]} holds {' and '.join(found)} data, but none named train; add them")
    train = found[TRAIN]
    _check_images(train)
    others = {split: _like(images, train) for split, images in found.items() if split != TRAIN}
    for split, fraction in ((TEST, test_fraction), (VALIDATION, validation_fraction)):
        if split not in others and fraction > 0:
            kept, held = hold_out(train.labels, fraction, seed=seed)
            if len(held):
                others[split], train = train.pick(held), train.pick(kept)
            else:
                note(
                    f"no {split} data are held out: a share of {fraction:g} of each class's samples is less than one; "
                    f"bring a channel named {split}, or raise {split}Fraction"
                )
    splits = ImageSplits(train, others.get(VALIDATION), others.get(TEST))
    return splits if class_names is None else _rename(splits, class_names)


def read_channel(folder: Path, *, split: str, image_size: int, note: Note) -> dict[str, Images]:
    """The splits that a channel's folder holds; where it doesn't tell them apart, all of it is `split`.

    Raises:
        DataError: as `read_splits`.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        raise DataError(f"input {split}: {folder} holds no files; check the input's uri, and that it ends in '/'")
    if pairs := find_idx_pairs(folder, default=split):
        return {name: _from_idx(*pair) for name, pair in pairs.items()}
    folders = _subfolders(folder)
    if not folders:
        raise DataError(
            f"input {split} holds neither IDX files (train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz) nor a "
            f"folder of {KINDS} files for each class; it holds {_some_names(folder)}; put such files there, or "
            "correct the input's uri"
        )
    if len(folders) > 1 and all(child.name.lower() in SPLIT_OF_NAME for child in folders):
        return {SPLIT_OF_NAME[child.name.lower()]: read_class_folders(child, image_size, note) for child in folders}
    splits = [child.name for child in folders if SPLIT_WORDS & set(re.split(r"[-_. ]", child.name.lower()))]
    if len(splits) > 1:
        raise DataError(
            f"{folder}: the folders {', '.join(splits)} are named as splits of the data, not as classes, among "
            f"{_some_names(folder)}; leave train/, val/ and test/ alone there, each with a folder for each class"
        )
    return {split: read_class_folders(folder, image_size, note)}


def _from_idx(images_path: Path, labels_path: Path) -> Images:
    pixels, labels = read_idx_pair(images_path, labels_path)
    present, places = torch.unique(labels, return_inverse=True)
    return Images(pixels, places, tuple(str(label) for label in present.tolist()), str(images_path))


def read_class_folders(folder: Path, image_size: int, note: Note) -> Images:
    """All images below `folder`, whose subfolders are the classes, resized to `image_size` × `image_size`.

    Grey only if every image is; else RGB.
    """
    folders = _subfolders(folder)
    files = [(path, label) for label, child in enumerate(folders) for path in _pictures(child)]
    arrays = read_pictures([path for path, _ in files], (image_size, image_size))
    if any(array.shape[0] == 3 for array in arrays):
        arrays = [np.broadcast_to(array, (3, *array.shape[1:])) for array in arrays]
    if not arrays:
        raise DataError(f"{folder} holds no class folders; put each class's images into a folder of its name")
    _note_others(folder, {path for path, _ in files}, note)
    labels = torch.tensor([label for _, label in files])
    return Images(torch.from_numpy(np.stack(arrays)), labels, tuple(child.name for child in folders), str(folder))


def _pictures(folder: Path) -> list[Path]:
    pictures = [path for path in _files(folder) if path.suffix.lower() in SUFFIXES]
    if not pictures:
        raise DataError(
            f"{folder}: the class {folder.name!r} has no {KINDS} files (the folder holds {_some_names(folder)}); "
            "add some, or remove the folder"
        )
    return pictures


def _note_others(folder: Path, read: set[Path], note: Note) -> None:
    others = [str(path.relative_to(folder)) for path in _files(folder) if path not in read]
    if others:
        more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
        note(
            f"{folder}: {len(others):,} files are left out, as they are no {KINDS} files in a class's folder: "
            f"{', '.join(others[:3])}{more}"
        )


def _files(folder: Path) -> list[Path]:
    """All files below the folder but hidden ones, in the order of their names."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(is_hidden(part) for part in path.relative_to(folder).parts)
    )


def _subfolders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not is_hidden(child.name))


def _some_names(folder: Path) -> str:
    names = sorted(child.name for child in folder.iterdir())
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "") or "nothing"


def _check_images(train: Images) -> None:
    check_classes(train.labels, where=train.where)
    height, width = train.pixels.shape[2:]
    if min(height, width) < SMALLEST_IMAGE:
        raise DataError(
            f"{train.where}: images of {width} × {height} pixels are too small; the least is {SMALLEST_IMAGE} × "
            f"{SMALLEST_IMAGE}"
        )


def _rename(splits: ImageSplits, names: Sequence[str]) -> ImageSplits:
    train = splits.train
    if len(names) != len(train.classes) or len(set(names)) != len(names):
        raise ConfigError(
            f"spec.trainer.hyperparameters.classes names {len(set(names))} different classes, but {train.where} has "
            f"{len(train.classes)}; give each class a name of its own, in the order of the labels"
        )
    named = {part: replace(images, classes=tuple(names)) for part, images in splits._asdict().items() if images}
    return splits._replace(**named)


def _like(images: Images, train: Images) -> Images:
    """`images` with the training data's classes and channels."""
    if images.pixels.shape[2:] != train.pixels.shape[2:]:
        sizes = [f"{pixels.shape[3]} × {pixels.shape[2]}" for pixels in (images.pixels, train.pixels)]
        raise DataError(f"{images.where} has images of {sizes[0]} pixels, but {train.where} of {sizes[1]}")
    return replace(
        images,
        pixels=with_channels(images.pixels, train.pixels.shape[1]),
        labels=_relabel(images, train),
        classes=train.classes,
    )


def with_channels(pixels: Tensor, channels: int) -> Tensor:
    """Pixels [N, 1 or 3, H, W] as grey (1) or RGB (3)."""
    if pixels.shape[1] == channels:
        return pixels
    if channels == 3:
        return pixels.expand(-1, 3, -1, -1)
    return pixels.float().mean(dim=1, keepdim=True).round().to(torch.uint8)


def _relabel(images: Images, train: Images) -> Tensor:
    """The labels of `images`, counted in the training data's classes."""
    unknown = sorted(set(images.classes) - set(train.classes))
    if unknown:
        raise DataError(
            f"{images.where} has classes that {train.where} lacks: {', '.join(unknown[:5])}; "
            "a model can't know what it was not trained on"
        )
    places = torch.tensor([train.classes.index(name) for name in images.classes])
    return places[images.labels]
