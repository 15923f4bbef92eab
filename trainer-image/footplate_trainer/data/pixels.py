"""Pictures as a data set: looked at once, each by one rank, and then decoded where and when a sample is made of them.

No rank holds them: what is decoded goes into a file that the ranks of a node and their data workers share, as far as
the disk has room for it; what is beyond that is decoded again each time.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from footplate_trainer.data.pictures import read_picture
from footplate_trainer.data.scratch import cache_bytes, ranks
from footplate_trainer.errors import DataError
from footplate_trainer.rank.report import reporter

SURVEYED_AT_ONCE = 256
LEVELS = np.arange(256, dtype=np.int64)


class PictureCache:
    """Decoded pictures [1 or 3, side, side] in a file, by their numbers. Any process may write any of them."""

    def __init__(self, path: Path, *, side: int, size_bytes: int | None = None) -> None:
        self._side = side
        self._record = 1 + 3 * side * side
        """Bytes of one: the number of its channels, which is written last, and its pixels."""
        self._room = (cache_bytes(path.parent) if size_bytes is None else size_bytes) // self._record
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __del__(self) -> None:
        with suppress(AttributeError):
            os.close(self._fd)

    def load(self, number: int) -> NDArray[np.uint8] | None:
        """The picture, where it was stored."""
        start = number * self._record
        written = os.pread(self._fd, 1, start) if number < self._room else b""
        if written not in (b"\1", b"\3"):
            return None
        shape = (written[0], self._side, self._side)
        pixels = bytearray(os.pread(self._fd, written[0] * self._side**2, start + 1))
        return np.frombuffer(pixels, np.uint8).reshape(shape)

    def store(self, number: int, picture: NDArray[np.uint8]) -> None:
        """Keeps the picture, unless there is no room for it."""
        start = number * self._record
        with suppress(OSError):  # a full disk only costs time
            if number < self._room and os.pwrite(self._fd, picture.tobytes(), start + 1) == picture.size:
                os.pwrite(self._fd, bytes([len(picture)]), start)


class LazyPixels:
    """Pixels uint8 [N, C, side, side] of picture files, that are read when they are asked for."""

    dtype = torch.uint8

    def __init__(self, paths: Sequence[str], numbers: Tensor, *, channels: int, side: int, cache: PictureCache) -> None:
        self._paths = paths
        self._numbers = numbers
        """Which of the paths they are, int64 [N]."""
        self._channels = channels
        self._side = side
        self._cache = cache

    @property
    def shape(self) -> torch.Size:
        """As a tensor's."""
        return torch.Size((len(self), self._channels, self._side, self._side))

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, which: "int | slice | Tensor") -> Tensor:
        """One [C, side, side], or several [n, C, side, side], as of a tensor."""
        if isinstance(which, int):
            return self._read(int(self._numbers[which]))
        return torch.stack([self._read(number) for number in self._numbers[which].tolist()])

    def pick(self, indices: Tensor, *, channels: int | None = None) -> "LazyPixels":
        """Those at `indices` [n], perhaps with other channels."""
        return LazyPixels(
            self._paths,
            self._numbers[indices],
            channels=channels or self._channels,
            side=self._side,
            cache=self._cache,
        )

    def _read(self, number: int) -> Tensor:
        picture = self._cache.load(number)
        if picture is None:
            picture = read_picture(Path(self._paths[number]), (self._side, self._side)).copy()
            self._cache.store(number, picture)
        return with_channels(torch.from_numpy(picture)[None], self._channels)[0]


def with_channels(pixels: Tensor, channels: int) -> Tensor:
    """Pixels [N, 1 or 3, H, W] as grey (1) or RGB (3)."""
    if pixels.shape[1] == channels:
        return pixels
    if channels == 3:
        return pixels.expand(-1, 3, -1, -1)
    return pixels.float().mean(dim=1, keepdim=True).round().to(torch.uint8)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a look at each of N pictures has shown. Of one that can't be read everything but the error is 0."""

    channels: Tensor
    """int64 [N]: 1 for grey, 3 for RGB, 0 where it can't be read."""
    moments: Tensor
    """int64 [N, 2, 3]: the sum of each channel's values, and of their squares."""
    digests: Tensor
    """int64 [N]: equal where pictures are."""
    errors: tuple[str, ...]


def survey_pictures(paths: Sequence[str], *, side: int, cache: PictureCache) -> Survey:
    """Decodes each picture once, on one of the ranks, and tells all ranks what it is like. Collective."""
    gang = ranks()
    mine = range(gang.rank, len(paths), gang.world_size)
    facts = np.zeros((len(mine), 8), np.int64)
    errors: dict[int, str] = {}

    def look_at(place: int) -> None:
        try:
            picture = read_picture(Path(paths[mine[place]]), (side, side))
        except DataError as error:
            errors[mine[place]] = str(error)
            return
        cache.store(mine[place], picture)
        facts[place] = _facts(picture)

    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        for start in range(0, len(mine), SURVEYED_AT_ONCE):
            list(pool.map(look_at, range(len(mine))[start : start + SURVEYED_AT_ONCE]))
            reporter().beat()
    together = torch.zeros((len(paths), 8), dtype=torch.int64)
    found: dict[int, str] = {}
    for rank, (facts_there, errors_there) in enumerate(gang.gather((facts, errors))):
        together[rank :: gang.world_size] = torch.from_numpy(facts_there)
        found |= errors_there
    return Survey(
        together[:, 0], together[:, 2:].reshape(-1, 2, 3), together[:, 1], tuple(found[each] for each in sorted(found))
    )


def _facts(picture: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Channels, digest, and the moments of three channels: those of grey count for each."""
    counts = [np.bincount(channel.ravel(), minlength=256) for channel in picture]
    sums, squares = ([int(count @ weights) for count in counts] for weights in (LEVELS, LEVELS**2))
    digest = int.from_bytes(blake2b(picture.tobytes(), digest_size=8).digest(), signed=True)
    return np.array([len(picture), digest, *np.resize(sums, 3), *np.resize(squares, 3)], np.int64)
