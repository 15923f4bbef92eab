"""Reads labelled images, as IDX files or as folders of pictures (`class/picture.png`), into memory.

A channel holds one split, or several whose names tell them apart, as MNIST's `train-…` and `t10k-…` files do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.networks import SMALLEST_IMAGE
from footplate_trainer.recipes.idx import find_idx_pairs, read_idx_pair
from footplate_trainer.recipes.image_folders import Note, find_classes, find_splits, some_names, subfolders, unwrap
from footplate_trainer.recipes.pictures import KINDS, read_pictures
from footplate_trainer.recipes.splits import TEST, TRAIN, VALIDATION, check_classes, hold_out


@dataclass(frozen=True, slots=True)
class Images:
    """Labelled images: pixels uint8 [N, C, H, W], labels int64 [N], and where they come from, for messages."""

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    where: str
    digests: Tensor | None = None
    """int64 [N]: equal where pictures are; None where they weren't compared."""

    def __len__(self) -> int:
        return len(self.labels)

    def pick(self, indices: Tensor) -> "Images":
        """The images at `indices` alone."""
        digests = None if self.digests is None else self.digests[indices]
        return replace(self, pixels=self.pixels[indices], labels=self.labels[indices], digests=digests)


class ImageSplits(NamedTuple):
    """All the data of a run; validation and test are None where nothing is held out."""

    train: Images
    validation: Images | None
    test: Images | None


def read_splits(
    inputs: Mapping[str, Path],
    *,
    image_size: int,
    max_corrupt: int = 0,
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
    found = read_channel(inputs[TRAIN], split=TRAIN, image_size=image_size, max_corrupt=max_corrupt, note=note)
    for split in (VALIDATION, TEST):
        if split in inputs:
            channel = read_channel(
                inputs[split], split=split, image_size=image_size, max_corrupt=max_corrupt, note=note
            )
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
    _note_copies(train, others, note)
    splits = ImageSplits(train, others.get(VALIDATION), others.get(TEST))
    return splits if class_names is None else _rename(splits, class_names)


def read_channel(folder: Path, *, split: str, image_size: int, max_corrupt: int, note: Note) -> dict[str, Images]:
    """The splits that a channel's folder holds; where it doesn't tell them apart, all of it is `split`.

    Raises:
        DataError: as `read_splits`.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        raise DataError(f"input {split}: {folder} holds no files; check the input's uri, and that it ends in '/'")
    folder = unwrap(folder)
    if pairs := find_idx_pairs(folder, default=split):
        return {name: _from_idx(*pair) for name, pair in pairs.items()}
    if not subfolders(folder):
        raise DataError(
            f"input {split} holds neither IDX files (train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz) nor a "
            f"folder of {KINDS} files for each class; it holds {some_names(folder)}; put such files there, or "
            "correct the input's uri"
        )
    return {
        name: read_class_folders(inside, image_size, max_corrupt=max_corrupt, note=note)
        for name, inside in find_splits(folder, channel=split, note=note).items()
    }


def _from_idx(images_path: Path, labels_path: Path) -> Images:
    pixels, labels = read_idx_pair(images_path, labels_path)
    present, places = torch.unique(labels, return_inverse=True)
    return Images(pixels, places, tuple(str(label) for label in present.tolist()), str(images_path))


def read_class_folders(folder: Path, image_size: int, *, max_corrupt: int, note: Note) -> Images:
    """All images below `folder`, whose subfolders are the classes, resized to `image_size` × `image_size`.

    Grey only if every image is; else RGB.
    """
    classes = find_classes(folder, note=note)
    files = [(path, label) for label, paths in enumerate(classes.values()) for path in paths]
    read = read_pictures([path for path, _ in files], (image_size, image_size), max_corrupt=max_corrupt, note=note)
    labels = torch.tensor([label for (_, label), array in zip(files, read, strict=True) if array is not None])
    arrays = [array for array in read if array is not None]
    for label, name in enumerate(classes):
        if not (labels == label).any():
            raise DataError(f"{folder}: none of the files of class {name!r} can be read; replace them")
    digests = torch.tensor([_digest(array) for array in arrays])
    if any(array.shape[0] == 3 for array in arrays):
        arrays = [np.broadcast_to(array, (3, *array.shape[1:])) for array in arrays]
    return Images(torch.from_numpy(np.stack(arrays)), labels, tuple(classes), str(folder), digests)


def _digest(array: NDArray[np.uint8]) -> int:
    digest = blake2b(array.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _note_copies(train: Images, others: Mapping[str, Images], note: Note) -> None:
    if train.digests is None:
        return
    for split, images in others.items():
        if images.digests is not None and (copies := int(torch.isin(images.digests, train.digests).sum())):
            note(
                f"{copies:,} of {len(images):,} {split} images are in the training data too: what is measured with "
                "them says nothing of new images"
            )


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
