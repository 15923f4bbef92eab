"""What `Trainer.fit` says in the log of each epoch."""

from collections.abc import Mapping

import torch
from torch.optim import Optimizer

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
