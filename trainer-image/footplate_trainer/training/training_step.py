"""The mathematics of one optimizer step: the gradient of the mean over every sample that all ranks were handed, however
unevenly, and in however many parts; clipped; and applied.

    gradient = (sum over ranks and parts of the losses' gradients) / (samples, or weights, of all ranks)

Each rank's backward pass begins with value · count · ranks / samples, since DistributedDataParallel and FSDP divide the
sum over ranks by their number. What a loss divides by instead of the samples is known only when all ranks have computed
it: then the gradients are multiplied by samples / weights.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from footplate_trainer.checkpoint.sharded import is_dtensor, weights_of
from footplate_trainer.errors import ConfigError, UserError
from footplate_trainer.metrics import Means
from footplate_trainer.rank.context import context
from footplate_trainer.training.batches import Batch, move, parts_of, telling, unpack
from footplate_trainer.training.losses import BatchLoss, ClassWeights
from footplate_trainer.training.outputs import forward

MAX_SKIPPED = 32
"""Steps in a row whose gradients overflow in fp16: by then the scale is 1/2^16 at most, and they aren't numbers."""


class TrainingStep:
    """Makes optimizer steps. Collective, as the model is.

    Args:
        model: as `prepare` has made it.
        accumulate: parts in which a batch is computed.
        clip_norm: greatest norm of all gradients together; None: as they are.
        scaler: of an fp16 model's gradients.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: BatchLoss,
        optimizer: Optimizer,
        *,
        device: torch.device,
        accumulate: int = 1,
        clip_norm: float | None = None,
        scaler: "Scaler | None" = None,
    ) -> None:
        if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
            raise ConfigError(f"Trainer(accumulate={accumulate!r}): it is a number of parts, at least 1")
        if clip_norm is not None and (sparse := _sparse(model)) is not None:
            raise ConfigError(
                f"Trainer(clip_norm={clip_norm!r}): {sparse} has sparse=True, and torch has no norm of sparse "
                "gradients; leave out clip_norm, or make it with sparse=False"
            )
        if clip_norm is not None and not 0 < clip_norm < float("inf"):
            raise ConfigError(
                f"Trainer(clip_norm={clip_norm!r}): the greatest norm that gradients may have is a number above 0, "
                "often 1.0; leave it out for none"
            )
        self._model = model
        self._loss = loss
        self._optimizer = optimizer
        self._device = device
        self._accumulate = accumulate
        self._clip_norm = clip_norm
        self.scaler = scaler
        self.applied = True
        """False where the last step was skipped, since its gradients were too large for fp16."""

    def __call__(
        self, batch: Any, *, size: int, global_size: int, means: Means, class_weights: ClassWeights | None = None
    ) -> Tensor:
        """One step on this rank's `size` samples of `global_size`; returns their mean loss [].

        Args:
            batch: (inputs [size, ...], targets [size, ...]), perhaps with the samples' weights [size].
            size, global_size: samples of this rank, and of all.
            means: take the batch's loss and metrics in.
            class_weights: of labels.
        """
        whole = unpack(batch)
        labels = whole.targets
        ranks = context().world_size
        total = torch.zeros((), device=self._device)
        weight: Tensor | None = None
        # Of each batch every rank has at least this many samples; forward passes must be as many on all ranks.
        parts = parts_of(Batch(*move(whole, self._device)), size, min(self._accumulate, global_size // ranks))
        for place, (part, some) in enumerate(parts, start=1):
            with nullcontext() if place == len(parts) else self._without_sync():
                there = {"inputs": part.inputs, "targets": part.targets}
                with telling(there):
                    outputs = there["outputs"] = self._forward(part.inputs)
                    if place == 1:
                        self._loss.check(outputs, labels)
                    weights = class_weights(part.targets, part.weights) if class_weights else part.weights
                    scored = self._loss(outputs, part.targets, weights, size=some)
                self._backward(scored.value * (scored.times * ranks / global_size))
            means.add(scored.value, _detached(outputs), part.targets, size=some, weight=scored.weight)
            total += scored.value.detach() * (scored.times / size)
            if scored.weight is not None:
                weight = scored.weight.double() + (0 if weight is None else weight)
        if weight is not None:
            total = total * _ratio(size, weight)
            self._multiply_gradients(_ratio(global_size, _over_all_ranks(weight)))
        self._apply()
        return total

    def _forward(self, inputs: Any) -> Any:
        try:
            return forward(self._model, inputs)
        except RuntimeError as error:
            if "find_unused_parameters" not in str(error):
                raise
            raise UserError(
                "parameters of the model have no part in the loss, on this rank at least, and ranks would wait for "
                "their gradients: give Trainer or prepare ddp_options={'find_unused_parameters': True}, or freeze them "
                f"(requires_grad_(False)). torch says: {error}"
            ) from error

    def _backward(self, loss: Tensor) -> None:
        if not loss.requires_grad:
            raise UserError(
                "the loss doesn't depend on the model's weights, so nothing could be learnt: compute it of the model's "
                "outputs, without detach(), item(), numpy(), argmax or torch.no_grad()"
            )
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def _apply(self) -> None:
        if self.scaler is not None:
            self.scaler.unscale(self._optimizer)
        if self._clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(weights_of(self._optimizer), self._clip_norm)
        if self.scaler is None:
            self._optimizer.step()
        else:
            self.applied = self.scaler.step(self._optimizer)
        self._optimizer.zero_grad(set_to_none=True)

    def _without_sync(self) -> AbstractContextManager[None]:
        """Gradients stay on their rank: the last part's backward pass sends the sum of all parts'. Where they are
        sharded each part's are sent, since whole ones would take the memory that sharding saves.
        """
        return self._model.no_sync() if isinstance(self._model, DistributedDataParallel) else nullcontext()

    @torch.no_grad()
    def _multiply_gradients(self, factor: Tensor) -> None:
        for weight in weights_of(self._optimizer):
            if weight.grad is not None:
                (weight.grad.to_local() if is_dtensor(weight.grad) else weight.grad).mul_(factor)


class Scaler:
    """Scales the losses of an fp16 model, so that small gradients aren't rounded to 0, and leaves out steps whose
    gradients overflow: torch's GradScaler, which remembers how many were left out.
    """

    def __init__(self, device: torch.device) -> None:
        self._scaler = torch.amp.GradScaler(device.type)
        self.skipped = 0
        """Steps left out since the training began, earlier attempts' included."""
        self._in_a_row = 0

    def scale(self, loss: Tensor) -> Tensor:
        """What the backward pass begins with."""
        scaled: Tensor = self._scaler.scale(loss)
        return scaled

    def unscale(self, optimizer: Optimizer) -> None:
        """Makes the gradients what they would be without the scale."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> bool:
        """The optimizer's step; False if it was left out, alike on all ranks. Waits for the device.

        Raises:
            UserError: one step after another is left out.
        """
        before = self._scaler.get_scale()
        self._scaler.step(optimizer)
        self._scaler.update()
        applied = bool(self._scaler.get_scale() >= before)
        self.skipped += not applied
        self._in_a_row = 0 if applied else self._in_a_row + 1
        if self._in_a_row >= MAX_SKIPPED:
            raise UserError(
                f"the gradients of {MAX_SKIPPED} steps in a row are no finite numbers in fp16, however small the loss "
                "is scaled, so nothing is learnt: use precision='bf16' or 'fp32', or look for NaN in the model"
            )
        return applied

    def state_dict(self) -> dict[str, Any]:
        """The scale, and the counts."""
        return {"scaler": self._scaler.state_dict(), "skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self._scaler.load_state_dict(state["scaler"])
        self.skipped, self._in_a_row = state["skipped"], state["in_a_row"]


def _detached(outputs: Any) -> Any:
    """Outputs without their graph, for metrics."""
    return outputs.detach() if isinstance(outputs, Tensor) else outputs


def _over_all_ranks(weight: Tensor) -> Tensor:
    total = weight.detach().clone()
    if dist.is_initialized():
        dist.all_reduce(total)
    return total


def _ratio(size: int, weight: Tensor) -> Tensor:
    """How much less there is to divide by than samples; where nothing counts the losses' sum is 0 anyway."""
    return size / weight.where(weight != 0, 1.0)


def _sparse(model: nn.Module) -> str | None:
    """The kind of a module whose gradients are sparse; None where there is none."""
    return next((type(part).__name__ for part in model.modules() if getattr(part, "sparse", False) is True), None)
