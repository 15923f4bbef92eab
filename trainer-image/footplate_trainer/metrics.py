"""Metrics, exact over all ranks: each is a function that gives one value a sample, or a batch's mean of them, and the
mean over every sample of every rank is what counts.

    def top_3(outputs, targets):
        return (outputs.topk(3).indices == targets[:, None]).any(dim=1)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from footplate_trainer.errors import UserError

GRAIN = 2.0**-24
"""What each batch's sum is rounded to; exact up to a total of 2^29."""

Metric = Callable[[Tensor, Tensor], Tensor]
"""(outputs [N, ...], targets [N, ...]) → values [N], or their mean []; its name is the function's."""


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 where the greatest of the logits [N, classes] is the target's [N], else 0."""
    return outputs.argmax(dim=1) == targets


class Means(Mapping[str, float]):
    """Running means of the loss and of some metrics. Adding never waits for the device; reading does.

    Sums are float64 multiples of `GRAIN`, so they add up exactly, in any order: a run that was interrupted, and went
    on from the sum over all ranks, has the very means of one that was not.
    """

    def __init__(self, metrics: Sequence[Metric], device: torch.device) -> None:
        self._metrics = metrics
        self._names = ("loss", *(getattr(metric, "__name__", type(metric).__name__) for metric in metrics))
        self._sums = torch.zeros(len(self._names), dtype=torch.float64, device=device)
        self._samples = 0

    def add(self, loss: Tensor, outputs: Tensor, targets: Any, *, size: int) -> None:
        """Takes in a batch of `size` samples: its mean loss, and what the metrics are computed from.

        Raises:
            UserError: a metric gives neither one value a sample nor a mean.
        """
        values = zip(self._names[1:], (metric(outputs, targets) for metric in self._metrics), strict=True)
        sums = [_sum(name, value, size).to(self._sums.device) for name, value in values]
        self._sums += (torch.stack([loss.detach().double() * size, *sums]) / GRAIN).round() * GRAIN
        self._samples += size

    def reset(self) -> None:
        """Forgets all batches."""
        self._sums.zero_()
        self._samples = 0

    def over_all_ranks(self) -> dict[str, float]:
        """The means over all ranks. Collective."""
        *sums, samples = self.totals()
        return {name: total / samples for name, total in zip(self._names, sums, strict=True)}

    def totals(self) -> list[float]:
        """The sums over all ranks and, last, the number of samples. Collective."""
        totals = torch.cat([self._sums, self._sums.new_tensor([self._samples])])
        if dist.is_initialized():
            dist.all_reduce(totals)
        return [float(total) for total in totals.tolist()]

    def start_from(self, totals: Sequence[float]) -> None:
        """Goes on from what `totals` gave, on any number of ranks; each calls it."""
        self.reset()
        if not dist.is_initialized() or dist.get_rank() == 0:
            self._sums.copy_(torch.tensor(totals[:-1], dtype=torch.float64))
            self._samples = round(totals[-1])

    def __getitem__(self, name: str) -> float:
        if name not in self._names:
            raise KeyError(name)
        return float(self._sums[self._names.index(name)]) / self._samples

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _sum(name: str, value: Any, size: int) -> Tensor:
    """The sum over a batch's samples, float64 []."""
    values = torch.as_tensor(value).detach()
    if values.ndim == 0:
        return values.double() * size
    if values.shape not in ((size,), (size, 1)):
        raise UserError(
            f"the metric {name} gave values {list(values.shape)} of a batch of {size} samples: it must return one "
            f"value a sample, [{size}], or their mean, a scalar"
        )
    return values.sum(dtype=torch.float64)
