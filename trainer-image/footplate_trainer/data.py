"""Batches in an order that is a pure function of (seed, epoch, index), whatever the world size."""

from collections.abc import Callable, Iterator
from typing import Any


class Loader:
    """Hands out this rank's share of each batch. See `loader`."""

    epoch: int
    """0-based: the epoch of the batch in hand; after the loop, the next one."""
    index: int
    """Samples of this epoch that all ranks together have been handed."""
    batches: int
    """Batches of a whole epoch: also `len(loader)`."""

    def __iter__(self) -> Iterator[Any]:
        """The rest of this epoch (or with `epochs` of all of them), from where `load_state_dict` or the last loop left."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, int]:
        """Position after the batch in hand. At an epoch's last batch index is the number of samples: a loader restored
        there ends that epoch without another batch, so that whatever follows the loop (evaluation) is done again.
        """
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on from a position, whatever the world size that it was taken with."""
        raise NotImplementedError


def loader(
    dataset: Any,
    *,
    batch_size: int,
    shuffle: bool = True,
    epochs: int | None = None,
    num_workers: int = 0,
    drop_last: bool = False,
    seed: int | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
) -> Loader:
    """Batches of a map-style dataset, sharded over the gang.

    Args:
        batch_size: samples of all ranks together in one batch, so that results don't depend on the number of nodes;
            each rank gets its near-equal share of them.
        epochs: epochs that one `for` goes through; None: one.
        drop_last: leaves out what doesn't fill a batch. Otherwise the last two batches share what is left evenly.
        seed: default `context().seed`.
        collate: list of samples to a batch; default torch's.
    """
    raise NotImplementedError
