"""What training code may use inside a Footplate job; outside one, everything here is a sensible no-op.

    from footplate_trainer import checkpoint, context, data, expect, prepare, report

Importing this package doesn't import torch: the supervisor, which never computes, starts in a fraction of a second.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.expecting import expect
from footplate_trainer.rank.report import enter, report

if TYPE_CHECKING:
    from footplate_trainer import callbacks, checkpoint, data, metrics
    from footplate_trainer.evaluation.evaluate import evaluate
    from footplate_trainer.models.export import export_model
    from footplate_trainer.models.loading import load_model
    from footplate_trainer.rank.context import context
    from footplate_trainer.training.prepare import prepare
    from footplate_trainer.training.trainer import Trainer

__all__ = [
    "Context",
    "Trainer",
    "callbacks",
    "checkpoint",
    "context",
    "data",
    "enter",
    "evaluate",
    "expect",
    "export_model",
    "load_model",
    "metrics",
    "prepare",
    "report",
]

_HOMES = {
    "Trainer": "training.trainer",
    "context": "rank.context",
    "evaluate": "evaluation.evaluate",
    "export_model": "models.export",
    "load_model": "models.loading",
    "prepare": "training.prepare",
}
"""Modules of what isn't a module itself."""


def __getattr__(name: str) -> Any:
    """Imports what needs torch when it is first asked for."""
    if home := _HOMES.get(name):
        return getattr(import_module(f"footplate_trainer.{home}"), name)
    if name in __all__:
        return import_module(f"footplate_trainer.{name}")
    raise AttributeError(f"module 'footplate_trainer' has no attribute {name!r}")
