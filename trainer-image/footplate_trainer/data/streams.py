"""Streams (datasets that can only be gone through), in batches that all ranks share, with an exact position.

Every rank, and every data worker of it, goes through the same stream, and makes of it what is its own: batch k is made
by worker k modulo their number, which collates this rank's share of its samples. So order, batches and position depend
neither on the number of ranks nor on that of workers. To go on from a position, a stream that has `state_dict` and
`load_state_dict` is given back what it has said at the end of the last batch; any other is gone through from its
beginning, and what was handed out before is skipped.

What a stream draws at random while it makes a sample is a function of (seed, pass, number of the sample), as in `data`.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, default_collate, get_worker_info
from torch.utils.data._utils import worker as data_worker

from footplate_trainer.data.passes import Handed, share_of, undisturbed
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.rank.report import reporter
from footplate_trainer.rank.seeds import derive_seed, seed_host


class StreamData:
    """A stream that a `data.Loader` goes through. See `Passes`, and `data.loader` for what the arguments mean.

    Raises:
        ConfigError: it can be gone through only once, or a batch has no samples.
    """

    samples: int | None = None
    batches: int | None = None

    def __init__(
        self,
        stream: Any,
        *,
        batch_size: int,
        drop_last: bool,
        seed: int,
        num_workers: int,
        collate: Callable[[list[Any]], Any] | None,
        pin_memory: bool,
        rank: int,
        world_size: int,
    ) -> None:
        if isinstance(stream, Iterator):
            raise ConfigError(
                f"data.loader: a {type(stream).__name__} can be gone through only once, so no position in it can be "
                "found again; give an object whose __iter__ begins anew, such as a torch IterableDataset"
            )
        self.seed = seed
        self._stream = stream
        self._batch_size = batch_size
        self._rank, self._world_size = rank, world_size
        self._collate = collate or default_collate
        self._num_workers = num_workers
        self._pin_memory = pin_memory
        self._first_state = copy.deepcopy(stream.state_dict()) if _has_state(stream) else None
        """What the stream says before it is gone through: it then begins anew, whatever it was used for before."""
        self._under_way = False
        self._drop_last = drop_last
        self._least = batch_size if drop_last else world_size
        """Samples of the smallest batch that is handed out."""

    def rest(self, number: int, index: int, state: Any) -> Iterator[Handed]:
        """See `Passes`.

        Raises:
            DataError: the stream gave too few samples for a batch, or none where it has been before.
        """
        batches = StreamBatches(
            self._stream,
            batch_size=self._batch_size,
            least=self._least,
            seed=self.seed,
            rank=self._rank,
            world_size=self._world_size,
            collate=self._collate,
            place=(number, index, state if number or index else self._first_state),
        )
        self._under_way = True
        loader: DataLoader[Any] = DataLoader(
            batches,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self._num_workers,
            pin_memory=self._pin_memory,
            generator=torch.Generator(),  # else it draws from training's own random numbers
        )
        handed = iter(loader) if self._num_workers else undisturbed(iter(loader))
        empty = not index
        for batch, left_out in handed:
            empty = False
            if left_out and not self._drop_last:
                reporter().note(
                    f"a stream's last {left_out} samples of pass {number + 1} are left out: they are fewer than the "
                    f"{self._world_size} ranks, each of which needs one"
                )
            yield batch
        if empty:
            raise DataError(
                f"data.loader: the stream gave no batch of at least {self._least} samples in pass {number + 1}; look "
                "at its source, and whether its __iter__ begins anew each time"
            )

    def beginning(self) -> "StreamData":
        """See `Passes`."""
        whole = copy.copy(self)
        whole._under_way = False
        whole._least = self._least if self._drop_last else 1
        if self._under_way and _has_state(self._stream):
            try:
                whole._stream = copy.deepcopy(self._stream)
            except Exception as error:  # whatever a user's own parts raise
                raise ConfigError(
                    f"an evaluation of the {type(self._stream).__name__} that is trained on needs a copy of it, since "
                    f"it has a state of its own, and copy.deepcopy failed ({type(error).__name__}: {error}); give the "
                    "validation a dataset and loader of its own"
                ) from error
        return whole

    def check_training(self) -> None:
        """See `Passes`."""
        if self._batch_size < self._world_size:
            raise ConfigError(
                f"data.loader: batch_size={self._batch_size}, for all ranks together, is too small for "
                f"{self._world_size} ranks, each of which needs a sample; use a larger one or fewer nodes"
            )


class StreamBatches(IterableDataset[tuple[Handed, int]]):
    """The batches of a pass that follow a position; in a data worker those that are its own. With each, how many
    samples after it are left out.
    """

    def __init__(
        self,
        stream: Any,
        *,
        batch_size: int,
        least: int,
        seed: int,
        rank: int,
        world_size: int,
        collate: Callable[[list[Any]], Any],
        place: tuple[int, int, Any],
    ) -> None:
        self._stream = stream
        self._batch_size = batch_size
        self._least = least
        self._seed = seed
        self._rank, self._world_size = rank, world_size
        self._collate = collate
        self._pass, self._index, self._state = place

    def __iter__(self) -> Iterator[tuple[Handed, int]]:
        """The next batch is read before each is handed out, so that the last one is known to be it."""
        worker = get_worker_info()
        workers, turn = (worker.num_workers, worker.id) if worker else (1, 0)
        samples = self._samples()
        batch = list(islice(samples, self._batch_size))
        for number in count():
            if len(batch) < self._least:
                return
            mine = number % workers == turn
            state = copy.deepcopy(self._stream.state_dict()) if mine and _has_state(self._stream) else None
            following = list(islice(samples, self._batch_size))
            if mine:
                last = len(following) < self._least
                yield self._handed(batch, state, last=last), len(following) if last else 0
            batch = following

    def _handed(self, batch: list[Any], state: Any, *, last: bool) -> Handed:
        share = share_of(len(batch), self._rank, self._world_size)
        collated = self._collate(batch[share.start : share.stop]) if share else None
        return Handed(collated, len(batch), len(share), last, state)

    def _samples(self) -> Iterator[Any]:
        """The samples from the position on."""
        seed_host(derive_seed(self._seed, "pass", self._pass))
        with _alone():
            if hasattr(self._stream, "set_epoch"):
                self._stream.set_epoch(self._pass)
            if self._state is not None:
                self._stream.load_state_dict(self._state)
            source = iter(self._stream)
        for number in count(0 if self._state is None else self._index):
            seed_host(derive_seed(self._seed, "sample", self._pass, number))
            with _alone():
                try:
                    sample = next(source)
                except StopIteration:
                    break
            if number >= self._index:
                yield sample
        if number < self._index:
            raise DataError(
                f"data.loader: training was at sample {self._index} of the stream's pass {self._pass + 1}, which now "
                f"has only {number}; use the same data"
            )


@contextmanager
def _alone() -> Iterator[None]:
    """The user's stream doesn't see that it is in a data worker: else it would hand out a part of its own choice, of
    which this worker would take another part.
    """
    info, data_worker._worker_info = data_worker._worker_info, None
    try:
        yield
    finally:
        data_worker._worker_info = info


def _has_state(stream: Any) -> bool:
    return hasattr(stream, "state_dict") and hasattr(stream, "load_state_dict")


def _as_it_is(value: Any) -> Any:
    return value
