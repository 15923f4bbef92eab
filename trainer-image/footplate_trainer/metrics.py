"""Metrics, exact over all ranks: each is a function that gives one value a sample, or a batch's mean of them, and the
mean over every sample of every rank is what counts.

    def top_3(outputs, targets):
        return (outputs.topk(3).indices == targets[:, None]).any(dim=1)
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from footplate_trainer.errors import ConfigError, DataError, UserError

GRAINS = 2.0**-24, 2.0**-57
"""What each batch's sum is parted into multiples of, so that totals are exact up to 2^29, and 2 million batches. The
rest is added up as it is: all of a loss or an error that is tiny, as of lengths in metres that are nanometres.
"""

PENDING = 64
"""Batches whose sums are parted at one go: for each by itself it would be dear beside a small model's step."""

Metric = Callable[[Tensor, Tensor], Tensor]
"""(outputs [N, ...], targets [N, ...]) → values [N], or their mean []; its name is the function's."""


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 where the greatest of the logits [N, classes] is the target's [N], else 0.

    Raises:
        UserError: there is one output a sample, of which the greatest is always the same.
    """
    if outputs.ndim < 2 or outputs.shape[1] == 1:
        raise UserError(
            f"the metric accuracy: outputs {list(outputs.shape)} are one number a sample, and it compares one for each "
            "class. With one that tells yes from no, write a metric of your own, such as def binary_accuracy(outputs, "
            "targets): return (outputs.flatten() > 0) == (targets.flatten() > 0.5)"
        )
    return outputs.argmax(dim=1) == targets


RESERVED = {"loss", "step", "epoch"}
"""Names that logs and the status have already."""


def check_metrics(metrics: Any) -> None:
    """Looks at what `Trainer` is given.

    Raises:
        ConfigError: it isn't a list of functions, or two values would have one name.
    """
    if not isinstance(metrics, list | tuple):
        raise ConfigError(f"Trainer(metrics={metrics!r}): they are a list, also if it is one, as in metrics=[accuracy]")
    for metric in metrics:
        if not callable(metric) or isinstance(metric, type):
            raise ConfigError(
                f"Trainer(metrics): {metric!r} is no function of (outputs, targets); give one, such as "
                "footplate_trainer.metrics.accuracy, or an object that can be called"
            )
    names = [_name(metric) for metric in metrics]
    taken = next((name for name in names if names.count(name) > 1 or name in RESERVED), None)
    if taken is not None:
        raise ConfigError(
            f"Trainer(metrics): the name {taken!r} is taken, so that one value would stand in place of another; write "
            "a function of a name of its own (def top_3(outputs, targets): …), or set __name__ of the object"
        )


def _name(metric: Metric) -> str:
    return getattr(metric, "__name__", type(metric).__name__)


class Means(Mapping[str, float]):
    """Running means of the loss and of some metrics. Adding never waits for the device; reading does.

    Sums are float64 multiples of `GRAINS`, so they add up exactly, in any order: a run that was interrupted, and went
    on from the sum over all ranks, has the very means of one that was not. Of values below the grains the last digits
    may differ.
    """

    def __init__(self, metrics: Sequence[Metric], device: torch.device) -> None:
        self._metrics = metrics
        self._names = ("loss", *map(_name, metrics))
        self._sums = torch.zeros(len(GRAINS) + 1, len(self._names) + 1, dtype=torch.float64, device=device)
        """Of the values and, last, of what the sum of the losses is divided by; by grain, and what is left."""
        self._pending: list[Tensor] = []
        self._samples = 0

    def add(self, loss: Tensor, outputs: Tensor, targets: Any, *, size: int, weight: Tensor | None = None) -> None:
        """Takes in a batch of `size` samples: its mean loss or, with a weight, the sum of its losses, which sums are
        divided by; and what the metrics are computed from.

        Raises:
            UserError: a metric gives neither one value a sample nor a mean.
        """
        values = zip(self._names[1:], (metric(outputs, targets) for metric in self._metrics), strict=True)
        sums = [_sum(name, value, size).to(self._sums.device) for name, value in values]
        total = loss.detach().double() * (size if weight is None else 1)
        divisor = torch.full_like(total, size) if weight is None else weight.double()
        self._pending.append(torch.stack([total, *sums, divisor]))
        self._samples += size
        if len(self._pending) == PENDING:
            self._settle()

    def reset(self) -> None:
        """Forgets all batches."""
        self._sums.zero_()
        self._pending.clear()
        self._samples = 0

    def over_all_ranks(self) -> dict[str, float]:
        """The means over all ranks. Collective.

        Raises:
            DataError: there were no samples, or nothing in them has counted.
        """
        totals = self.totals()
        count = len(self._names) + 1
        samples = totals.pop(count)
        *sums, weight = (sum(totals[place::count]) for place in range(count))
        if not samples:
            raise DataError("there was no batch to compute the loss of: the data is empty; look at its source")
        if not weight:
            raise DataError(
                f"the loss gave a weight of 0 for all {samples:.0f} samples: nothing in them counts; look at the "
                "targets, and at what the loss ignores"
            )
        loss, *values = sums
        return {"loss": loss / weight} | {
            name: total / samples for name, total in zip(self._names[1:], values, strict=True)
        }

    def totals(self) -> list[float]:
        """Of all ranks: the sums in coarse grains, the number of samples, the sums in fine grains, and what is left of
        them. Collective.
        """
        self._settle()
        coarse, *finer = self._sums
        totals = torch.cat([coarse, coarse.new_tensor([self._samples]), *finer])
        if dist.is_initialized():
            dist.all_reduce(totals)
        return [float(total) for total in totals.tolist()]

    def start_from(self, totals: Sequence[float]) -> None:
        """Goes on from what `totals` gave, on any number of ranks; each calls it.

        Raises:
            ValueError: it is of more or fewer metrics.
        """
        count = len(self._names) + 1
        sums, rest = [*totals[:count]], totals[count:]
        if not rest:  # earlier versions divided by the samples alone
            rest = sums[-1:]
        rows = torch.tensor([*sums, *rest[1:]], dtype=torch.float64)
        if len(sums) != count or len(rows) % count or len(rows) > self._sums.numel():
            raise ValueError(f"the means of its epoch aren't those of {', '.join(self._names)}")
        self.reset()
        if not dist.is_initialized() or dist.get_rank() == 0:
            self._sums.view(-1)[: len(rows)] = rows.to(self._sums.device)  # earlier versions had fewer rows
            self._samples = round(rest[0])

    def _settle(self) -> None:
        if self._pending:
            self._sums += _grains(torch.stack(self._pending)).sum(dim=1)
            self._pending.clear()

    def __getitem__(self, name: str) -> float:
        if name not in self._names:
            raise KeyError(name)
        number = self._names.index(name)
        self._settle()
        *sums, weight = self._sums.sum(dim=0).tolist()
        return float(sums[number]) / ((self._samples if number else weight) or math.nan)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _grains(values: Tensor) -> Tensor:
    """Values [...] in multiples of each grain, and what is left of them, [grains + 1, ...]."""
    parts = []
    for grain in GRAINS:
        parts.append((values / grain).round() * grain)
        values = (values - parts[-1]).nan_to_num(nan=0.0)  # nothing is left of infinity
    return torch.stack([*parts, values])


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
