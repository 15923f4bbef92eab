"""What `Trainer.fit` says in the log of each epoch."""

from collections.abc import Mapping

from torch.optim import Optimizer


def epoch_line(
    epoch: int, epochs: int, logs: Mapping[str, float], optimizer: Optimizer, *, samples: int, seconds: float
) -> str:
    """One line: the values, the learning rates, and how many samples a second all ranks together trained on, where
    they have trained on any since the process was started.
    """
    rates = dict.fromkeys(f"{float(group['lr']):.4g}" for group in optimizer.param_groups)
    values = [f"{name} {value:.4g}" for name, value in logs.items()]
    speed = [f"{samples / seconds:,.0f} samples/s"] if samples and seconds > 0 else []
    return f"epoch {epoch + 1}/{epochs}: " + ", ".join([*values, "lr " + " ".join(rates), *speed])
