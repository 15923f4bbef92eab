"""How `Trainer` evaluates a model and applies it: each rank to its share of the data, all with rank 0's buffers."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from footplate_trainer import checkpoint
from footplate_trainer.callbacks import CallbackList
from footplate_trainer.checkpoint.sharded import is_sharded
from footplate_trainer.data.loader import Loader
from footplate_trainer.errors import ConfigError, Stopped
from footplate_trainer.metrics import Means, Metric
from footplate_trainer.models.tensors import take_mains
from footplate_trainer.rank.context import context
from footplate_trainer.rank.gang import all_ranks
from footplate_trainer.rank.report import reporter
from footplate_trainer.training.batches import batch_size, move, telling, unpack
from footplate_trainer.training.collected import Collected
from footplate_trainer.training.losses import BatchLoss
from footplate_trainer.training.modes import Modes
from footplate_trainer.training.outputs import forward
from footplate_trainer.training.predictions import Predictions


class Evaluator:
    """Evaluates and applies one model. All public methods are collective.

    Args:
        module: the model itself, sharded or not.
        modes: its modules', in which they are put.
        metrics: computed besides the loss.
        device: where the model is.
    """

    def __init__(
        self, module: nn.Module, modes: Modes, loss: BatchLoss, metrics: Sequence[Metric], device: torch.device
    ) -> None:
        self._module = module
        self._modes = modes
        self._loss = loss
        self._metrics = metrics
        self._device = device
        self._sharded = is_sharded(module)
        self._last: Any = None
        """The last inputs of what is under way, of a sharded model."""

    @torch.no_grad()
    def evaluate(
        self, data: Iterable[Any], hooks: CallbackList, steps: int | None = None, collect: Collected | None = None
    ) -> dict[str, float]:
        """Loss and metrics over all batches of all ranks, or over the first `steps` of them. See `Trainer.evaluate`.
        `collect` takes in the outputs.

        Raises:
            Stopped: the job was asked to stop.
        """
        self._begin()
        means = Means(self._metrics, self._device)
        hooks.call("on_test_begin")
        data = _beginning(data)
        # A batch smaller than the gang leaves ranks without a share of it: they still ask whether to stop.
        shares = data.shares() if isinstance(data, Loader) else data
        for number, batch in enumerate(islice(shares, steps)):
            hooks.call("on_test_batch_begin", number)
            if batch is None:
                self._apply(None)
                if collect is not None:
                    collect.add_none()
            else:
                inputs, targets, weights = move(unpack(batch), self._device)
                size = data.samples_in_hand if isinstance(data, Loader) else batch_size(inputs, targets)
                there = {"inputs": inputs, "targets": targets}
                with telling(there):
                    outputs = there["outputs"] = self._apply(inputs)
                    self._loss.check(outputs, batch[1])
                    scored = self._loss(outputs, targets, weights, size=size)
                means.add(scored.value, outputs, targets, size=size, weight=scored.weight)
                if collect is not None:
                    collect.add(outputs, targets)
            reporter().beat()
            hooks.call("on_test_batch_end", number)
            if checkpoint.should_stop():
                raise Stopped("stopped during an evaluation, as asked; it will be done again")
        result = means.over_all_ranks()
        hooks.call("on_test_end", result)
        return result

    @torch.no_grad()
    def predict(self, data: Iterable[Any], hooks: CallbackList) -> Any:
        """See `Trainer.predict`."""
        predictions = Predictions(shared_out=isinstance(data, Loader))
        self._begin()
        hooks.call("on_predict_begin")
        for number, batch in enumerate(self._to_predict(data)):
            hooks.call("on_predict_batch_begin", number)
            inputs = batch[0] if isinstance(batch, list | tuple) else batch
            with telling({"inputs": inputs}):
                outputs = self._apply(inputs)
            predictions.add(outputs)
            reporter().beat()
            hooks.call("on_predict_batch_end", number)
        hooks.call("on_predict_end")
        return predictions.whole()

    def _apply(self, inputs: Any) -> Any:
        """Outputs; None where this rank has no inputs. As many calls on every rank, since with a sharded model each is
        collective: then a rank without inputs computes its last ones' once more, for the others' sake.
        """
        if inputs is not None:
            inputs = move(inputs, self._device)
            self._last = inputs if self._sharded else None
            return forward(self._module, inputs)
        if self._sharded:
            if self._last is None:
                raise ConfigError(
                    f"rank {context().rank} has nothing to evaluate, and with strategy='fsdp' every rank must have "
                    "some; use a larger batch_size, more data or fewer nodes"
                )
            self._module(self._last)
        return None

    def _to_predict(self, data: Iterable[Any]) -> Iterator[Any]:
        """As many batches on every rank where it matters; None where this one has no share."""
        if isinstance(data, Loader):
            return data.beginning().shares()
        return self._in_step(data)

    def _in_step(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Batches; with a sharded model, then None as long as other ranks still have some."""
        if not self._sharded:
            yield from batches
            return
        rest, gang = iter(batches), all_ranks("batches")
        while gang.maximum([(batch := next(rest, None)) is not None])[0]:
            yield batch

    def _begin(self) -> None:
        """Every rank takes rank 0's buffers (running statistics): those that checkpoints and exports hold."""
        reporter().enter("evaluating")
        self._last = None
        self._modes.evaluate()
        if dist.is_initialized():
            for buffer in self._module.buffers():
                take_mains(buffer)


def _beginning(data: Any) -> Any:
    """An evaluation sees all data, and leaves the position of a loader that is trained on as it is."""
    return data.beginning() if isinstance(data, Loader) else data
