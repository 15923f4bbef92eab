"""What a callback is, and how `Trainer` calls and remembers several."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn, Protocol

import torch
from torch import nn

from footplate.api.reports import Ended
from footplate_trainer.errors import ConfigError

Logs = Mapping[str, float]
"""Values by name, such as loss, accuracy, val_loss and val_accuracy. Reading one after a batch waits for the device."""


class ModelState(NamedTuple):
    """An epoch at whose end the weights were as they are in the model."""

    epoch: int
    """Counts from 0."""
    step: int
    """Optimizer steps until then."""
    logs: Logs


class Caller(Protocol):
    """What a callback sees of the `Trainer` that calls it: see there."""

    device: torch.device
    module: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler | None
    stop_training: bool

    @property
    def step(self) -> int:
        """Optimizer steps of `fit` that are finished, those of earlier attempts included."""
        ...

    def evaluate(self, data: Iterable[Any], *, callbacks: Sequence["Callback"] = ()) -> dict[str, float]:
        """Loss and metrics over all data. Collective."""
        ...

    def predict(self, data: Iterable[Any], *, callbacks: Sequence["Callback"] = ()) -> Any:
        """Outputs for all data, a row a sample. Collective."""
        ...


_ELSEWHERE = {
    "model": "; self.trainer.module is the model, self.trainer.stop_training = True ends fit",
    "params": "; self.trainer has what there is: module, optimizer, scheduler and device",
    "pl_module": "; self.trainer.module is the model",
    "trainer": "; it is set when fit, evaluate or predict begins",
}


class Callback:
    """Override what you need; everything else does nothing.

    A callback that remembers something from one call to the next must save it, or it begins anew where training is
    resumed: override `state_dict` and `load_state_dict`.
    """

    trainer: Caller
    """Set before `on_train_begin`, and before evaluation or prediction."""
    ends_on_nan = False
    """True of a callback that decides what a loss that is no number means, in place of `fit`."""

    def __getattr__(self, name: str) -> NoReturn:
        """Of what isn't there; a name of Keras' or Lightning's is answered with the one that it has here."""
        hint = _ELSEWHERE.get(name, "")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)

    @property
    def ended(self) -> Ended | None:
        """Why this callback has ended training, where it did and that has a name."""
        return None

    @property
    def restored(self) -> ModelState | None:
        """Which state of the training it puts into the model at the end; None where it leaves the last one."""
        return None

    def check_beside(self, others: Sequence["Callback"]) -> None:
        """Refuses to work among others, itself one of them, that are called in this order.

        Raises:
            ConfigError: what would come of it is never meant.
        """

    def set_trainer(self, trainer: Caller) -> None:
        """Keras' `set_model`."""
        self.trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        """What is saved in every checkpoint: tensors, numbers, text, lists, tuples and dicts. Every rank is asked for
        it; rank 0's is saved.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave. Called after `on_train_begin`, and only where something was saved."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before a checkpoint is restored: what this sets up is what a resumed training goes on from, not instead."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch, with its logs."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before an epoch's first batch, or its rest's where training was resumed in mid-epoch. Counts from 0."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """After an epoch and its validation, whose values begin with `val_`. What is added to the logs, later callbacks
        and the history see too.
        """

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


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


class History(Callback):
    """Each epoch's logs. `fit` returns one; it is part of every checkpoint, so a resumed run's is complete."""

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Appends the epoch's logs."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class CallbackList:
    """Several callbacks, called in order, and the decision to stop that is theirs.

    Raises:
        ConfigError: one is no callback, or has a method that nobody would call.
    """

    def __init__(self, callbacks: Sequence[Callback], trainer: Caller, *own: Callback) -> None:
        _check(callbacks)
        self._callbacks = (*callbacks, *own)
        self._trainer = trainer
        for callback in self._callbacks:
            callback.check_beside(self._callbacks)
            callback.set_trainer(trainer)

    @property
    def end_on_nan(self) -> bool:
        """True where one of them decides what a loss that is no number means."""
        return any(callback.ends_on_nan for callback in self._callbacks)

    @property
    def ended(self) -> Ended:
        """Why training has ended."""
        named = next((callback.ended for callback in self._callbacks if callback.ended), None)
        return named or ("callback" if self._trainer.stop_training else "epochs")

    @property
    def restored(self) -> ModelState | None:
        """Which state of the training is in the model at the end; None where it is the last one."""
        return next((callback.restored for callback in reversed(self._callbacks) if callback.restored), None)

    def call(self, hook: str, *args: object) -> None:
        """Calls the method named `hook` of each."""
        for callback in self._callbacks:
            getattr(callback, hook)(*args)

    def state_dict(self) -> dict[str, Any]:
        """The states of those that have one, and whether one has decided to stop."""
        states = {name: state for name, callback in self._named().items() if (state := callback.state_dict())}
        return {"stop_training": self._trainer.stop_training, "states": states}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave; a callback that wasn't there then begins anew."""
        self._trainer.stop_training = state["stop_training"]
        for name, callback in self._named().items():
            if name in state["states"]:
                callback.load_state_dict(state["states"][name])

    def _named(self) -> dict[str, Callback]:
        """By class and, among those of one class, by order: others may come and go between two attempts."""
        named: dict[str, Callback] = {}
        for callback in self._callbacks:
            kind = type(callback).__name__
            number = sum(type(other).__name__ == kind for other in named.values())
            named[f"{kind}-{number}"] = callback
        return named


def _check(callbacks: Any) -> None:
    if not isinstance(callbacks, list | tuple):
        raise ConfigError(f"callbacks={callbacks!r}: a list is meant, also of one or none, as in [EarlyStopping()]")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            rest = ", made by calling it" if isinstance(callback, type) else ""
            raise ConfigError(
                f"callbacks: {callback!r} is no footplate_trainer.callbacks.Callback; derive a class from it, or give "
                f"functions to LambdaCallback(on_epoch_end=…), and give an object of it{rest}"
            )
        for name in dir(type(callback)):
            if name.startswith("on_") and name not in HOOKS and callable(getattr(callback, name)):
                near = get_close_matches(name, HOOKS, n=2)
                rest = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(HOOKS)}."
                raise ConfigError(
                    f"{type(callback).__name__}.{name} is never called: there is no such point; {rest} A method for "
                    "your own use needs a name that doesn't begin with on_"
                )
