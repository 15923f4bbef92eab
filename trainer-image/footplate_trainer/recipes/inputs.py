"""What a recipe reads: the parts that `spec.data.split` has made, else the input channels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from footplate_trainer.data.splits import TEST, VALIDATION
from footplate_trainer.rank.environment import Context


class HoldsOut(Protocol):
    """Hyperparameters of a recipe that holds data out where no channel brings them."""

    @property
    def validation_fraction(self) -> float:
        """Share of the training data to choose by."""

    @property
    def test_fraction(self) -> float:
        """Share of the training data to judge by."""


def choose_inputs(ctx: Context, hyperparameters: HoldsOut) -> tuple[Mapping[str, Path], Mapping[str, float]]:
    """The folder of each part, and the share of the training data that is to be held out for those that aren't there:
    none, where the job has divided its data itself.
    """
    if ctx.splits:
        return ctx.splits, {VALIDATION: 0.0, TEST: 0.0}
    return ctx.inputs, {VALIDATION: hyperparameters.validation_fraction, TEST: hyperparameters.test_fraction}
