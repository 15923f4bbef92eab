"""Callbacks that set the learning rate."""

import inspect
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from footplate_trainer.callbacks.callback import Callback, Logs
from footplate_trainer.callbacks.monitoring import Mode, MonitorCallback
from footplate_trainer.errors import ConfigError, UserError
from footplate_trainer.rank.context import context

log = logging.getLogger("footplate_trainer")


class _SetsRates(Callback):
    """What callbacks that set the rates of an optimizer's parameter groups have in common."""

    def __init__(self, *, verbose: int) -> None:
        self.verbose = verbose

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Refuses what would undo each change at the next step."""
        if self.trainer.scheduler is not None:
            raise ConfigError(
                f"{type(self).__name__} and Trainer(scheduler=...) would both set the learning rate; use one of them"
            )

    @property
    def rates(self) -> list[float]:
        """Those of the parameter groups."""
        return [float(group["lr"]) for group in self.trainer.optimizer.param_groups]

    def set_rates(self, rates: list[float], *, epoch: int) -> None:
        """Sets those that are others now."""
        changed = rates != self.rates
        for group, rate in zip(self.trainer.optimizer.param_groups, rates, strict=True):
            if isinstance(group["lr"], Tensor):  # of an optimizer that is compiled, or captured in a graph
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        if changed and self.verbose and context().is_main:
            log.info("epoch %d: %s sets the learning rate to %s", epoch + 1, type(self).__name__, rates[0])


class LearningRateScheduler(_SetsRates):
    """Sets the learning rate before each epoch.

    Args:
        schedule: (epoch from 0, present rate) → rate, or (epoch) → rate; asked for each parameter group.
        verbose: 1 says each change in the log.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__(verbose=verbose)
        self.schedule = schedule
        self._takes_rate = _takes_two(schedule)
        self._epoch = -1

    def state_dict(self) -> dict[str, Any]:
        """The epoch whose rate is set: a schedule may change the present one, which must not happen twice."""
        return {"epoch": self._epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self._epoch = state["epoch"]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins anew."""
        super().on_train_begin(logs)
        self._epoch = -1

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Asks the schedule, unless this is the rest of an epoch for which it was asked."""
        if epoch != self._epoch:
            self._epoch = epoch
            self.set_rates([self._rate(epoch, rate) for rate in self.rates], epoch=epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Adds the rate to the logs."""
        if logs is not None:
            logs["learning_rate"] = self.rates[0]

    def _rate(self, epoch: int, rate: float) -> float:
        answer = self.schedule(epoch, rate) if self._takes_rate else self.schedule(epoch)
        try:
            number = float(answer)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or number < 0:
            raise UserError(
                f"LearningRateScheduler: the schedule gave {answer!r} for epoch {epoch}; it must return a learning "
                "rate, a number of at least 0"
            )
        return number


class ReduceLROnPlateau(_SetsRates, MonitorCallback):
    """Reduces the learning rate once a value has got no better for `patience` epochs.

    Args:
        monitor, mode, min_delta: see `MonitorCallback`.
        factor: of the new rate to the old one.
        patience: epochs without improvement after which the rate is reduced.
        verbose: 1 says each change in the log.
        cooldown: epochs after a reduction that count for nothing.
        min_lr: no rate is reduced below this.

    Raises:
        ConfigError: the factor isn't between 0 and 1.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: Mode = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        if not 0 <= factor < 1:
            raise ConfigError(f"ReduceLROnPlateau(factor={factor}): a factor is at least 0 and less than 1")
        MonitorCallback.__init__(self, monitor, mode, min_delta=min_delta)
        _SetsRates.__init__(self, verbose=verbose)
        self.factor = factor
        self.patience = patience
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.wait = self.cooldown_counter = 0

    def state_dict(self) -> dict[str, Any]:
        """The counts and the best value; the rate is the optimizer's."""
        return {"wait": self.wait, "cooldown_counter": self.cooldown_counter, "best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.wait, self.cooldown_counter, self.best = state["wait"], state["cooldown_counter"], state["best"]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins anew, so that one callback can be used for several trainings."""
        super().on_train_begin(logs)
        self.wait = self.cooldown_counter = 0
        self.best = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Adds the rate to the logs, and looks at the epoch's value."""
        if logs is not None:
            logs["learning_rate"] = self.rates[0]
        value = self.value_in(logs)
        if value is None:
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improves(value, self.best):
            self.best = value
            self.wait = 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience and any(rate > self.min_lr for rate in self.rates):
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        reduced = [max(rate * self.factor, self.min_lr) if rate > self.min_lr else rate for rate in self.rates]
        self.set_rates(reduced, epoch=epoch)
        self.cooldown_counter = self.cooldown
        self.wait = 0


def _takes_two(schedule: Callable[..., float]) -> bool:
    try:
        inspect.signature(schedule).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:  # one written in C tells nothing
        return True
    return True
