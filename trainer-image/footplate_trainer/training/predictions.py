"""What `Trainer.predict` gives: one row a sample, in the data's order, whole on every rank.

Of a `data.loader` each rank computes its share of a batch; shares are exchanged batch by batch, so that beside the
whole in host memory no more than a batch is held. Other data isn't shared out: every rank has computed all of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from footplate_trainer.errors import ConfigError, UserError
from footplate_trainer.rank.gang import all_ranks
from footplate_trainer.training.batches import move

_HOST = torch.device("cpu")


class Predictions:
    """Collects outputs in host memory.

    Args:
        shared_out: whether each rank has a share of every batch; else all have all of it.
    """

    def __init__(self, *, shared_out: bool) -> None:
        self._gang = all_ranks("predictions") if shared_out else None
        self._parts: list[Any] = []

    def add(self, outputs: Any) -> None:
        """Takes in a batch's outputs; None where this rank has no share of it. Collective where data is shared out."""
        here = None if outputs is None else move(outputs, _HOST)
        shares = [here] if self._gang is None else self._gang.gather(here)
        self._parts += [share for share in shares if share is not None]

    def whole(self) -> Any:
        """All rows, in the shape of a batch's outputs: a tensor [N, ...], or a list or dict of such.

        Raises:
            ConfigError: there were no batches.
            UserError: outputs can't be put one under the other.
        """
        if not self._parts:
            raise ConfigError("predict: the data has no batches; give it at least one")
        return _joined(self._parts)


def _joined(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor) and first.ndim:
        return torch.cat(list(parts))
    if isinstance(first, Mapping):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, list):
        return [_joined(values) for values in zip(*parts, strict=True)]
    what = "a single number" if isinstance(first, Tensor) else f"a {type(first).__name__}"
    raise UserError(
        f"predict: the model gave {what} for a batch, not a row for each sample; have it give tensors [N, ...], or a "
        "tuple, list or dict of them"
    )
