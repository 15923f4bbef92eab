"""A callback made of functions."""

from collections.abc import Callable
from typing import Any

from footplate_trainer.callbacks.callback import HOOKS, Callback
from footplate_trainer.errors import ConfigError


class LambdaCallback(Callback):
    """Calls functions at the points of the same names.

    Args:
        functions: by the name of a method of `Callback`. Those of epochs and batches are called with the number and the
            logs, the others with the logs.

    Raises:
        ConfigError: there is no such point, or what shall be called there can't be.
    """

    def __init__(self, **functions: Callable[..., Any] | None) -> None:
        for name, function in functions.items():
            if name not in HOOKS:
                raise ConfigError(f"LambdaCallback({name}=...): there is no such point; there are {', '.join(HOOKS)}")
            if function is not None:
                if not callable(function):
                    raise ConfigError(f"LambdaCallback({name}={function!r}): this must be a function")
                setattr(self, name, _with_logs(function, numbered="epoch" in name or "batch" in name))


def _with_logs(function: Callable[..., Any], *, numbered: bool) -> Callable[..., Any]:
    """The function as a hook, which may be called without logs."""
    if numbered:
        return lambda number, logs=None: function(number, logs)
    return lambda logs=None: function(logs)
