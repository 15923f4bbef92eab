"""The callbacks that a recipe's hyperparameters ask for, and what must be there for them."""

import math
from typing import Any

from footplate.api.hyperparameters import HELD_OUT, Hyperparameters
from footplate.api.recipes import PATH
from footplate_trainer.callbacks import Callback, EarlyStopping, ReduceLROnPlateau, SwapEMAWeights
from footplate_trainer.errors import ConfigError, UserError


def check_held_out(hyperparameters: Hyperparameters, validation: Any, *, divided: bool) -> None:
    """Raises ConfigError where a value of validation data is watched, and there are none; `divided` says that
    spec.data.split has made the parts.
    """
    if not validation and (watching := hyperparameters.monitors_held_out()):
        way_out = (
            "give data.split a part validation"
            if divided
            else "add an input channel named validation, raise validationFraction"
        )
        raise ConfigError(
            f"{PATH}.{watching[0]}: it watches a value of the validation data, and there are none; {way_out}, or watch "
            "one of the training data: monitor: loss"
        )


def make_callbacks(hyperparameters: Hyperparameters) -> list[Callback]:
    """The average comes first: it is then what the others see, and what is kept of the best epoch."""
    found: list[Callback] = []
    if (momentum := hyperparameters.ema_momentum) is not None:
        found.append(SwapEMAWeights(swap_on_epoch=True, ema_momentum=momentum))
    if (stopping := hyperparameters.early_stopping) is not None:
        found.append(MustBeFinite("earlyStopping", stopping.monitor))
        found.append(
            EarlyStopping(
                in_logs(stopping.monitor),
                min_delta=stopping.min_delta,
                patience=stopping.patience,
                verbose=1,
                mode=hyperparameters.mode_of(stopping),
                restore_best_weights=stopping.restore_best,
            )
        )
    if (plateau := hyperparameters.reduce_on_plateau) is not None:
        found.append(MustBeFinite("reduceOnPlateau", plateau.monitor))
        found.append(
            ReduceLROnPlateau(
                in_logs(plateau.monitor),
                factor=plateau.factor,
                patience=plateau.patience,
                verbose=1,
                mode=hyperparameters.mode_of(plateau),
                min_delta=plateau.min_delta,
                cooldown=plateau.cooldown,
                min_lr=plateau.min_lr,
            )
        )
    return found


def in_logs(monitor: str) -> str:
    """The name that a value of the job's metrics has in an epoch's logs: val_r2 for valR2, and r2 for r2."""
    name = monitor.removeprefix(HELD_OUT)
    return monitor if name == monitor else f"val_{name[0].lower()}{name[1:]}"


class MustBeFinite(Callback):
    """Ends training where a value that is watched is no number: Keras would take that for no improvement, and where
    none is a number the first for the best.

    Args:
        watching: the hyperparameter that watches it.
        monitor: its name there.
    """

    def __init__(self, watching: str, monitor: str) -> None:
        self._watching, self._monitor = watching, monitor

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Looks at it.

        Raises:
            UserError: it is NaN or infinite.
        """
        value = (logs or {})[in_logs(self._monitor)]
        if not math.isfinite(value):
            raise UserError(
                f"{PATH}.{self._watching}.monitor: {self._monitor} is {value} after epoch {epoch + 1}, and can't get "
                "better; try a smaller learningRate, and look for huge values in the data"
            )
