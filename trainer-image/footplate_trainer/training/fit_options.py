"""What `Trainer.fit` may be told about epochs, with Keras 3's names and meanings; checked before there is training."""

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

from footplate_trainer.data.loader import Loader
from footplate_trainer.errors import ConfigError
from footplate_trainer.rank.context import context


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """See `Trainer.fit`.

    Raises:
        ConfigError: one of them is no such number, or they contradict each other.
    """

    epochs: int
    initial_epoch: int
    steps_per_epoch: int | None
    validation_steps: int | None
    validation_freq: int | Collection[int]

    def __post_init__(self) -> None:
        for option in fields(self):
            value, least = getattr(self, option.name), 0 if option.name == "initial_epoch" else 1
            if option.name == "validation_freq" and _is_collection(value):
                for epoch in value:
                    _check_number(f"{option.name}=[…], an epoch", epoch, least)
            elif value is not None or option.name not in ("steps_per_epoch", "validation_steps"):
                _check_number(option.name, value, least)
        if self.initial_epoch >= self.epochs:
            raise ConfigError(
                f"fit(epochs={self.epochs}, initial_epoch={self.initial_epoch}): epochs counts from 0, those before "
                "initial_epoch included, so nothing would be trained; for one more write "
                f"epochs={self.initial_epoch + 1}"
            )

    def begin(self, train: Any) -> Loader:
        """The loader, checked, and set to where training begins unless a checkpoint knows better.

        Raises:
            ConfigError: it isn't from `data.loader`, has epochs of its own, may leave a rank without samples, or has
                gone through all epochs.
        """
        if not isinstance(train, Loader):
            raise ConfigError(
                f"fit(train): a {type(train).__name__} has no position to resume at, and isn't shared among ranks; "
                "give footplate_trainer.data.loader(dataset, batch_size=…, shuffle=…, num_workers=…, collate=…), where "
                "dataset is what a DataLoader would take and batch_size counts the samples of all ranks together"
            )
        if train.epochs is not None:
            raise ConfigError(
                f"fit(train): the loader has epochs={train.epochs} of its own, so that each epoch of fit would go "
                f"through all of them; leave them out of data.loader and write fit(train, epochs={train.epochs})"
            )
        train.check_training()
        train.steps_per_epoch = self.steps_per_epoch
        if train.epoch < self.initial_epoch:
            train.start_at(self.initial_epoch)
        if train.epoch >= self.epochs and context().resumed_from is None:
            raise ConfigError(
                f"fit(epochs={self.epochs}): the loader has gone through {train.epoch} epochs already, and epochs "
                f"counts these too, so nothing would be trained; for {self.epochs} more write "
                f"fit(train, epochs={train.epoch + self.epochs}), to begin anew give a new loader"
            )
        return train

    def validates_after(self, epoch: int) -> bool:
        """Whether the model is evaluated after an epoch, which counts from 0; `validation_freq` counts from 1."""
        if isinstance(self.validation_freq, int):
            return (epoch + 1) % self.validation_freq == 0
        return epoch + 1 in self.validation_freq

    def total_steps(self, train: Loader) -> int | None:
        """Steps of all epochs; None where a stream's length isn't known."""
        return None if train.batches is None else (self.epochs - self.initial_epoch) * train.batches


def _check_number(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"fit({name}={value!r}): it must be a whole number, at least {least}")


def _is_collection(value: Any) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes)
