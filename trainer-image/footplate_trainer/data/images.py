"""Reads labelled images, as IDX files or as folders of pictures (`class/picture.png`); their pixels stay in files.

A channel holds one split, or several whose names tell them apart, as MNIST's `train-…` and `t10k-…` files do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from footplate_trainer.data.idx import find_idx_pairs, read_idx_pair
from footplate_trainer.data.image_folders import (
    Note,
    find_classes,
    find_splits,
    innermost,
    is_picture,
    list_files,
    some_names,
    subfolders,
)
from footplate_trainer.data.inputs import SMALLEST_IMAGE
from footplate_trainer.data.pictures import KINDS, check_errors
from footplate_trainer.data.pixels import LazyPixels, PictureCache, survey_pictures, with_channels
from footplate_trainer.data.scratch import file_of, shared_folder
from footplate_trainer.data.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    check_classes,
    hold_out,
    say_not_held_out,
)
from footplate_trainer.data.table_folders import FEATHER, PARQUET
from footplate_trainer.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Images:
    """Labelled images: pixels uint8 [N, C, H, W], labels int64 [N], and where they come from, for messages."""

    pixels: Tensor | LazyPixels
    labels: Tensor
    classes: tuple[str, ...]
    where: str
    digests: Tensor | None = None
    """int64 [N]: equal where pictures are; None where they weren't compared."""
    moments: Tensor | None = None
    """int64 [N, 2, 3]: of each picture its channels' sums, and those of the squares; None where they weren't taken."""
    labelled: tuple[str, ...] | None = None
    """What the data call the classes, where these have other names."""

    def __len__(self) -> int:
        return len(self.labels)

    def pick(self, indices: Tensor) -> "Images":
        """The images at `indices` alone."""
        return replace(
            self,
            pixels=_pick(self.pixels, indices),
            labels=self.labels[indices],
            digests=None if self.digests is None else self.digests[indices],
            moments=None if self.moments is None else self.moments[indices],
        )


def _pick(pixels: Tensor | LazyPixels, indices: Tensor) -> Tensor | LazyPixels:
    return pixels[indices] if isinstance(pixels, Tensor) else pixels.pick(indices)


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
    """Reads every channel, and holds out of the training data what no channel brings. Collective.

    Raises:
        DataError: naming the file or folder, what is wrong with it, and the way out.
        ConfigError: where `class_names` don't fit the labels.
    """
    with shared_folder() as shared:
        read = partial(read_channel, image_size=image_size, shared=shared, max_corrupt=max_corrupt, note=note)
        found = read(inputs[TRAIN], split=TRAIN)
        for split in (VALIDATION, TEST):
            if split in inputs:
                channel = read(inputs[split], split=split)
                found[split] = channel.get(split) or next(iter(channel.values()))
    if TRAIN not in found:
        raise DataError(f"{inputs[TRAIN]} holds {' and '.join(found)} data, but none named train; add them")
    train = found[TRAIN]
    _check_images(train)
    others = {split: _like(images, train) for split, images in found.items() if split != TRAIN}
    for split, fraction in ((TEST, test_fraction), (VALIDATION, validation_fraction)):
        if split not in others and fraction > 0:
            held = hold_out(train.labels, fraction, seed=seed)
            if held.any():
                others[split], train = (train.pick(which.nonzero().flatten()) for which in (held, ~held))
            else:
                say_not_held_out(split, fraction, note)
    _note_copies(train, others, note)
    splits = ImageSplits(train, others.get(VALIDATION), others.get(TEST))
    return splits if class_names is None else _rename(splits, class_names)


def read_images(
    folder: Path,
    *,
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    labelled: tuple[str, ...] | None = None,
    max_corrupt: int,
    note: Note,
) -> Images:
    """All images of the channel `test`, as a model of images of this shape [C, H, W] and these classes takes them.
    `labelled` is what its training data call them, if not by these names. Collective.

    Raises:
        DataError: as `read_splits`, and where the images or a class are none of the model's.
    """
    with shared_folder() as shared:
        found = read_channel(folder, split=TEST, image_size=shape[2], shared=shared, max_corrupt=max_corrupt, note=note)
    images = found.get(TEST) or next(iter(found.values()))
    names = dict(zip(labelled or map(str, range(len(classes))), classes, strict=True))
    if not set(images.classes) <= set(classes) and set(images.classes) <= set(names):
        as_what = "those of the training data" if labelled else "numbers of the model's classes"
        note(f"{images.where}: its labels count as {as_what}")
        images = replace(images, classes=tuple(names[label] for label in images.classes))
    model = Images(torch.empty((0, *shape), dtype=torch.uint8), torch.empty(0, dtype=torch.int64), classes, "the model")
    return _like(images, model)


def as_model_takes(splits: ImageSplits, shape: tuple[int, int, int]) -> ImageSplits:
    """The same for a model of images of this shape [C, H, W].

    Raises:
        DataError: the images are of another size.
    """
    train = replace(splits.train, pixels=torch.empty((0, *shape), dtype=torch.uint8), where="the model")
    fitted = {part: _like(images, train) for part, images in splits._asdict().items() if images}
    return splits._replace(**fitted)


def read_channel(
    folder: Path, *, split: str, image_size: int, shared: Path, max_corrupt: int, note: Note
) -> dict[str, Images]:
    """The splits that a channel's folder holds; where it doesn't tell them apart, all of it is `split`.

    `shared` is a folder that this node's ranks share. Collective.

    Raises:
        DataError: as `read_splits`.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        raise DataError(f"input {split}: {folder} holds no files; check the input's uri, and that it ends in '/'")
    folder = innermost(folder)
    if pairs := find_idx_pairs(folder, default=split):
        return {name: _from_idx(*pair, shared=shared) for name, pair in pairs.items()}
    if tables := _tables_alone(folder):
        raise DataError(
            f"input {split} holds its pictures in tables, such as {tables[0].name}; write each as a file into a folder "
            "of its class, for example by row['image'].save(f'train/{label}/{number}.png')"
        )
    if not subfolders(folder):
        raise DataError(
            f"input {split} holds neither IDX files (train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz) nor a "
            f"folder of {KINDS} files for each class; it holds {some_names(folder)}; put such files there, or "
            "correct the input's uri"
        )
    return {
        name: read_class_folders(inside, image_size, shared=shared, max_corrupt=max_corrupt, note=note)
        for name, inside in find_splits(folder, channel=split, note=note).items()
    }


def _tables_alone(folder: Path) -> list[Path]:
    """The files of Parquet and Arrow that a folder without any picture holds."""
    files = list_files(folder)
    tables = [path for path in files if path.suffix.lower() in (*PARQUET, *FEATHER)]
    return tables if tables and not any(map(is_picture, files)) else []


def _from_idx(images_path: Path, labels_path: Path, *, shared: Path) -> Images:
    pixels, labels = read_idx_pair(images_path, labels_path, shared=shared)
    present, places = torch.unique(labels, return_inverse=True)
    return Images(pixels, places, tuple(str(label) for label in present.tolist()), str(images_path))


def read_class_folders(folder: Path, image_size: int, *, shared: Path, max_corrupt: int, note: Note) -> Images:
    """All images below `folder`, whose subfolders are the classes, resized to `image_size` × `image_size`.

    Grey only if every image is; else RGB.
    """
    classes = find_classes(folder, note=note)
    paths = [str(path) for inside in classes.values() for path in inside]
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(inside) for inside in classes.values()]))
    cache = PictureCache(file_of(shared, folder), side=image_size)
    survey = survey_pictures(paths, side=image_size, cache=cache)
    check_errors(survey.errors, len(paths), max_corrupt=max_corrupt, note=note)
    good = survey.channels.nonzero().flatten()
    for label, name in enumerate(classes):
        if not (labels[good] == label).any():
            raise DataError(f"{folder}: none of the files of class {name!r} can be read; replace them")
    channels = int(survey.channels.max())
    pixels = LazyPixels(paths, good, channels=channels, side=image_size, cache=cache)
    return Images(pixels, labels[good], tuple(classes), str(folder), survey.digests[good], survey.moments[good])


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
    renamed = partial(replace, classes=tuple(names), labelled=train.classes)
    return splits._replace(**{part: renamed(images) for part, images in splits._asdict().items() if images})


def _like(images: Images, train: Images) -> Images:
    """`images` with the training data's classes and channels."""
    if images.pixels.shape[2:] != train.pixels.shape[2:]:
        sizes = [f"{pixels.shape[3]} × {pixels.shape[2]}" for pixels in (images.pixels, train.pixels)]
        raise DataError(f"{images.where} has images of {sizes[0]} pixels, but {train.where} of {sizes[1]}")
    return replace(
        images,
        pixels=_with_channels(images.pixels, train.pixels.shape[1]),
        labels=_relabel(images, train),
        classes=train.classes,
    )


def _with_channels(pixels: Tensor | LazyPixels, channels: int) -> Tensor | LazyPixels:
    if isinstance(pixels, Tensor):
        return with_channels(pixels, channels)
    return pixels.pick(torch.arange(len(pixels)), channels=channels)


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
