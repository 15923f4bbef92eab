"""`loader`, and where training is in its data: in epochs, passes, batches and samples, saved in every checkpoint."""

import operator
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

from torch import Tensor
from torch.utils.data import IterableDataset, TensorDataset

from footplate_trainer.data.indexed import Batching, Collate, Fetch, FetchSamples, IndexedData, Order, SliceTensors
from footplate_trainer.data.passes import Handed, Passes
from footplate_trainer.data.streams import StreamData
from footplate_trainer.errors import ConfigError
from footplate_trainer.rank.context import context
from footplate_trainer.rank.report import reporter


class Loader:
    """Hands out this rank's share of each batch. See `data.loader`."""

    def __init__(self, data: Passes, *, epochs: int | None) -> None:
        self.epoch = 0
        """0-based: the epoch of the batch in hand; after the loop, the next one."""
        self.index = 0
        """Samples of this pass over the data that all ranks together have been handed."""
        self.batch = 0
        """Batches of this epoch that all ranks together have been handed."""
        self.epochs = epochs
        self.steps_per_epoch: int | None = None
        """Batches of an epoch, which then begins where the one before has ended; None: an epoch is a pass."""
        self.samples_handed = 0
        """Samples that all ranks together have been handed by this object."""
        self.samples_in_hand = 0
        """Samples of the batch in hand that are this rank's."""
        self.samples_done = 0
        """Samples that all ranks together have been handed in this run, its earlier attempts included."""
        self._data = data
        self._passes = 0
        self._pass_ended = False
        self._state: Any = None
        """What the data need beside the position."""
        self._under_way: Iterator[Handed] | None = None
        self._stands_at = (0, 0)

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        if self.batches is None:
            raise TypeError("the number of batches of a stream isn't known; give fit steps_per_epoch, or go without")
        return self.batches

    @property
    def batches(self) -> int | None:
        """Batches of a whole epoch; None where that isn't known."""
        return self.steps_per_epoch or self._data.batches

    @property
    def samples(self) -> int | None:
        """Samples of a pass over the data; None where that isn't known."""
        return self._data.samples

    @property
    def samples_in_all(self) -> int | None:
        """Samples of all epochs; None where their number isn't known."""
        if self.epochs is None or self.steps_per_epoch or self._data.samples is None:
            return None
        return self.epochs * self._data.samples

    @property
    def epoch_ended(self) -> bool:
        """True when the batch in hand is the epoch's last."""
        return self._pass_ended if self.steps_per_epoch is None else self.batch >= self.steps_per_epoch

    def __iter__(self) -> Iterator[Any]:
        """Batches of the rest of this epoch or, with `epochs`, of all of them; from where the last loop or
        `load_state_dict` left.
        """
        return (batch for batch in self.shares() if batch is not None)

    def shares(self) -> Iterator[Any]:
        """As a `for` over the loader, with None in place of a batch that is too small for this rank to have some."""
        last = self.epoch + 1 if self.epochs is None else self.epochs
        while self.epoch < last:
            yield from self._rest_of_epoch()
            self.epoch, self.batch = self.epoch + 1, 0
            if self.steps_per_epoch is None:
                self._next_pass()

    def start_at(self, epoch: int) -> None:
        """Goes on at the beginning of an epoch. With `steps_per_epoch` the data begin anew."""
        self.epoch, self.batch = epoch, 0
        self._next_pass()
        self._passes = epoch if self.steps_per_epoch is None else 0

    def beginning(self) -> "Loader":
        """A loader of the same data at its first epoch's beginning, which a `for` goes through once: an evaluation
        neither moves this one's position nor depends on it.
        """
        return Loader(self._data.beginning(), epochs=None)

    def check_training(self) -> None:
        """Raises ConfigError where a rank might have no sample of a batch, while others train on theirs."""
        self._data.check_training()

    def state_dict(self) -> dict[str, Any]:
        """Position after the batch in hand.

        After an epoch's last batch that is the epoch's end, not the next one's beginning: a loader restored there ends
        the epoch without another batch, so that what follows the loop (an evaluation) is done again.
        """
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "pass": self._passes,
            "index": self.index,
            "pass_ended": self._pass_ended,
            "samples_done": self.samples_done,
            "state": self._state,
            "samples": self._data.samples,
            "seed": self._data.seed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a position, whatever the world size and batch size that it was taken with.

        Raises:
            ConfigError: the position is in other data, or in another order of it.
        """
        for name, mine in (("samples", self._data.samples), ("seed", self._data.seed)):
            if state[name] != mine:
                raise ConfigError(
                    f"the checkpoint's loader had {name}={state[name]}, this one has {name}={mine}, so its position "
                    "means nothing here; use the same data and seed, or restore without loader="
                )
        if "pass" not in state:  # of an earlier version
            done = state["epoch"] * state["samples"] + state["index"]
            ended = state["index"] == state["samples"]
            new = {"pass": state["epoch"], "pass_ended": ended, "batch": 0, "state": None, "samples_done": done}
            state = {**state, **new}
        self.epoch, self.batch, self.index = state["epoch"], state["batch"], state["index"]
        self._passes, self._pass_ended, self._state = state["pass"], state["pass_ended"], state["state"]
        self.samples_done = state["samples_done"]
        self._under_way = None

    def _rest_of_epoch(self) -> Iterator[Any]:
        while not self.epoch_ended:
            if self._pass_ended:
                self._next_pass()
            handed = self._next_batch()
            if handed is None:
                self._pass_ended = True
                continue
            self.batch += 1
            self.index += handed.size
            self._stands_at = (self._passes, self.index)
            self._pass_ended, self._state = handed.last, handed.state
            self.samples_handed += handed.size
            self.samples_done += handed.size
            self.samples_in_hand = handed.mine
            yield handed.batch

    def _next_batch(self) -> Handed | None:
        """From the pass that is under way or, where the position isn't its own, one that begins there."""
        if self._under_way is None or self._stands_at != (self._passes, self.index):
            self._under_way = self._data.rest(self._passes, self.index, self._state)
        began = time.monotonic()
        try:
            return next(self._under_way, None)
        except BaseException:
            self._under_way = None  # else it would seem to have ended here
            raise
        finally:
            reporter().waited_for_data(time.monotonic() - began)

    def _next_pass(self) -> None:
        self._passes, self.index, self._pass_ended, self._state = self._passes + 1, 0, False, None
        self._under_way = None


def loader(
    dataset: Any,
    *,
    batch_size: int,
    shuffle: bool | None = None,
    epochs: int | None = None,
    num_workers: int = 0,
    drop_last: bool = False,
    seed: int | None = None,
    collate: Collate | None = None,
    lengths: Tensor | None = None,
) -> Loader:
    """Batches of a dataset, sharded over the gang.

    Args:
        dataset: map-style, which has `len()` and hands out sample i at `[i]`; or a stream, which can only be gone
            through, alike on all ranks and each time anew, such as a torch IterableDataset: see `streams`.
        batch_size: samples of all ranks together in one batch, so that results don't depend on the number of nodes;
            each rank gets its near-equal share of them.
        shuffle: another order in each epoch, the default; else the dataset's own, which is a stream's only one.
        epochs: epochs that one `for` goes through, counted from the first of the run; None: the rest of one epoch.
        num_workers: processes that make samples; 0: this one.
        drop_last: leaves out what doesn't fill a batch. Otherwise the last two batches share what is left evenly; a
            stream's last one is as large as what is left, and left out if that isn't a sample for each rank.
        seed: of the order and of the augmentation; default `context().seed`.
        collate: makes a batch of a list of samples; default torch's, by which N samples that are (inputs [...],
            label) become [inputs [N, ...], labels [N]].
        lengths: of the samples of a dataset [samples], such as tokens: shuffled, those of like length come into one
            batch, so that little is padded. The order is then one of this batch size too.

    Raises:
        ConfigError: a batch is too small for the number of ranks, the dataset is neither, a stream is shuffled, or a
            number is none.
        DataError: the dataset has too few samples.
    """
    batch_size = _number("batch_size", batch_size, least=1)
    num_workers = _number("num_workers", num_workers, least=0)
    epochs = None if epochs is None else _number("epochs", epochs, least=1)
    ctx = context()
    seed = ctx.seed if seed is None else seed
    pin_memory = ctx.device.type == "cuda"
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
        if lengths is not None:
            raise ConfigError("data.loader(lengths): a stream's samples stay in its order; leave lengths out")
        if not isinstance(dataset, Iterable) or shuffle:
            raise ConfigError(
                f"data.loader: {type(dataset).__name__} has no samples by number (len() and [i]), "
                + (
                    "so shuffle=True can't be; shuffle in the stream itself"
                    if shuffle
                    else "and can't be gone through either"
                )
            )
        stream = StreamData(
            dataset,
            batch_size=batch_size,
            drop_last=drop_last,
            seed=seed,
            num_workers=num_workers,
            collate=collate,
            pin_memory=pin_memory,
            rank=ctx.rank,
            world_size=ctx.world_size,
        )
        return Loader(stream, epochs=epochs)
    _check_samples(dataset)
    shuffle = shuffle is not False
    batching = Batching(len(dataset), batch_size, drop_last=drop_last)
    batching.check(world_size=ctx.world_size, training=shuffle)
    order = Order(len(dataset), seed, shuffle=shuffle, lengths=lengths, together=batch_size)
    fetch: Fetch
    if type(dataset) is TensorDataset and not num_workers and collate is None:
        fetch = SliceTensors(dataset.tensors)
    else:
        fetch = FetchSamples(dataset, order.seed, num_workers=num_workers, collate=collate, pin_memory=pin_memory)
    return Loader(IndexedData(batching, order, fetch, rank=ctx.rank, world_size=ctx.world_size), epochs=epochs)


def _number(name: str, value: Any, *, least: int) -> int:
    """A whole number of any kind."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ConfigError(f"data.loader({name}={value!r}): it must be a whole number, at least {least}")
    return number


def _check_samples(dataset: Any) -> None:
    """Refuses what has a length, but not of samples by number."""
    kind = type(dataset).__name__
    if isinstance(dataset, Mapping):
        names = ", ".join(map(repr, list(dataset)[:4]))
        raise ConfigError(
            f"data.loader: a {kind} has names ({names}), not samples by number; give one of its splits, as in "
            "dataset['train'], or torch's TensorDataset of its tensors"
        )
    if isinstance(dataset, tuple) and all(hasattr(item, "shape") for item in dataset):
        raise ConfigError(
            f"data.loader: a tuple of {len(dataset)} arrays would be {len(dataset)} samples; for a row of each as a "
            "sample give torch.utils.data.TensorDataset(*tensors)"
        )
    if not hasattr(dataset, "__getitem__"):
        raise ConfigError(
            f"data.loader: a {kind} has no samples by number ([i]); give the dataset itself, which is a DataLoader's "
            "dataset, and batch_size, num_workers and collate here"
        )
