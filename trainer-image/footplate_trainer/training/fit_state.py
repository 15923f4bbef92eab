"""What `Trainer.fit` remembers beside model and optimizer, and its refusal to save what is no longer a number."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from footplate_trainer.callbacks import CallbackList, History
from footplate_trainer.checkpoint.sharded import is_dtensor
from footplate_trainer.errors import UserError
from footplate_trainer.metrics import Means
from footplate_trainer.rank.gang import all_ranks

WINDOW = 64
"""Steps between two looks at the losses on an accelerator, each of which waits for the device."""


class FiniteGuard:
    """Finds the step at which the loss stopped being a finite number, without waiting for the device at each."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, device: torch.device) -> None:
        self._model = model
        self._optimizer = optimizer
        self._losses = torch.zeros(WINDOW if device.type != "cpu" else 1, device=device)
        self._last_step = 0
        self._watched = 0

    def watch(self, step: int, loss: Tensor) -> None:
        """Takes in the loss of a step; looks at all of them when as many have come as it can hold."""
        self._last_step = step
        self._losses[self._watched] = loss
        self._watched += 1
        if self._watched == len(self._losses):
            self.check()

    def check(self) -> None:
        """Looks at all losses watched since the last look.

        Raises:
            UserError: naming the first step whose loss is not a finite number, and what to try.
        """
        losses, self._watched = self._losses[: self._watched].tolist(), 0
        for step, loss in enumerate(losses, start=self._last_step - len(losses) + 1):
            if not math.isfinite(loss):
                raise UserError(f"the loss is {loss} at step {step}. {self._advice()}")

    def check_weights(self) -> None:
        """Looks at the weights, which one step's gradients may spoil though its loss was finite.

        Raises:
            UserError: as `check`.
        """
        weights = [weight.detach() for weight in self._model.parameters() if weight.is_floating_point()]
        here = [weight.to_local() if is_dtensor(weight) else weight for weight in weights]
        finite = not here or bool(torch.isfinite(torch.nn.utils.get_total_norm(here)))
        if any(map(is_dtensor, weights)):
            finite = not all_ranks("finite weights").maximum([not finite])[0]
        if not finite:
            raise UserError(f"the weights are no longer finite numbers after step {self._last_step}. {self._advice()}")

    def _advice(self) -> str:
        rates = ", ".join(f"{group['lr']:.3g}" for group in self._optimizer.param_groups)
        return (
            f"The learning rate is {rates}: try a tenth of it, or a warm-up; look for NaN and huge values in the data. "
            "No checkpoint holds this state"
        )


class FitState:
    """The epoch's means, the history and what the callbacks remember, as a part of every checkpoint. All are the same
    on all ranks when saved.
    """

    def __init__(self, means: Means, history: History, guard: FiniteGuard, hooks: CallbackList) -> None:
        self._means = means
        self._history = history
        self._guard = guard
        self._hooks = hooks

    def state_dict(self) -> dict[str, Any]:
        """Collective, as every save is.

        Raises:
            UserError: the loss or the weights are no longer finite numbers, so nothing must be saved.
        """
        self._guard.check()
        self._guard.check_weights()
        history = {name: list(values) for name, values in self._history.history.items()}
        return {
            "means": self._means.totals(),
            "epochs": list(self._history.epoch),
            "history": history,
            "callbacks": self._hooks.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self._means.start_from(state["means"])
        self._history.epoch = list(state["epochs"])
        self._history.history = {name: list(values) for name, values in state["history"].items()}
        if "callbacks" in state:  # earlier versions saved none
            self._hooks.load_state_dict(state["callbacks"])
