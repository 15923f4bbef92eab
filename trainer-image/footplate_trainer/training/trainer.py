"""`Trainer`: fit, evaluate and predict, in a loop that a reader holds in the head.

One batch of the loader is one optimizer step, whose gradient is the mean over every sample that all ranks were handed,
however unevenly. An interrupted `fit` that is called again, on the same data, goes on from the newest checkpoint as if
it had never stopped: its epochs' means and its history are part of the checkpoint.

Nothing here waits for the device between two steps, but once in a while on an accelerator, to see whether the loss is
still a number (`FiniteGuard`).
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import zip_longest
from typing import Any, Protocol

import torch
import torch.distributed as dist
from pydantic.alias_generators import to_camel
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from footplate_trainer import checkpoint
from footplate_trainer.callbacks import Callback, CallbackList, History
from footplate_trainer.checkpoint.sharded import is_sharded
from footplate_trainer.data import Loader
from footplate_trainer.errors import ConfigError, Stopped
from footplate_trainer.metrics import Means, Metric
from footplate_trainer.rank.context import context
from footplate_trainer.rank.gang import all_ranks
from footplate_trainer.rank.report import report, reporter
from footplate_trainer.training.batches import batch_size, move, pair, split
from footplate_trainer.training.epoch_line import epoch_line
from footplate_trainer.training.fit_state import FiniteGuard, FitState
from footplate_trainer.training.prepare import Precision, Strategy, compile_model, prepare

log = logging.getLogger("footplate_trainer")

Loss = Callable[[Any, Any], Tensor]
"""(outputs [N, ...], targets [N, ...], or what the batch has in their places) → the mean over the N samples."""


class Batches(Protocol):
    """A `data.Loader`, a DataLoader, a list: batches, and how many there are."""

    def __iter__(self) -> Iterator[Any]:
        """The batches."""
        ...

    def __len__(self) -> int:
        """Their number, the same on every rank."""
        ...


class Trainer:
    """Trains, evaluates and applies a model over all ranks of the job. Making one is collective.

    Args:
        model: takes a batch's inputs.
        loss: the mean loss of a batch.
        optimizer: of the model's parameters.
        metrics: computed besides the loss; exact over all ranks.
        scheduler: stepped after every optimizer step.
        accumulate: parts in which each rank computes its share of a batch, to save memory; the gradient is the same.
        strategy: see `prepare`; fsdp shards model and optimizer over the ranks.
        precision: default bf16 on an accelerator, fp32 elsewhere.
        compile: compiles the model with torch.compile.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        optimizer: Optimizer,
        *,
        metrics: Sequence[Metric] = (),
        scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
        accumulate: int = 1,
        strategy: Strategy = "ddp",
        precision: Precision | None = None,
        compile: bool = False,  # noqa: A002  (torch's own word for it)
    ) -> None:
        self.device = context().device
        self.module = model
        """The model itself, without what makes it work on several ranks."""
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.stop_training = False
        """A callback sets it, alike on all ranks, to end `fit` after the batch or epoch in hand."""
        precision = precision or _default_precision(self.device)
        self._model: nn.Module = prepare(model, optimizer, strategy=strategy, precision=precision)[0]
        self._sharded = is_sharded(model)
        if compile:
            compile_model(model)
        self._loss = loss
        self._metrics = tuple(metrics)
        self._accumulate = accumulate
        self._evaluated: Any = None
        """This evaluation's last inputs, of a sharded model."""

    def fit(
        self,
        train: Loader,
        *,
        validation: Batches | None = None,
        epochs: int = 1,
        callbacks: Sequence[Callback] = (),
    ) -> History:
        """Trains until `epochs` epochs are done, those of earlier attempts included. Collective.

        Args:
            train: batches (inputs, targets) from `data.loader`.
            validation: batches to evaluate after each epoch.
            epochs: passes over the data.
            callbacks: called in their order, before the history's own.

        Returns:
            The logs of every epoch, those of earlier attempts included.

        Raises:
            ConfigError: `train` isn't from `data.loader`, or has epochs of its own; or this is a second training.
            UserError: the loss or the weights are no longer finite numbers, or a batch isn't (inputs, targets).
            Stopped: the job was asked to stop; what could be saved is saved.
        """
        _check_loader(train)
        history = History()
        hooks = CallbackList([*callbacks, history], self)
        means = Means(self._metrics, self.device)
        guard = FiniteGuard(self.module, self.optimizer, self.device)
        self.stop_training = False
        hooks.call("on_train_begin")
        state = checkpoint.restore(
            model=self._model,
            optimizer=self.optimizer,
            loader=train,
            fit=FitState(means, history, guard, hooks),
            **({"scheduler": self.scheduler} if self.scheduler else {}),
        )
        state.epochs = epochs
        reporter().expect(total_steps=epochs * len(train), epochs=epochs)
        logs: dict[str, float] = {}
        # A stop in mid-epoch that was restored still ends its epoch: the validation, the logs.
        while train.epoch < epochs and not (self.stop_training and (train.index == 0 or train.epoch in history.epoch)):
            epoch, cut_short = train.epoch, self.stop_training
            hooks.call("on_epoch_begin", epoch)
            began, samples = time.monotonic(), train.samples_handed
            if not cut_short:
                self._train_epoch(train, state, means, guard, hooks)
            guard.check()
            samples, seconds = train.samples_handed - samples, time.monotonic() - began
            logs = means.over_all_ranks()
            means.reset()
            if validation is not None:
                logs |= {f"val_{name}": value for name, value in self._evaluate(validation, hooks).items()}
            report(step=state.step, epoch=epoch + 1, **status_names(logs))
            if context().is_main:
                log.info(epoch_line(epoch, epochs, logs, self.optimizer, samples=samples, seconds=seconds))
            hooks.call("on_epoch_end", epoch, logs)
        hooks.call("on_train_end", logs)
        checkpoint.finish()
        return history

    def evaluate(self, data: Batches, *, callbacks: Sequence[Callback] = ()) -> dict[str, float]:
        """Loss and metrics over all batches (inputs, targets) of all ranks. Collective.

        Raises:
            Stopped: the job was asked to stop.
        """
        return self._evaluate(data, CallbackList(callbacks, self))

    @torch.no_grad()
    def predict(self, data: Iterable[Any], *, callbacks: Sequence[Callback] = ()) -> Tensor:
        """Outputs for this rank's batches, one under the other, on the CPU. Collective.

        A batch is a tensor, or a list or tuple whose first item is the inputs.
        """
        hooks = CallbackList(callbacks, self)
        outputs = []
        self._start_evaluating()
        hooks.call("on_predict_begin")
        for number, batch in enumerate(self._in_step(_beginning(data))):
            hooks.call("on_predict_batch_begin", number)
            inputs = batch[0] if isinstance(batch, list | tuple) else batch
            if (outputs_here := self._evaluate_batch(inputs)) is not None:
                outputs.append(outputs_here.cpu())
            reporter().beat()
            hooks.call("on_predict_batch_end", number)
        hooks.call("on_predict_end")
        return torch.cat(outputs)

    def _train_epoch(
        self, train: Loader, state: checkpoint.TrainState, means: Means, guard: FiniteGuard, hooks: CallbackList
    ) -> None:
        reporter().enter("training")
        self.module.train()
        first_step, handed = train.epoch * len(train), train.samples_handed
        for batch in train:
            number = state.step - first_step
            hooks.call("on_train_batch_begin", number)
            global_size, handed = train.samples_handed - handed, train.samples_handed
            loss = self._step(batch, size=train.samples_in_hand, global_size=global_size, means=means)
            state.step += 1
            guard.watch(state.step, loss)
            report(step=state.step, loss=loss)
            hooks.call("on_train_batch_end", number, means)
            if checkpoint.maybe_save(state) is checkpoint.STOP:
                raise Stopped(f"stopped after step {state.step}, as asked")
            if self.stop_training:
                break

    def _step(self, batch: Any, *, size: int, global_size: int, means: Means) -> Tensor:
        """One optimizer step on this rank's `size` samples of `global_size`; returns their mean loss."""
        inputs, targets = move(pair(batch), self.device)
        total = torch.zeros((), device=self.device)
        # Of each batch every rank has at least this many samples; forward passes must be as many on all ranks.
        parts = list(split(inputs, targets, size, min(self._accumulate, global_size // context().world_size)))
        for place, (some_inputs, some_targets, some) in enumerate(parts, start=1):
            with nullcontext() if place == len(parts) else self._without_sync():
                outputs = _forward(self._model, some_inputs)
                loss = self._loss(outputs, some_targets)
                # DDP divides the sum over ranks by their number; this makes it the mean over the global batch.
                (loss * (some * context().world_size / global_size)).backward()
            means.add(loss, _detached(outputs), some_targets, size=some)
            total += loss.detach() * (some / size)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.scheduler:
            self.scheduler.step()
        return total

    def _without_sync(self) -> AbstractContextManager[None]:
        """Gradients stay on their rank: the last part's backward pass sends the sum of all parts'. Where they are
        sharded each part's are sent, since whole ones would take the memory that sharding saves.
        """
        return self._model.no_sync() if isinstance(self._model, DistributedDataParallel) else nullcontext()

    @torch.no_grad()
    def _evaluate(self, data: Batches, hooks: CallbackList) -> dict[str, float]:
        self._start_evaluating()
        means = Means(self._metrics, self.device)
        hooks.call("on_test_begin")
        data = _beginning(data)
        # A batch smaller than the gang leaves ranks without a share of it: they still ask whether to stop.
        for batch, number in zip_longest(data, range(len(data))):
            hooks.call("on_test_batch_begin", number)
            if batch is None:
                self._evaluate_batch(None)
            else:
                inputs, targets = move(pair(batch), self.device)
                size = data.samples_in_hand if isinstance(data, Loader) else batch_size(inputs, targets)
                outputs = self._evaluate_batch(inputs)
                means.add(self._loss(outputs, targets), outputs, targets, size=size)
            reporter().beat()
            hooks.call("on_test_batch_end", number)
            if checkpoint.should_stop():
                raise Stopped("stopped during an evaluation, as asked; it will be done again")
        result = means.over_all_ranks()
        hooks.call("on_test_end", result)
        return result

    def _evaluate_batch(self, inputs: Any) -> Any:
        """Outputs; None where this rank has no inputs. As many calls on every rank, since with a sharded model each is
        collective: then a rank without inputs computes its last ones' once more, for the others' sake.
        """
        if inputs is not None:
            inputs = move(inputs, self.device)
            self._evaluated = inputs if self._sharded else None
            return _forward(self.module, inputs)
        if self._sharded:
            if self._evaluated is None:
                raise ConfigError(
                    f"rank {context().rank} has nothing to evaluate, and with strategy='fsdp' every rank must have "
                    "some; use a larger batch_size, more data or fewer nodes"
                )
            _forward(self.module, self._evaluated)
        return None

    def _in_step(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Batches; with a sharded model, then None as long as other ranks still have some."""
        if not self._sharded:
            yield from batches
            return
        rest, gang = iter(batches), all_ranks("batches")
        while gang.maximum([(batch := next(rest, None)) is not None])[0]:
            yield batch

    def _start_evaluating(self) -> None:
        """Every rank takes rank 0's buffers (running statistics): those that checkpoints and exports hold."""
        reporter().enter("evaluating")
        self._evaluated = None
        self.module.eval()
        if dist.is_initialized():
            for buffer in self.module.buffers():
                dist.broadcast(buffer, src=0)


def _forward(model: nn.Module, inputs: Any) -> Any:
    """The model's outputs; those of bf16 autocast as float32, for the loss's sake."""
    outputs = model(inputs)
    return outputs.float() if isinstance(outputs, Tensor) and outputs.dtype == torch.bfloat16 else outputs


def _detached(outputs: Any) -> Any:
    return outputs.detach() if isinstance(outputs, Tensor) else outputs


def _check_loader(train: Any) -> None:
    if not isinstance(train, Loader):
        raise ConfigError(
            f"fit(train): a {type(train).__name__} has no position to resume at, and isn't shared among ranks; give "
            "footplate_trainer.data.loader(dataset, batch_size=…, shuffle=…, num_workers=…, collate=…), where dataset "
            "is what a DataLoader would take and batch_size counts the samples of all ranks together"
        )
    if train.epochs is not None:
        raise ConfigError(
            f"fit(train): the loader has epochs={train.epochs} of its own, so that each epoch of fit would go through "
            f"all of them; leave them out of data.loader and write fit(train, epochs={train.epochs})"
        )


def _beginning(data: Any) -> Any:
    """An evaluation sees all data, and leaves the position of a loader that is trained on as it is."""
    return data.beginning() if isinstance(data, Loader) else data


def _default_precision(device: torch.device) -> Precision:
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def status_names(logs: Mapping[str, float], *, prefix: str = "") -> dict[str, Any]:
    """Logs by the names that a job's status shows: val_accuracy becomes valAccuracy."""
    return {to_camel(prefix + name): value for name, value in logs.items()}
