"""Batches in an order that is a pure function of (seed, epoch, index), whatever the world size and the interruptions.

Position n of an epoch is the same sample on 1 rank or 1,000; batch k is a range of positions, of which each rank gets
a near-equal slice. So no sample is handed out twice, none is left out, and a loader that goes on from a position hands
out exactly what it would have without the interruption.

What a dataset draws at random while it makes a sample (augmentation with torch, random or numpy) is a function of
(seed, epoch, sample) too (`samples`), so that data workers and the main process give the same, and training's own
random numbers don't depend on the data.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from footplate_trainer.data.passes import Handed, share_of
from footplate_trainer.data.samples import BatchMaker, Key
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.rank.seeds import derive_seed

Collate = Callable[[list[Any]], Any]
Draw = tuple[int, Tensor]
"""An epoch, and the numbers of the samples that one batch is made of."""
WINDOW = 64
"""Batches among whose samples those of like length are put together: more pad less, and mix less."""
Fetch = Callable[[Iterable[Draw]], Iterator[Any]]
"""Makes a batch of each draw, in order."""


class IndexedData:
    """A map-style dataset's samples, in an order for each pass, cut into batches."""

    def __init__(self, batching: "Batching", order: "Order", fetch: Fetch, *, rank: int, world_size: int) -> None:
        self.samples: int | None = order.samples
        self.seed = order.seed
        self.batches: int | None = batching.batches
        self._batching = batching
        self._order = order
        self._fetch = fetch
        self._rank = rank
        self._world_size = world_size

    def rest(self, number: int, index: int, _state: Any) -> Iterator[Handed]:
        """See `Passes`."""
        order = self._order.of_epoch(number)
        bounds = list(self._batching.bounds(index))
        shares = [share_of(end - start, self._rank, self._world_size) for start, end in bounds]
        draws = (
            (number, order[start + share.start : start + share.stop])
            for (start, _), share in zip(bounds, shares, strict=True)
            if share
        )
        batches = self._fetch(draws)
        for (start, end), share in zip(bounds, shares, strict=True):
            batch = next(batches) if share else None
            yield Handed(batch, end - start, len(share), last=end == bounds[-1][1])
        if next(batches, None) is not None:
            raise RuntimeError("more batches were made than drawn")

    def beginning(self) -> "IndexedData":
        """See `Passes`."""
        return self

    def check_training(self) -> None:
        """See `Passes`."""
        self._batching.check(world_size=self._world_size, training=True)


class Batching:
    """How an epoch's positions are cut into batches. The rest of an epoch is cut the same way from each of its cuts,
    and from any position, so a batch size or world size may change in mid-epoch.
    """

    def __init__(self, samples: int, batch_size: int, *, drop_last: bool) -> None:
        self._samples = samples
        self._batch_size = batch_size
        self._drop_last = drop_last
        self.batches = samples // batch_size if drop_last else -(-samples // batch_size)

    def bounds(self, position: int = 0) -> Iterator[tuple[int, int]]:
        """First position and end of each batch, from a position on. Two batches that one and a half must do for are
        of even size.
        """
        while size := self._size_of_next(self._samples - position):
            yield position, position + size
            position += size

    def _size_of_next(self, left: int) -> int:
        full = self._batch_size
        if self._drop_last:
            return full if left >= full else 0
        if left <= full:
            return left
        return full if left >= 2 * full else (left + 1) // 2

    def check(self, *, world_size: int, training: bool) -> None:
        """Refuses what would leave a rank without samples while others train."""
        last_two = self.bounds(max(0, self.batches - 2) * self._batch_size)
        smallest = min((end - start for start, end in last_two), default=0)
        if not smallest:
            raise DataError(
                f"data.loader: {self._samples} samples make no batch of {self._batch_size}; add data, or use a smaller "
                "batch_size or drop_last=False"
            )
        if training and smallest < world_size:
            raise ConfigError(
                f"data.loader: a batch of {smallest} samples is too small for {world_size} ranks ({self._samples} "
                f"samples, batch_size={self._batch_size} for all ranks together); use a batch_size of at least "
                f"{2 * world_size}, drop_last=True or fewer nodes"
            )


class Order:
    """Which sample lies at which position of an epoch.

    Args:
        lengths: of the samples [samples]. Where there are some and samples are shuffled, runs of `together` positions
            hold samples of like length: of `WINDOW` such runs that chance has put together, sorted.
    """

    def __init__(
        self, samples: int, seed: int, *, shuffle: bool, lengths: Tensor | None = None, together: int = 1
    ) -> None:
        if lengths is not None and len(lengths) != samples:
            raise ConfigError(
                f"data.loader(lengths) has {len(lengths)} values for {samples} samples; give one a sample"
            )
        self.samples = samples
        self.seed = seed
        self._shuffle = shuffle
        self._lengths = lengths
        self._together = together

    def of_epoch(self, epoch: int) -> Tensor:
        """Numbers of the samples by position, int64 [samples]."""
        if not self._shuffle:
            return torch.arange(self.samples)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        order = torch.randperm(self.samples, generator=generator)
        return order if self._lengths is None else self._sort(order, self._lengths, generator)

    def _sort(self, order: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
        runs: list[Tensor] = []
        for window in order.split(WINDOW * self._together):
            runs += window[lengths[window].argsort(stable=True)].split(self._together)
        # The last run may be shorter than the others: it stays the last, so that all begin where batches do.
        places = [*torch.randperm(len(runs) - 1, generator=generator).tolist(), len(runs) - 1]
        return torch.cat([runs[place] for place in places])


class SliceTensors:
    """Makes batches of tensors that lie in memory, at once instead of sample by sample."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._tensors = tuple(tensors)

    def __call__(self, draws: Iterable[Draw]) -> Iterator[list[Tensor]]:
        """A list of tensors [samples, ...] for each draw."""
        for _, samples in draws:
            yield [tensor[samples] for tensor in self._tensors]


class FetchSamples:
    """Makes batches of any dataset's samples, through torch's DataLoader. Its workers live as long as this object."""

    def __init__(self, dataset: Any, seed: int, *, num_workers: int, collate: Collate | None, pin_memory: bool) -> None:
        self._idle: list[tuple[DataLoader[Any], Draws]] = []
        self._make_loader = partial(
            DataLoader,
            Keys(),
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            collate_fn=BatchMaker(dataset, seed, collate or default_collate),
            pin_memory=pin_memory,
        )

    def __call__(self, draws: Iterable[Draw]) -> Iterator[Any]:
        """A collated batch for each draw. Training's own random numbers are as they were.

        Each call has a DataLoader to itself until it ends, so that one may begin in the middle of another.
        """
        if self._idle:
            loader, sampler = self._idle.pop()
        else:
            sampler = Draws()
            # A generator of its own: else each epoch draws from training's own random numbers.
            loader = self._make_loader(batch_sampler=sampler, generator=torch.Generator())
        sampler.draws = draws
        try:
            yield from loader
        finally:
            self._idle.append((loader, sampler))


class Draws:
    """What a DataLoader takes for its batch sampler."""

    draws: Iterable[Draw] = ()

    def __iter__(self) -> Iterator[list[Key]]:
        """(epoch, sample) of each sample of a batch."""
        for epoch, samples in self.draws:
            yield [(epoch, sample) for sample in samples.tolist()]


class Keys(Dataset[Any]):
    """What a DataLoader takes for its dataset: which samples a batch is made of, for `BatchMaker` to make."""

    def __getitem__(self, key: Key) -> Key:
        return key

    def __getitems__(self, keys: list[Key]) -> list[Key]:
        return keys
