"""What a model gave for the samples of an evaluation, beside what was right: each rank keeps its shares in host memory,
and at the end rank 0 alone has all of them, each sample once, in the data's order.
"""

from typing import Any

import numpy as np
from torch import Tensor

from footplate_trainer.errors import UserError
from footplate_trainer.evaluation.samples import to_array
from footplate_trainer.rank.gang import all_ranks


class Collected:
    """Collects outputs and targets [N, ...] of each batch."""

    def __init__(self) -> None:
        self._shares: list[tuple[Any, Any] | None] = []

    def add(self, outputs: Any, targets: Any) -> None:
        """Takes in this rank's share of a batch.

        Raises:
            UserError: the model's outputs or the targets are several tensors.
        """
        if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
            raise UserError("evaluate(collect): outputs and targets must be one tensor each, [N, ...]")
        self._shares.append((to_array(outputs), to_array(targets)))

    def add_none(self) -> None:
        """This rank has no share of a batch."""
        self._shares.append(None)

    def on_main(self) -> tuple[Any, Any] | None:
        """Outputs and targets [N, ...] on rank 0, None on the others. Collective."""
        ranks = all_ranks("evaluation").to_main(self._shares)
        if ranks is None:
            return None
        # A batch's shares follow each other by rank, as data.loader has parted it.
        shares = [share for batch in zip(*ranks, strict=True) for share in batch if share is not None]
        outputs, targets = zip(*shares, strict=True)
        return np.concatenate(outputs), np.concatenate(targets)
