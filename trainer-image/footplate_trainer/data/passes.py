"""What a `data.Loader` goes through: data, pass by pass, each from any position, in batches that all ranks share."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from footplate_trainer.rank.seeds import random_state, set_random_state


class Handed(NamedTuple):
    """A batch of all ranks, as one of them sees it."""

    batch: Any
    """This rank's share, as collated: tensors [mine, ...]; None where it has none."""
    size: int
    """Samples of all ranks."""
    mine: int
    """Samples of this rank's share."""
    last: bool
    """Whether the pass ends with it."""
    state: Any = None
    """What the data want to be given to go on from here; None where the position is enough."""


class Passes(Protocol):
    """Data that can be gone through again and again, alike on all ranks."""

    samples: int | None
    """Of a pass; None where that isn't known."""
    seed: int
    """Of the order and the augmentation."""
    batches: int | None
    """Of a pass; None where that isn't known."""

    def rest(self, number: int, index: int, state: Any) -> Iterator[Handed]:
        """The batches of pass `number` that follow its first `index` samples. Draws nothing from training's own random
        numbers.
        """
        ...

    def beginning(self) -> "Passes":
        """The same data for an evaluation, which leaves nothing out and disturbs no pass that is under way."""
        ...

    def check_training(self) -> None:
        """Raises ConfigError where a rank might have no sample of a batch, while others train on theirs."""
        ...


def share_of(size: int, rank: int, world_size: int) -> range:
    """Which of a batch's samples are a rank's: near-equal shares, in order."""
    return range(size * rank // world_size, size * (rank + 1) // world_size)


def undisturbed(batches: Iterator[Any]) -> Iterator[Any]:
    """What an iterator makes in this process, without an effect on training's random numbers."""
    while True:
        state = random_state()
        try:
            batch = next(batches)
        except StopIteration:
            return
        finally:
            set_random_state(state)
        yield batch
