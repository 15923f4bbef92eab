"""`Trainer`: fit, evaluate and predict, in a loop that a reader holds in the head.

One batch of the loader is one optimizer step, whose gradient is the mean over every sample that all ranks were handed,
however unevenly. An interrupted `fit` that is called again, on the same data, goes on from the newest checkpoint as if
it had never stopped: its epochs' means and its history are part of the checkpoint.

Nothing here waits for the device between two steps, but once in a while on an accelerator, to see whether the loss is
still a number (`FiniteGuard`).
"""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from pydantic.alias_generators import to_camel
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from footplate_trainer import checkpoint
from footplate_trainer.callbacks import Callback, CallbackList, History
from footplate_trainer.checkpoint.names import MAIN
from footplate_trainer.checkpoint.sharded import is_sharded
from footplate_trainer.data.loader import Loader
from footplate_trainer.errors import ConfigError, Stopped
from footplate_trainer.metrics import Means, Metric, check_metrics
from footplate_trainer.models.tensors import take_mains
from footplate_trainer.rank.context import context
from footplate_trainer.rank.devices import has_bf16
from footplate_trainer.rank.gang import all_ranks
from footplate_trainer.rank.report import report, reporter
from footplate_trainer.training.batches import batch_size, check_batches, move, telling, unpack
from footplate_trainer.training.epoch_line import epoch_line
from footplate_trainer.training.fit_options import FitOptions
from footplate_trainer.training.fit_state import FiniteGuard, FitState
from footplate_trainer.training.losses import BatchLoss, ClassWeights, Loss
from footplate_trainer.training.modes import Modes
from footplate_trainer.training.parts import check_parts, check_steps, tell_of_vanished_rate
from footplate_trainer.training.predictions import Predictions
from footplate_trainer.training.prepare import Precision, Strategy, compile_model, prepare
from footplate_trainer.training.training_step import Scaler, TrainingStep, forward

log = logging.getLogger("footplate_trainer")


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
        clip_norm: greatest norm of the gradient, all parameters together; a longer one is shortened to it.
        ddp_options, sync_batch_norm, activation_checkpointing: see `prepare`.

    Raises:
        ConfigError: these don't fit each other, or an argument has no such value.
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
        clip_norm: float | None = None,
        ddp_options: Mapping[str, Any] | None = None,
        sync_batch_norm: bool = False,
        activation_checkpointing: str | Sequence[str] = (),
    ) -> None:
        check_parts(model, optimizer, scheduler)
        check_metrics(metrics)
        self.device = context().device
        self.module = model.module if isinstance(model, DistributedDataParallel) else model
        """The model itself, without what makes it work on several ranks."""
        self._modes = Modes(self.module)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.stop_training = False
        """A callback sets it, alike on all ranks, to end `fit` after the batch or epoch in hand."""
        precision = precision or _default_precision(self.device)
        self._loss = BatchLoss(loss)
        self._model: nn.Module = prepare(
            model,
            optimizer,
            strategy=strategy,
            precision=precision,
            ddp_options=ddp_options,
            sync_batch_norm=sync_batch_norm,
            activation_checkpointing=activation_checkpointing,
        )[0]
        self._sharded = is_sharded(model)
        if compile:
            compile_model(self.module)
        self._step = TrainingStep(
            self._model,
            self._loss,
            optimizer,
            device=self.device,
            accumulate=accumulate,
            clip_norm=clip_norm,
            scaler=Scaler(self.device) if precision == "fp16" else None,
        )
        self._metrics = tuple(metrics)
        self._evaluated: Any = None
        """This evaluation's last inputs, of a sharded model."""

    def fit(
        self,
        train: Loader,
        *,
        validation: Iterable[Any] | None = None,
        epochs: int = 1,
        callbacks: Sequence[Callback] = (),
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        class_weight: Mapping[int, float] | None = None,
        validation_steps: int | None = None,
        validation_freq: int | Collection[int] = 1,
        name: str = MAIN,
        init: bool | None = None,
    ) -> History:
        """Trains until `epochs` epochs are done, those of earlier attempts included. Collective.

        Args:
            train: batches (inputs, targets) or (inputs, targets, sample weights) from `data.loader`.
            validation: batches to evaluate after each epoch, as many on every rank.
            epochs: number of the last epoch, from 1.
            callbacks: called in their order, before the history's own.
            initial_epoch: number of the first epoch, from 0; the earlier ones count as done.
            steps_per_epoch: batches of an epoch, which goes on in the data where the one before has ended, and begins
                them anew where they end; None: an epoch is a pass over the data.
            class_weight: weight of each class's samples in training; 1 for classes that it doesn't name.
            validation_steps: batches of an evaluation; None: all.
            validation_freq: evaluates after every so many epochs, or after these, counted from 1.
            name, init: the training's, as in `checkpoint.restore`.

        Returns:
            The logs of every epoch, those of earlier attempts included.

        Raises:
            ConfigError: `train` isn't from `data.loader`, or has epochs of its own; or this is a second training of
                that name.
            UserError: the loss or the weights are no longer finite numbers, or a batch isn't (inputs, targets).
            Stopped: the job was asked to stop; what could be saved is saved.
        """
        options = FitOptions(
            epochs=epochs,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_freq=validation_freq,
        )
        options.begin(train)
        if train.batches is not None:
            check_steps(self.scheduler, (epochs - train.epoch) * train.batches)
        if validation is not None:
            check_batches(validation, "fit(validation)", again=True)
        class_weights = ClassWeights(class_weight, self.device) if class_weight is not None else None
        history = History()
        hooks = CallbackList(callbacks, self, history)
        means = Means(self._metrics, self.device)
        guard = FiniteGuard(self.module, self.optimizer, self.device, ends=not hooks.end_on_nan)
        self.stop_training = False
        hooks.call("on_train_begin")
        state = checkpoint.restore(
            model=self._model,
            optimizer=self.optimizer,
            loader=train,
            name=name,
            init=init,
            fit=FitState(means, history, guard, hooks),
            **({"scheduler": self.scheduler} if self.scheduler else {}),
            **({"scaler": self._step.scaler} if self._step.scaler else {}),
        )
        state.epochs = epochs
        reporter().expect(total_steps=options.total_steps(train), epochs=epochs)
        logs: dict[str, float] = {}
        # A stop in mid-epoch that was restored still ends its epoch: the validation, the logs.
        while train.epoch < epochs and not (self.stop_training and (train.batch == 0 or train.epoch in history.epoch)):
            epoch, cut_short = train.epoch, self.stop_training
            hooks.call("on_epoch_begin", epoch)
            began, samples = time.monotonic(), train.samples_handed
            if not cut_short:
                self._train_epoch(train, state, means, guard, hooks, class_weights)
            guard.check()
            samples, seconds = train.samples_handed - samples, time.monotonic() - began
            logs = means.over_all_ranks()
            means.reset()
            if validation is not None and options.validates_after(epoch):
                values = self._evaluate(validation, hooks, validation_steps)
                logs |= {f"val_{name}": value for name, value in values.items()}
            report(step=state.step, epoch=epoch + 1, **status_names(logs))
            if context().is_main:
                scaler = self._step.scaler
                line = epoch_line(epoch, epochs, logs, self.optimizer, samples=samples, seconds=seconds, scaler=scaler)
                log.info(line)
            tell_of_vanished_rate(self.optimizer, self.scheduler, epoch=epoch, epochs=epochs)
            hooks.call("on_epoch_end", epoch, logs)
        hooks.call("on_train_end", logs)
        checkpoint.finish()
        return history

    def evaluate(self, data: Iterable[Any], *, callbacks: Sequence[Callback] = ()) -> dict[str, float]:
        """Loss and metrics over all batches (inputs, targets) of all ranks. Collective.

        Raises:
            ConfigError: the data hands out samples, not batches.
            Stopped: the job was asked to stop.
        """
        check_batches(data, "evaluate")
        return self._evaluate(data, CallbackList(callbacks, self))

    @torch.no_grad()
    def predict(self, data: Iterable[Any], *, callbacks: Sequence[Callback] = ()) -> Any:
        """Outputs for all batches, one under the other, on every rank, in host memory: a tensor [N, ...], or a list or
        dict of such. Collective.

        A batch is a tensor, or a list or tuple whose first item is the inputs. Of a `data.loader` each rank computes
        its share; rows are in the loader's order, which is the data's own with shuffle=False.

        Raises:
            ConfigError: there are no batches, or the data hands out samples.
            UserError: the outputs have no row for each sample.
        """
        check_batches(data, "predict")
        hooks = CallbackList(callbacks, self)
        predictions = Predictions(shared_out=isinstance(data, Loader))
        self._start_evaluating()
        hooks.call("on_predict_begin")
        for number, batch in enumerate(self._to_predict(data)):
            hooks.call("on_predict_batch_begin", number)
            inputs = batch[0] if isinstance(batch, list | tuple) else batch
            with telling({"inputs": inputs}):
                outputs = self._evaluate_batch(inputs)
            predictions.add(outputs)
            reporter().beat()
            hooks.call("on_predict_batch_end", number)
        hooks.call("on_predict_end")
        return predictions.whole()

    def _to_predict(self, data: Iterable[Any]) -> Iterator[Any]:
        """As many batches on every rank where it matters; None where this one has no share."""
        if isinstance(data, Loader):
            return data.beginning().shares()
        return self._in_step(data)

    def _train_epoch(
        self,
        train: Loader,
        state: checkpoint.TrainState,
        means: Means,
        guard: FiniteGuard,
        hooks: CallbackList,
        class_weights: ClassWeights | None,
    ) -> None:
        reporter().enter("training")
        self._modes.train()
        handed = train.samples_handed
        for batch in train:
            number = train.batch - 1
            hooks.call("on_train_batch_begin", number)
            global_size, handed = train.samples_handed - handed, train.samples_handed
            size = train.samples_in_hand
            loss = self._step(batch, size=size, global_size=global_size, means=means, class_weights=class_weights)
            if self.scheduler and self._step.applied:
                self.scheduler.step()
            state.step += 1
            guard.watch(state.step, loss)
            report(step=state.step, loss=loss)
            hooks.call("on_train_batch_end", number, means)
            if checkpoint.maybe_save(state) is checkpoint.STOP:
                raise Stopped(f"stopped after step {state.step}, as asked")
            if self.stop_training:
                break

    @torch.no_grad()
    def _evaluate(self, data: Iterable[Any], hooks: CallbackList, steps: int | None = None) -> dict[str, float]:
        self._start_evaluating()
        means = Means(self._metrics, self.device)
        hooks.call("on_test_begin")
        data = _beginning(data)
        # A batch smaller than the gang leaves ranks without a share of it: they still ask whether to stop.
        shares = data.shares() if isinstance(data, Loader) else data
        for number, batch in enumerate(islice(shares, steps)):
            hooks.call("on_test_batch_begin", number)
            if batch is None:
                self._evaluate_batch(None)
            else:
                inputs, targets, weights = move(unpack(batch), self.device)
                size = data.samples_in_hand if isinstance(data, Loader) else batch_size(inputs, targets)
                there = {"inputs": inputs, "targets": targets}
                with telling(there):
                    outputs = there["outputs"] = self._evaluate_batch(inputs)
                    self._loss.check(outputs, batch[1])
                    scored = self._loss(outputs, targets, weights, size=size)
                means.add(scored.value, outputs, targets, size=size, weight=scored.weight)
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
            return forward(self.module, inputs)
        if self._sharded:
            if self._evaluated is None:
                raise ConfigError(
                    f"rank {context().rank} has nothing to evaluate, and with strategy='fsdp' every rank must have "
                    "some; use a larger batch_size, more data or fewer nodes"
                )
            forward(self.module, self._evaluated)
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
        self._modes.evaluate()
        if dist.is_initialized():
            for buffer in self.module.buffers():
                take_mains(buffer)


def _beginning(data: Any) -> Any:
    """An evaluation sees all data, and leaves the position of a loader that is trained on as it is."""
    return data.beginning() if isinstance(data, Loader) else data


def _default_precision(device: torch.device) -> Precision:
    return "bf16" if has_bf16(device) else "fp32"


def status_names(logs: Mapping[str, float], *, prefix: str = "") -> dict[str, Any]:
    """Logs by the names that a job's status shows: val_accuracy becomes valAccuracy."""
    return {to_camel(prefix + name): value for name, value in logs.items()}
