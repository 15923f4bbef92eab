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
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from footplate_trainer import checkpoint
from footplate_trainer.callbacks import Callback, CallbackList, History
from footplate_trainer.checkpoint.names import MAIN
from footplate_trainer.data.loader import Loader
from footplate_trainer.errors import Stopped
from footplate_trainer.metrics import Means, Metric, check_metrics
from footplate_trainer.rank.context import context
from footplate_trainer.rank.devices import has_bf16
from footplate_trainer.rank.report import report, reporter
from footplate_trainer.training.batches import check_batches
from footplate_trainer.training.collected import Collected
from footplate_trainer.training.epoch_line import epoch_line, status_names, tell_end
from footplate_trainer.training.evaluator import Evaluator
from footplate_trainer.training.fit_options import FitOptions
from footplate_trainer.training.fit_state import FiniteGuard, FitState
from footplate_trainer.training.losses import BatchLoss, ClassWeights, Loss
from footplate_trainer.training.modes import Modes
from footplate_trainer.training.parts import check_steps, check_trainable, tell_of_vanished_rate
from footplate_trainer.training.prepare import Precision, Strategy, compile_model, prepare
from footplate_trainer.training.training_step import Scaler, TrainingStep

log = logging.getLogger("footplate_trainer")


class Trainer:
    """Trains, evaluates and applies a model over all ranks of the job. Making one is collective.

    Args:
        model: takes a batch's inputs [N, ...], and gives its outputs [N, ...]; each may also be a list, tuple or dict.
        loss: of outputs and targets: their mean [], a value for each sample [N], or (sum [], weight []).
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
        check_trainable(model, optimizer, scheduler)
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
        self._metrics = tuple(metrics)
        self._evaluator = Evaluator(self.module, self._modes, self._loss, self._metrics, self.device)
        self._in_epoch = False
        self._state: checkpoint.TrainState | None = None
        """Of the `fit` that is under way, or was the last."""
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

    @property
    def step(self) -> int:
        """Optimizer steps of `fit` that are finished, those of earlier attempts included."""
        return self._state.step if self._state is not None else 0

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
            train: batches (inputs [N, ...], targets [N, ...]), perhaps with a third item, the weights of the samples
                [N], from `data.loader`; N is this rank's share. Inputs and targets may be lists, tuples or dicts.
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
        state = self._state = checkpoint.restore(
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
        reporter().progress.expect(total_steps=options.total_steps(train), epochs=epochs)
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
                values = self._evaluator.evaluate(validation, hooks, validation_steps)
                logs |= {f"val_{name}": value for name, value in values.items()}
            report(step=state.step, epoch=epoch + 1, **status_names(logs))
            if context().is_main:
                scaler = self._step.scaler
                line = epoch_line(epoch, epochs, logs, self.optimizer, samples=samples, seconds=seconds, scaler=scaler)
                log.info(line)
            tell_of_vanished_rate(self.optimizer, self.scheduler, epoch=epoch, epochs=epochs)
            hooks.call("on_epoch_end", epoch, logs)
        if checkpoint.settle(state) is checkpoint.STOP:
            raise Stopped(f"stopped after step {state.step}, as asked")
        hooks.call("on_train_end", logs)
        tell_end(hooks, history)
        checkpoint.finish()
        return history

    def evaluate(
        self, data: Iterable[Any], *, callbacks: Sequence[Callback] = (), collect: Collected | None = None
    ) -> dict[str, float]:
        """Loss and metrics over all batches of all ranks, which are as those of `fit`. Collective. `collect` takes in
        what the model gave, for more than means.

        Raises:
            ConfigError: the data hands out samples, not batches.
            Stopped: the job was asked to stop.
        """
        check_batches(data, "evaluate")
        with self._aside():
            return self._evaluator.evaluate(data, CallbackList(callbacks, self), collect=collect)

    def predict(self, data: Iterable[Any], *, callbacks: Sequence[Callback] = ()) -> Any:
        """Outputs for all batches, one under the other, on every rank, in host memory: a tensor [N, ...], or a list or
        dict of such. Collective.

        A batch is its inputs, a tensor [N, ...], or a list or tuple whose first item they are. Of a `data.loader` each
        rank computes its share; rows are in the loader's order, which is the data's own with shuffle=False.

        Raises:
            ConfigError: there are no batches, or the data hands out samples.
            UserError: the outputs have no row for each sample.
        """
        check_batches(data, "predict")
        with self._aside():
            return self._evaluator.predict(data, CallbackList(callbacks, self))

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
        self._in_epoch = True
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
            # Of an epoch's last step its mean is told: trackers take one value of a step, and the first.
            report(step=state.step, loss=None if train.epoch_ended else loss)
            hooks.call("on_train_batch_end", number, means)
            if checkpoint.maybe_save(state) is checkpoint.STOP:
                raise Stopped(f"stopped after step {state.step}, as asked")
            if self.stop_training:
                break
        self._in_epoch = False

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """What a callback evaluates between two batches: the rest of the epoch is trained as before, with dropout and
        all else.
        """
        modes = {module: module.training for module in self.module.modules()} if self._in_epoch else {}
        yield
        for module, training in modes.items():
            module.training = training


def _default_precision(device: torch.device) -> Precision:
    return "bf16" if has_bf16(device) else "fp32"
