"""What `Trainer.fit` remembers beside model and optimizer, and its refusal to save what is no longer a number."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from footplate_trainer.callbacks import CallbackList, History
from footplate_trainer.checkpoint.sharded import is_dtensor
from footplate_trainer.checkpoint.state import NotToBeSaved
from footplate_trainer.errors import UserError
from footplate_trainer.metrics import Means
from footplate_trainer.rank.gang import all_ranks

WINDOW = 64
"""Steps between two looks at the losses on an accelerator, each of which waits for the device."""


class FiniteGuard:
    """Finds the step at which the loss stopped being a finite number, without waiting for the device at each.

    Where a callback ends training for that (`ends=False`), it only keeps such a state from being saved.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, device: torch.device, *, ends: bool = True) -> None:
        self._ends = ends
        self._model = model
        self._optimizer = optimizer
        self._losses = torch.zeros(WINDOW if device.type != "cpu" else 1, device=device)
        self._last_step = 0
        self._watched = 0
        self._constants = {name for name, tensor in _numbers(model) if not _finite(tensor)}
        """What isn't finite from the beginning, such as a mask of -inf."""

    def watch(self, step: int, loss: Tensor) -> None:
        """Takes in the loss of a step; looks at all of them when as many have come as it can hold."""
        self._last_step = step
        if not self._ends:
            return
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
        """Looks at the weights, which one step's gradients may spoil though its loss was finite, and at the model's
        buffers, such as a batch norm's statistics. Collective.

        Raises:
            UserError: as `check`; on all ranks, also where one rank's share alone is spoilt.
            NotToBeSaved: the same, where that doesn't end training.
        """
        watched = {name: tensor for name, tensor in _numbers(self._model) if name not in self._constants}
        # One look at the device for all of them; what it was is only asked when something is wrong.
        spoilt = bool(watched) and not _finite(*watched.values())
        if not all_ranks("finite weights").maximum([spoilt])[0]:
            return
        first = next((name for name, tensor in watched.items() if not _finite(tensor)), None)
        which = f" (first {first})" if first is not None else ""
        problem = f"the weights are no longer finite numbers after step {self._last_step}{which}"
        if not self._ends:
            raise NotToBeSaved(problem)
        raise UserError(f"{problem}. {self._advice()}")

    def _advice(self) -> str:
        rates = ", ".join(f"{group['lr']:.3g}" for group in self._optimizer.param_groups)
        return (
            f"The learning rate is {rates}: try a tenth of it, or a warm-up; look for NaN and huge values in the data. "
            "No checkpoint holds this state"
        )


def _numbers(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """This rank's parameters and saved buffers of floating-point numbers, by name."""
    for name, tensor in model.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            yield name, tensor.to_local() if is_dtensor(tensor) else tensor


def _finite(*tensors: Tensor) -> bool:
    """By the largest absolute value: a sum of squares overflows where the numbers themselves are fine."""
    here = [tensor for tensor in tensors if tensor.numel()]
    return not here or bool(torch.isfinite(torch.nn.utils.get_total_norm(here, norm_type=math.inf)))


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
            UserError, NotToBeSaved: the loss or the weights are no longer finite numbers, so nothing must be saved.
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
