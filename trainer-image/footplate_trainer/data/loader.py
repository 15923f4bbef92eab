"""Batches in an order that is a pure function of (seed, epoch, index), whatever the world size and the interruptions.

Position n of an epoch is the same sample on 1 rank or 1,000; batch k is a range of positions, of which each rank gets
a near-equal slice. So no sample is handed out twice, none is left out, and a loader that goes on from a position hands
out exactly what it would have without the interruption.

What a dataset draws at random while it makes a sample (augmentation with torch, random or numpy) is a function of
(seed, epoch, sample) too: the generators are seeded for each sample, and are put back after it, so that data workers
and the main process give the same, and training's own random numbers don't depend on the data.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import partial
from itertools import starmap
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.rank.context import context
from footplate_trainer.rank.seeds import derive_seed, random_state, seed_host, set_random_state

Collate = Callable[[list[Any]], Any]
Draw = tuple[int, Tensor]
"""An epoch, and the numbers of the samples that one batch is made of."""
Fetch = Callable[[Iterable[Draw]], Iterator[Any]]
"""Makes a batch of each draw, in order."""


def loader(
    dataset: Any,
    *,
    batch_size: int,
    shuffle: bool = True,
    epochs: int | None = None,
    num_workers: int = 0,
    drop_last: bool = False,
    seed: int | None = None,
    collate: Collate | None = None,
) -> "Loader":
    """Batches of a map-style dataset, sharded over the gang.

    Args:
        dataset: has `len()` and hands out sample i at `[i]`.
        batch_size: samples of all ranks together in one batch, so that results don't depend on the number of nodes;
            each rank gets its near-equal share of them.
        shuffle: another order in each epoch; else the dataset's own.
        epochs: epochs that one `for` goes through, counted from the first of the run; None: the rest of one epoch.
        num_workers: processes that make samples; 0: this one.
        drop_last: leaves out what doesn't fill a batch. Otherwise the last two batches share what is left evenly.
        seed: of the order and of the augmentation; default `context().seed`.
        collate: makes a batch of a list of samples; default torch's.

    Raises:
        ConfigError: a batch is too small for the number of ranks, or the dataset has no length.
        DataError: the dataset has too few samples.
    """
    place = context()
    if not isinstance(dataset, Sized):
        raise ConfigError(
            f"data.loader: {type(dataset).__name__} has no len(); resuming in mid-epoch needs a map-style dataset"
        )
    split = Split(len(dataset), batch_size, drop_last=drop_last)
    split.check(world_size=place.world_size, training=shuffle)
    order = Order(len(dataset), place.seed if seed is None else seed, shuffle=shuffle)
    fetch: Fetch
    if type(dataset) is TensorDataset and not num_workers and collate is None:
        fetch = SliceTensors(dataset.tensors)
    else:
        pin_memory = place.device.type == "cuda"
        fetch = FetchSamples(dataset, order.seed, num_workers=num_workers, collate=collate, pin_memory=pin_memory)
    return Loader(split, order, fetch, epochs=epochs, rank=place.rank, world_size=place.world_size)


class Loader:
    """Hands out this rank's share of each batch. See `loader`."""

    def __init__(
        self, split: "Split", order: "Order", fetch: Fetch, *, epochs: int | None, rank: int, world_size: int
    ) -> None:
        self.epoch = 0
        """0-based: the epoch of the batch in hand; after the loop, the next one."""
        self.index = 0
        """Samples of this epoch that all ranks together have been handed."""
        self.epochs = epochs
        self.samples_handed = 0
        """Samples that all ranks together have been handed by this object."""
        self.samples_in_hand = 0
        """Samples of the batch in hand that are this rank's."""
        self._split = split
        self._order = order
        self._fetch = fetch
        self._rank = rank
        self._world_size = world_size

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self._split.batches

    @property
    def samples_done(self) -> int:
        """Samples that all ranks together have been handed in this run, its earlier attempts included."""
        return self.epoch * self._order.samples + self.index

    @property
    def samples_in_all(self) -> int | None:
        """Samples of all epochs; None where their number isn't known."""
        return None if self.epochs is None else self.epochs * self._order.samples

    @property
    def epoch_ended(self) -> bool:
        """True when the batch in hand is the epoch's last."""
        return next(self._split.bounds(self.index), None) is None

    def __iter__(self) -> Iterator[Any]:
        """Batches of the rest of this epoch or, with `epochs`, of all of them; from where the last loop or
        `load_state_dict` left.
        """
        last = self.epoch + 1 if self.epochs is None else self.epochs
        while self.epoch < last:
            yield from self._rest_of_epoch()
            self.epoch, self.index = self.epoch + 1, 0

    def beginning(self) -> "Loader":
        """A loader of the same data at its first epoch's beginning, which a `for` goes through once: an evaluation
        neither moves this one's position nor depends on it.
        """
        return Loader(self._split, self._order, self._fetch, epochs=None, rank=self._rank, world_size=self._world_size)

    def state_dict(self) -> dict[str, int]:
        """Position after the batch in hand.

        After an epoch's last batch that is the epoch's end, not the next one's beginning: a loader restored there ends
        the epoch without another batch, so that what follows the loop (an evaluation) is done again.
        """
        return {"epoch": self.epoch, "index": self.index, "samples": self._order.samples, "seed": self._order.seed}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Goes on from a position, whatever the world size and batch size that it was taken with.

        Raises:
            ConfigError: the position is in other data, or in another order of it.
        """
        for name, mine in (("samples", self._order.samples), ("seed", self._order.seed)):
            if state[name] != mine:
                raise ConfigError(
                    f"the checkpoint's loader had {name}={state[name]}, this one has {name}={mine}, so its position "
                    "means nothing here; use the same data and seed, or restore without loader="
                )
        self.epoch, self.index = state["epoch"], state["index"]

    def _rest_of_epoch(self) -> Iterator[Any]:
        order = self._order.of_epoch(self.epoch)
        bounds = [(start, end) for start, end in self._split.bounds(self.index) if len(self._share(start, end))]
        draws = ((self.epoch, order[share.start : share.stop]) for share in starmap(self._share, bounds))
        for batch, (start, end) in zip(self._fetch(draws), bounds, strict=True):
            self.index = end
            self.samples_handed += end - start
            self.samples_in_hand = len(self._share(start, end))
            yield batch

    def _share(self, start: int, end: int) -> range:
        """This rank's positions of a batch."""
        size, ranks = end - start, self._world_size
        return range(start + size * self._rank // ranks, start + size * (self._rank + 1) // ranks)


class Split:
    """How an epoch's positions are cut into batches. The rest of an epoch is cut the same way from each of its cuts,
    and from any position, so a batch size or world size may change in mid-epoch.
    """

    def __init__(self, samples: int, batch_size: int, *, drop_last: bool) -> None:
        if batch_size < 1:
            raise ConfigError(f"data.loader: batch_size={batch_size} must be at least 1")
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
    """Which sample lies at which position of an epoch."""

    def __init__(self, samples: int, seed: int, *, shuffle: bool) -> None:
        self.samples = samples
        self.seed = seed
        self._shuffle = shuffle

    def of_epoch(self, epoch: int) -> Tensor:
        """Numbers of the samples by position, int64 [samples]."""
        if not self._shuffle:
            return torch.arange(self.samples)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        return torch.randperm(self.samples, generator=generator)


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
        self._in_this_process = not num_workers
        self._idle: list[tuple[DataLoader[Any], Draws]] = []
        self._make_loader = partial(
            DataLoader,
            SeededDataset(dataset, seed),
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            collate_fn=collate,
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
            yield from self._batches(iter(loader))
        finally:
            self._idle.append((loader, sampler))

    def _batches(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            state = random_state() if self._in_this_process else None
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                if state is not None:
                    set_random_state(state)
            yield batch


class Draws:
    """What a DataLoader takes for its batch sampler."""

    draws: Iterable[Draw] = ()

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """(epoch, sample) of each sample of a batch."""
        for epoch, samples in self.draws:
            yield [(epoch, sample) for sample in samples.tolist()]


class SeededDataset(Dataset[Any]):
    """Makes a sample with random numbers that are its own: a function of seed, epoch and sample."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self._dataset = dataset
        self._seed = seed

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, sample = key
        seed_host(derive_seed(self._seed, "sample", epoch, sample))
        return self._dataset[sample]
