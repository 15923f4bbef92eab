"""What `Trainer.fit` says: in the log of each epoch, and at its end of the model."""

import math
import time
from collections.abc import Mapping
from itertools import islice
from typing import Any

import torch
from pydantic.alias_generators import to_camel
from torch.optim import Optimizer

from footplate.api.reports import MAX_METRIC_NAME, MAX_METRICS
from footplate_trainer.callbacks import CallbackList, History
from footplate_trainer.errors import sendable
from footplate_trainer.exchange import ModelReport
from footplate_trainer.rank.report import reporter
from footplate_trainer.rank.values import number_of
from footplate_trainer.training.training_step import Scaler


def epoch_line(
    epoch: int,
    epochs: int,
    logs: Mapping[str, float],
    optimizer: Optimizer,
    *,
    samples: int,
    seconds: float,
    scaler: Scaler | None = None,
) -> str:
    """One line: the values, the learning rates, how many samples a second all ranks together trained on, where they
    have trained on any since the process was started; on a GPU the most memory that tensors of this rank have taken so
    far; and in fp16 how many steps were left out.
    """
    rates = dict.fromkeys(f"{float(group['lr']):.4g}" for group in optimizer.param_groups)
    values = [f"{name} {value:.4g}" for name, value in logs.items()]
    speed = [f"{samples / seconds:,.0f} samples/s"] if samples and seconds > 0 else []
    memory = [f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"] if torch.cuda.is_available() else []
    skipped = [f"{scaler.skipped} steps skipped"] if scaler is not None and scaler.skipped else []
    return f"epoch {epoch + 1}/{epochs}: " + ", ".join([*values, "lr " + " ".join(rates), *speed, *memory, *skipped])


def status_names(logs: Mapping[str, float], *, prefix: str = "") -> dict[str, Any]:
    """Logs by the names that a job's status shows: val_accuracy becomes valAccuracy."""
    return {to_camel(prefix + name): value for name, value in logs.items()}


def tell_end(hooks: CallbackList, history: History) -> None:
    """Says why training has ended, and which of its states the model is, for the model's manifest."""
    state, model = hooks.restored, None
    if state is not None:
        step = reporter().progress.in_all(state.step)
        metrics = _told(status_names(state.logs))
        without = [sendable(name)[:MAX_METRIC_NAME] for name in map(to_camel, history.history) if name not in metrics]
        reporter().flush()  # what is seen after this was reported after the last epoch
        model = ModelReport(
            step=step,
            epoch=state.epoch + 1,
            metrics=metrics,
            without=without[:MAX_METRICS],
            told_at=time.monotonic(),
        )
    reporter().trained(hooks.ended, model)


def _told(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that can be told: of what callbacks add to the logs, numbers alone."""
    numbers = {name: number_of(value) for name, value in values.items() if len(name) <= MAX_METRIC_NAME}
    told = {name: number for name, number in numbers.items() if number is not None and math.isfinite(number)}
    return dict(islice(told.items(), MAX_METRICS))
