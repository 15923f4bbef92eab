"""Reads the IDX files of MNIST and its kin: a big-endian header (magic, sizes), then the bytes; optionally gzipped."""

import gzip
import math
import os
import re
import struct
import warnings
import zlib
from collections import defaultdict
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from footplate_trainer.data.pictures import is_hidden
from footplate_trainer.data.scratch import file_of, once_a_node
from footplate_trainer.data.splits import SPLIT_OF_NAME
from footplate_trainer.errors import DataError
from footplate_trainer.rank.report import reporter

IDX_NAME = re.compile(r"(?:(?P<part>.*?)[-_.])?(?P<what>images|labels)[-_.]idx[13]-ubyte(?:\.gz)?", re.IGNORECASE)
UNSIGNED_BYTE = 0x08
MAX_VALUES = 2**36
BLOCK_BYTES = 2**24


def find_idx_pairs(folder: Path, *, default: str) -> dict[str, tuple[Path, Path]]:
    """Pairs of (images, labels) files in a folder, by the split that their names' beginning stands for.

    Names that say nothing of a split, and a pair that is alone, are the `default` split's.

    Raises:
        DataError: where images come without labels, labels without images, or a split twice.
    """
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in sorted(folder.iterdir()):
        if not is_hidden(path.name) and (match := IDX_NAME.fullmatch(path.name)):
            part = (match["part"] or "").lower()
            files = found[SPLIT_OF_NAME.get(part, default)]
            if match["what"].lower() in files:
                raise DataError(
                    f"{path} and {files[match['what'].lower()].name} both hold the {match['what']} of one split; "
                    "leave one of them out of the input"
                )
            files[match["what"].lower()] = path
    for split, files in found.items():
        for what, other in (("images", "labels"), ("labels", "images")):
            if what not in files:
                raise DataError(
                    f"{files[other]}: the {other} of the {split} data have no {what} beside them; "
                    f"add the {what} file ({split}-{what}-idx{3 if what == 'images' else 1}-ubyte.gz)"
                )
    pairs = {split: (files["images"], files["labels"]) for split, files in found.items()}
    return {default: next(iter(pairs.values()))} if len(pairs) == 1 else pairs


def read_idx_pair(images_path: Path, labels_path: Path, *, shared: Path) -> tuple[Tensor, Tensor]:
    """Images, uint8 [N, 1, H, W], that lie in the file rather than in memory, and labels, int64 [N]. Collective.

    Args:
        shared: a folder that this node's ranks share; for what must be unpacked.

    Raises:
        DataError: naming the file, what is wrong with it, and the way out.
    """
    images = read_idx(images_path, dimensions=3, shared=shared)
    labels = read_idx(labels_path, dimensions=1, shared=shared)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images):,} images but {labels_path.name} {len(labels):,} labels; "
            "they must be of the same data set, one label an image"
        )
    if not len(images):
        raise DataError(f"{images_path} holds no images; check how it was written")
    return images.unsqueeze(1), labels.long()


def read_idx(path: Path, *, dimensions: int, shared: Path) -> Tensor:
    """The unsigned bytes of one file, as a uint8 tensor of its sizes. They are read from the file when they are needed.

    Raises:
        DataError: where the magic is another, or the file is longer or shorter than its header says.
    """
    plain = path if path.suffix.lower() != ".gz" else file_of(shared, path)
    if plain != path:
        once_a_node(lambda: _unpack(path, plain))
    with plain.open("rb") as file:
        sizes, start = _read_header(file, path, dimensions)
        return _map(file, path, sizes, start)


def _unpack(packed: Path, plain: Path) -> None:
    try:
        with gzip.open(packed) as source, plain.open("wb") as target:
            while block := source.read(BLOCK_BYTES):
                target.write(block)
                reporter().beat()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{packed} can't be read ({error}); upload it again") from None


def _read_header(file: BinaryIO, path: Path, dimensions: int) -> tuple[tuple[int, ...], int]:
    """The sizes that the header names, and where it ends."""
    header = file.read(4 + 4 * dimensions)
    expected = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if header[:4] != expected:
        raise DataError(
            f"{path} begins with {header[:4].hex() or 'nothing'}, but an IDX file of unsigned bytes with "
            f"{dimensions} dimension(s) begins with {expected.hex()}; check that it is the right file, "
            "and that its name ends in .gz only if it is gzipped"
        )
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"{path} ends within its header; upload it again")
    return struct.unpack(f">{dimensions}I", header[4:]), len(header)


def _map(file: BinaryIO, path: Path, sizes: tuple[int, ...], start: int) -> Tensor:
    count = math.prod(sizes)
    if count > MAX_VALUES:
        raise DataError(
            f"{path} says that it holds {count:,} values; the most is {MAX_VALUES:,}. Check how it was made"
        )
    there = os.fstat(file.fileno()).st_size - start
    if there != count:
        more = "more" if there > count else f"{there:,}"
        raise DataError(f"{path} should hold {count:,} values after its header, but holds {more}; upload it again")
    if not count:
        return torch.empty(sizes, dtype=torch.uint8)
    values = np.memmap(file, np.uint8, mode="r", offset=start, shape=sizes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that nobody may write to them: nobody does
        return torch.from_numpy(values)
