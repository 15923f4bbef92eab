"""Training and evaluation mode of a model's modules."""

from collections.abc import Iterator

from torch import nn


class Modes:
    """Puts a model into one mode or the other. What is frozen, and was put into evaluation mode by the user, stays in
    it while the rest is trained: else the statistics of a frozen backbone's batch norms would drift.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._fixed: list[nn.Module] = []

    def train(self) -> None:
        """For training. A model that is in evaluation mode as a whole, as libraries hand them out, is trained whole."""
        self._look()
        self._model.train()
        for module in self._fixed:
            module.eval()

    def evaluate(self) -> None:
        """For evaluation."""
        self._look()
        self._model.eval()

    def _look(self) -> None:
        if self._model.training:
            self._fixed = list(_frozen_in_evaluation(self._model))


def _frozen_in_evaluation(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        weights = list(child.parameters())
        if not child.training and weights and not any(weight.requires_grad for weight in weights):
            yield child
        else:
            yield from _frozen_in_evaluation(child)
