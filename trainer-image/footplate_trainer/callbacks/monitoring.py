"""Callbacks that watch whether one of an epoch's values still gets better."""

import logging
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

from torch import Tensor

from footplate.api.errors import nearest
from footplate.api.reports import Ended
from footplate_trainer.callbacks.callback import Callback, Logs, ModelState
from footplate_trainer.callbacks.weights import copied, placed_as
from footplate_trainer.errors import ConfigError
from footplate_trainer.rank.context import context
from footplate_trainer.rank.report import reporter

log = logging.getLogger("footplate_trainer")

Mode = Literal["auto", "min", "max"]
GREATER_IS_BETTER = {"loss": False, "accuracy": True}
"""What `mode="auto"` knows, of values without their `val_`."""


class MonitorCallback(Callback):
    """Remembers the best value of an epoch so far.

    Args:
        monitor: the value's name in an epoch's logs.
        mode: whether less or more is better; auto knows that of the loss and of accuracy.
        min_delta: a change of no more than this is no improvement.

    Raises:
        ConfigError: the mode is unknown, or auto doesn't know the value.
    """

    def __init__(self, monitor: str = "val_loss", mode: Mode = "auto", *, min_delta: float = 0.0) -> None:
        name = type(self).__name__
        if mode not in get_args(Mode):
            raise ConfigError(f"{name}(mode={mode!r}): a mode is one of {', '.join(get_args(Mode))}")
        greater = GREATER_IS_BETTER.get(monitor.removeprefix("val_")) if mode == "auto" else mode == "max"
        if greater is None:
            raise ConfigError(
                f"{name}(monitor={monitor!r}): whether less or more of it is better isn't known; say mode='min' or "
                "mode='max'"
            )
        self.monitor = monitor
        self.min_delta = abs(min_delta)
        self._greater = greater
        self.best: float | None = None
        """None before the first epoch."""

    def value_in(self, logs: Logs | None) -> float | None:
        """The watched value; None, and a note, where the epoch has none."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            there = ", ".join(logs or {})
            near = nearest(self.monitor, [*(logs or {})])
            reporter().note(
                f"{type(self).__name__} does nothing: there is no {self.monitor!r} among {there}{near and f'; {near}'}"
            )
        return value

    def improves(self, value: float, reference: float | None) -> bool:
        """True where a value is better than another, or than nothing. What is no number never is."""
        if reference is None:
            return not math.isnan(value)
        return value - self.min_delta > reference if self._greater else value + self.min_delta < reference


class EarlyStopping(MonitorCallback):
    """Stops training once a value has got no better for `patience` epochs.

    Args:
        monitor, min_delta, mode: see `MonitorCallback`.
        patience: epochs without improvement after which training stops.
        verbose: 1 says in the log what is done.
        baseline: the epochs are counted from the last one that also was better than this.
        restore_best_weights: ends with the weights of the best epoch, which every checkpoint then holds as well. They
            are kept in host memory; of a model that is sharded each rank's shards, where they are.
        start_from_epoch: epochs before this one count for nothing.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: Mode = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._begin()

    def _begin(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_epoch = 0
        self.best_step = 0
        self.best_logs: dict[str, float] = {}
        self.best_weights: dict[str, Any] | None = None
        """Where they are to be restored; those that training began with until an epoch is done."""
        self._kept = False
        """True once an epoch is done."""

    @property
    def ended(self) -> Ended | None:
        """See `Callback.ended`."""
        return "earlyStopping" if self.stopped_epoch else None

    @property
    def restored(self) -> ModelState | None:
        """See `Callback.restored`."""
        if self.best_weights is None or not self.best_step:  # which earlier versions didn't save
            return None
        return ModelState(self.best_epoch, self.best_step, self.best_logs)

    def state_dict(self) -> dict[str, Any]:
        """The count, the best epoch with its values and, where they are to be restored, its weights, sharded where the
        model's are.
        """
        return {
            "wait": self.wait,
            "stopped_epoch": self.stopped_epoch,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_step": self.best_step,
            "best_logs": self.best_logs,
            "best_weights": self.best_weights,
            "kept": self._kept,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave. Collective where the weights are sharded."""
        self.wait = state["wait"]
        self.stopped_epoch = state["stopped_epoch"]
        self.best = state["best"]
        self.best_epoch = state["best_epoch"]
        saved = state["best_weights"]
        self._kept = state.get("kept", saved is not None)  # earlier versions had no weights before the first epoch
        self.best_step, self.best_logs = state.get("best_step", 0), dict(state.get("best_logs", {}))
        if self.best_weights is not None and saved is not None:
            self.best_weights = copied(
                {
                    name: placed_as(value, saved[name]) if isinstance(value, Tensor) else saved[name]
                    for name, value in self.best_weights.items()
                }
            )

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins anew, so that one callback can be used for several trainings."""
        self._begin()
        if self.restore_best_weights:
            # Before anything is restored: only what is there tells how a checkpoint's tensors are to be sharded.
            self.best_weights = copied(self.trainer.module.state_dict())

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Looks at the epoch's value."""
        value = self.value_in(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if not self._kept:
            self._keep(epoch, logs)
        self.wait += 1
        if self.improves(value, self.best):
            self.best = value
            self._keep(epoch, logs)
            if self.baseline is None or self.improves(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.trainer.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Puts the best epoch's weights in place."""
        if self.stopped_epoch:
            self._say(f"epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None and self._kept:
            self._say(f"the weights are those of the end of the best epoch, {self.best_epoch + 1}")
            self.trainer.module.load_state_dict(self.best_weights)

    def _keep(self, epoch: int, logs: Logs | None) -> None:
        self._kept = True
        self.best_epoch, self.best_step, self.best_logs = epoch, self.trainer.step, dict(logs or {})
        if self.restore_best_weights:
            self.best_weights = copied(self.trainer.module.state_dict())

    def _say(self, text: str) -> None:
        if self.verbose and context().is_main:
            log.info(text)
