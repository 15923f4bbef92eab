"""Whether model, optimizer and scheduler belong together, asked before training: else it would learn nothing, or what
no checkpoint holds.
"""

from typing import Any

from torch import nn
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from footplate_trainer.checkpoint.sharded import is_sharded, weights_of
from footplate_trainer.errors import ConfigError
from footplate_trainer.rank.report import reporter

VANISHED = 1e-4
"""Share of the first learning rate that is next to none."""


def check_trainable(model: Any, optimizer: Any, scheduler: Any) -> None:
    """Refuses what can't be trained.

    Raises:
        ConfigError: the model has nothing to train; the optimizer has other parameters than the model's, or needs what
            `Trainer` doesn't do; the scheduler is another optimizer's, or needs a value.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(f"Trainer(model): a {type(model).__name__} is no torch.nn.Module; give one, not its class")
    if not isinstance(optimizer, Optimizer):
        raise ConfigError(
            f"Trainer(optimizer): a {type(optimizer).__name__} is no torch.optim.Optimizer; make one of the model's "
            "parameters, such as torch.optim.AdamW(model.parameters(), lr=0.001)"
        )
    _check_optimizer(model, optimizer)
    if isinstance(scheduler, ReduceLROnPlateau):
        raise ConfigError(
            "Trainer(scheduler=ReduceLROnPlateau): a scheduler is stepped after every optimizer step, and this one "
            "looks at an epoch's value; give the callback of that name instead: fit(…, callbacks=[footplate_trainer."
            "callbacks.ReduceLROnPlateau(monitor='val_loss', factor=0.1, patience=10)])"
        )
    if scheduler is not None and (isinstance(scheduler, type) or not callable(getattr(scheduler, "step", None))):
        raise ConfigError(
            f"Trainer(scheduler={scheduler!r}): it must be an object that is stepped, such as "
            "torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps); several are one by SequentialLR; a "
            "function of the epoch is for the callback LearningRateScheduler"
        )
    if scheduler is not None and getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ConfigError(
            f"Trainer(scheduler={type(scheduler).__name__}): it sets the learning rate of another optimizer than the "
            f"{type(optimizer).__name__} given here; make it of this one"
        )


def check_steps(scheduler: Any, steps: int) -> None:
    """Refuses a scheduler that would raise in the middle of so many more steps.

    Raises:
        ConfigError: it was made for fewer steps.
    """
    if isinstance(scheduler, OneCycleLR) and scheduler.total_steps < scheduler.last_epoch + steps:
        raise ConfigError(
            f"Trainer(scheduler=OneCycleLR): it was made for {scheduler.total_steps} steps, and fit makes "
            f"{scheduler.last_epoch + steps} of them, one a batch; make it with total_steps=epochs * len(train)"
        )


def tell_of_vanished_rate(optimizer: Optimizer, scheduler: Any, *, epoch: int, epochs: int) -> None:
    """Says, in the first half of a training, that a scheduler has left nothing of the learning rate: mostly one that is
    meant to be stepped after every epoch.
    """
    if scheduler is None or 2 * (epoch + 1) > epochs:
        return
    if all(float(group["lr"]) < VANISHED * float(group.get("initial_lr", 0)) for group in optimizer.param_groups):
        reporter().note(
            f"the scheduler {type(scheduler).__name__} has left less than {VANISHED:g} of the learning rate before "
            "half of the epochs are done, so hardly anything is learnt any more. Trainer steps it after every "
            "optimizer step: multiply numbers of epochs (step_size, milestones, T_max) by len(train), or use "
            "callbacks.LearningRateScheduler, which goes by epochs"
        )


def _check_optimizer(model: nn.Module, optimizer: Optimizer) -> None:
    kind = type(optimizer).__name__
    if isinstance(optimizer, LBFGS):
        raise ConfigError(
            "Trainer(optimizer=LBFGS): it computes the loss several times a step, which Trainer doesn't; write a loop "
            "of your own with prepare and checkpoint, or take another optimizer"
        )
    parameters = dict(model.named_parameters())
    if not any(parameter.requires_grad for parameter in parameters.values()):
        what = "only frozen parameters (requires_grad=False)" if parameters else "no parameters"
        raise ConfigError(f"Trainer(model={type(model).__name__}): it has {what}, so there is nothing to train")
    known = {id(parameter) for parameter in parameters.values()}
    held = weights_of(optimizer)
    foreign = [parameter for parameter in held if id(parameter) not in known]
    if not foreign or is_sharded(model):  # of sharded models `checkpoint.restore` knows more to say
        return
    if len(foreign) == len(held):
        raise ConfigError(
            f"Trainer(optimizer={kind}): it has none of the model's parameters, so the model would never change; make "
            "it of model.parameters(), after the model is complete and, where it is moved or cast, after that"
        )
    shapes = ", ".join(str(list(parameter.shape)) for parameter in foreign[:4])
    raise ConfigError(
        f"Trainer(optimizer={kind}): {len(foreign)} of its {len(held)} parameters are no part of the model ({shapes}), "
        "so no checkpoint would hold them, and ranks would not share their gradients. Make them part of the model, as "
        "attributes of it, or leave them out of the optimizer"
    )
