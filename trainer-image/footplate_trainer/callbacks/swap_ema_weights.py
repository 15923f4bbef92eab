"""A callback that averages the weights over the steps, and evaluates the average."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from footplate_trainer.callbacks.callback import Callback, Logs
from footplate_trainer.callbacks.model_checkpoint import ModelCheckpoint
from footplate_trainer.callbacks.monitoring import EarlyStopping
from footplate_trainer.callbacks.weights import placed_as
from footplate_trainer.checkpoint.sharded import is_dtensor
from footplate_trainer.errors import ConfigError


class SwapEMAWeights(Callback):
    """Keeps the exponential moving average of the model's trained weights. Evaluations and predictions that are given
    this callback, `fit`'s validation included, are the average's, and `fit` ends with it in the model.

    In Keras the average is the optimizer's (`use_ema`); torch's have none, so this keeps it, beside the weights, in
    their precision, and in every checkpoint. Buffers, such as running statistics, aren't averaged.

    Args:
        swap_on_epoch: has the average in the model from an epoch's end to the next one's beginning too, for callbacks
            that come after this one, such as ModelCheckpoint.
        ema_momentum: of the average after a step, how much is the average before it; the rest is the weights.

    Raises:
        ConfigError: the momentum isn't between 0 and 1.
    """

    def __init__(self, swap_on_epoch: bool = False, *, ema_momentum: float = 0.99) -> None:
        if not 0 <= ema_momentum <= 1:
            raise ConfigError(f"SwapEMAWeights(ema_momentum={ema_momentum}): a momentum is from 0 to 1")
        self.swap_on_epoch = swap_on_epoch
        self.ema_momentum = ema_momentum
        self._model: nn.Module | None = None
        """Whose weights the average is of."""
        self._averages: dict[str, Tensor] = {}
        self._steps = 0
        self._swapped = False
        """True while the average is in the model, and the weights are in its place."""

    def check_beside(self, others: Sequence[Callback]) -> None:
        """See `Callback.check_beside`. A validation measures the average: what another callback keeps by its values
        must be the average too, and what it restores at the end must stay.

        Raises:
            ConfigError: so it wouldn't be.
        """
        place = next(number for number, other in enumerate(others) if other is self)
        for number, other in enumerate(others):
            monitor, comes_after = _keeps_by(other), number > place
            if monitor is None or (comes_after and (self.swap_on_epoch or not monitor.startswith("val_"))):
                continue
            if isinstance(other, EarlyStopping) or monitor.startswith("val_"):
                kind, where = type(other).__name__, "before" if comes_after else "after"
                raise ConfigError(
                    f"callbacks: {kind} keeps weights by {monitor}, and beside SwapEMAWeights(swap_on_epoch="
                    f"{self.swap_on_epoch}) {where} it these aren't the average that is evaluated, or aren't what "
                    f"training ends with; write [SwapEMAWeights(swap_on_epoch=True), {kind}(…)]"
                )

    def state_dict(self) -> dict[str, Any]:
        """The average, sharded where the weights are."""
        return {"averages": self._averages, "steps": self._steps, "swapped": self._swapped}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave. Collective where the weights are sharded."""
        self._steps, self._swapped = state["steps"], state["swapped"]
        for name, average in self._averages.items():
            average.copy_(placed_as(average, state["averages"][name]))

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begins anew with another model than before, and else goes on."""
        if self._model is not self.trainer.module:
            self._model = self.trainer.module
            self._averages = {name: weight.detach().clone() for name, weight in self._weights().items()}
            self._steps, self._swapped = 0, False

    @torch.no_grad()
    def on_train_end(self, logs: Logs | None = None) -> None:
        """Leaves the average in the model, and takes it for the average too."""
        if self._swapped:
            self._swap()
        for weight, average in zip(*self._here(), strict=True):
            weight.copy_(average)

    @torch.no_grad()
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Takes in the step's weights."""
        weights, averages = self._here()
        torch._foreach_lerp_(averages, weights, 1 - self.ema_momentum if self._steps else 1.0)
        self._steps += 1

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Puts the weights back."""
        if self.swap_on_epoch and self._swapped:
            self._swap()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Puts the average in place, if it shall stay until the next epoch."""
        if self.swap_on_epoch and not self._swapped:
            self._swap()

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Puts the average in place."""
        if self._model is not self.trainer.module:
            raise ConfigError(
                "SwapEMAWeights has no average of this model's weights: give it to fit first, which makes one"
            )
        if not self._swapped:
            self._swap()

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Puts the weights back."""
        if self._swapped:
            self._swap()

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """As `on_test_begin`."""
        self.on_test_begin()

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """As `on_test_end`."""
        self.on_test_end()

    @torch.no_grad()
    def _swap(self) -> None:
        for weight, average in zip(*self._here(), strict=True):
            held = weight.clone()
            weight.copy_(average)
            average.copy_(held)
        self._swapped = not self._swapped

    def _here(self) -> tuple[list[Tensor], list[Tensor]]:
        """The weights and their averages; this rank's shards of those that are sharded."""
        weights = self._weights()
        return [_local(weight) for weight in weights.values()], [_local(self._averages[name]) for name in weights]

    def _weights(self) -> dict[str, nn.Parameter]:
        """The weights that are trained, each once, by its first name.

        `state_dict` also lets go of what a sharded model has gathered, which would outlive a change of the shards.
        """
        found: dict[nn.Parameter, str] = {}
        for name, weight in self.trainer.module.state_dict(keep_vars=True).items():
            if isinstance(weight, nn.Parameter) and weight.requires_grad:
                found.setdefault(weight, name)
        return {name: weight for weight, name in found.items()}


def _keeps_by(other: Callback) -> str | None:
    """The value by which a callback chooses the weights that it keeps; None where it chooses none."""
    if isinstance(other, EarlyStopping):
        return other.monitor if other.restore_best_weights else None
    return other.monitor if isinstance(other, ModelCheckpoint) and other.save_best_only else None


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if is_dtensor(tensor) else tensor
