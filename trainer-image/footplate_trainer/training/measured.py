"""Models that take the time of what a rank does by itself: see `work`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from footplate_trainer.errors import UserError
from footplate_trainer.timing.work import WorkMeter
from footplate_trainer.training.buckets import settle


class MeasuredDataParallel(DistributedDataParallel):
    """The forward pass is measured from outside the user's module, behind the exchange of buffers: hooks on the module
    itself would be compiled, exported and pickled with it.
    """

    def __init__(
        self, module: nn.Module, meter: WorkMeter, *, device_ids: list[torch.device] | None, **options: Any
    ) -> None:
        super().__init__(module, device_ids=device_ids, **options)
        self._meter = meter
        self._unsettled = True
        self._frozen = {name: weight for name, weight in module.named_parameters() if not weight.requires_grad}

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """As the module's own, with gradients that are summed over ranks in the backward pass.

        Raises:
            UserError: a parameter that was frozen when the model was prepared isn't any more.
        """
        if thawed := [name for name, weight in self._frozen.items() if weight.requires_grad]:
            raise UserError(
                f"{thawed[0]}{f' and {len(thawed) - 1} more' if len(thawed) > 1 else ''} had requires_grad=False when "
                "the model was prepared, and has it no longer: DistributedDataParallel wouldn't sum their gradients, "
                "and each rank would train a model of its own. Unfreeze before prepare, or before you make the "
                "Trainer; to train in stages make a new Trainer and optimizer for each, and give its fit a name; or "
                "freeze by a learning rate of 0 in a parameter group of their own"
            )
        if self.training and not torch.compiler.is_compiling():
            self._meter.enter_forward()
        return super().forward(*inputs, **named)  # type: ignore[no-untyped-call]

    def _measured_forward(self, *inputs: Any, **named: Any) -> Any:
        run: Callable[..., Any] = super()._run_ddp_forward
        if not self.training:  # then a rank may be alone here, and must not wait for others
            return run(*inputs, **named)
        outputs = self._meter.forward(lambda: run(*inputs, **named))
        if self._unsettled and torch.is_grad_enabled() and self.require_backward_grad_sync:
            self._unsettled = False
            if not self.find_unused_parameters and not self.static_graph:  # of those DDP keeps its first buckets
                settle(self, outputs)
        return outputs

    # In a model that is compiled with its DDP around it, this isn't; the user's module, which it calls, is.
    _run_ddp_forward = torch._dynamo.disable(_measured_forward, recursive=False)


def measure_entry(model: nn.Module, meter: WorkMeter) -> None:
    """Takes the time up to the entry of a sharded model's forward pass, in which ranks wait for each other's shards."""
    model.register_forward_pre_hook(partial(_enter_forward, meter), prepend=True)


def _enter_forward(meter: WorkMeter, model: nn.Module, _: Any) -> None:
    if model.training and not torch.compiler.is_compiling():
        meter.enter_forward()
