"""Callbacks of `Trainer`, with Keras 3's names and meanings.

They run on every rank, at the same points. What a callback decides for the gang (`trainer.stop_training`) it must
decide alike on all of them: the logs that it gets at an epoch's end and after an evaluation are the same on every rank,
those after a batch are this rank's own.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from footplate_trainer.trainer import Trainer

Logs = Mapping[str, float]
"""Values by name, such as loss, accuracy, val_loss and val_accuracy. Reading one after a batch waits for the device."""


class Callback:
    """Override what you need; everything else does nothing."""

    trainer: "Trainer"
    """Set before `on_train_begin`, and before evaluation or prediction."""

    def set_trainer(self, trainer: "Trainer") -> None:
        """Keras' `set_model`."""
        self.trainer = trainer

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """After a checkpoint was restored, before the first batch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch, with its logs."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before an epoch's first batch, or its rest's where training was resumed in mid-epoch. Counts from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch and its validation, whose values begin with `val_`."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch. Counts from 0 in each epoch."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch's optimizer step, with the epoch's means so far."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before an evaluation, a validation included."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After an evaluation, with its result."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of an evaluation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before a prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of a prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of a prediction."""


class History(Callback):
    """Each epoch's logs. `fit` returns one; it is part of every checkpoint, so a resumed run's is complete."""

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Appends the epoch's logs."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class CallbackList:
    """Several callbacks, called in order."""

    def __init__(self, callbacks: Sequence[Callback], trainer: "Trainer") -> None:
        self._callbacks = callbacks
        for callback in callbacks:
            callback.set_trainer(trainer)

    def call(self, hook: str, *args: object) -> None:
        """Calls the method named `hook` of each."""
        for callback in self._callbacks:
            getattr(callback, hook)(*args)
