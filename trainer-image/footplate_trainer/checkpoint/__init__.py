"""Save and restore training state, so that a run killed anywhere ends as if it never was.

    state = checkpoint.restore(model=model, optimizer=optimizer, scheduler=scheduler, loader=loader)
    for batch in loader:
        ...
        state.step += 1
        if checkpoint.maybe_save(state) is checkpoint.STOP:
            break

All functions here are collective: every rank calls them at the same points. Call `restore` last, right before the
loop: it also sets the random number generators. A program may have several trainings, each with a name and checkpoints
of its own (`trainings`). Where the job has no checkpoint block they still work: the state is
fresh, nothing is saved, and STOP comes when the job is asked to stop.

Checkpoints lie in `<checkpoint.uri>/<job>/run-<n>-<uid>/step-<8 digits>/`, and one is complete when its
`manifest.json` is there; those of a training with a name in `trainings/<name>/step-…` of that folder. Attempts of one
run (restarts, suspend and resume, elastic resizes) continue from each other's: from everything that was saved. A new
run goes on from the newest of the job's earlier runs, back to one that succeeded; with `resume: run` it starts from the
beginning. Another job of the same name shares nothing. With `resume: never` each attempt starts from the beginning.
Where a training has nothing to continue from, `checkpoint.initFrom` gives it its first weights, and those alone.
"""

from typing import TYPE_CHECKING, Any

from footplate_trainer.checkpoint import sharded
from footplate_trainer.checkpoint.names import MAIN, check_name, check_part_names
from footplate_trainer.checkpoint.session import Outcome, Session
from footplate_trainer.checkpoint.state import TrainState, check_parts, check_states, unwrap
from footplate_trainer.checkpoint.trainings import Trainings
from footplate_trainer.data.loader import Loader
from footplate_trainer.errors import ConfigError
from footplate_trainer.rank.context import context
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

__all__ = [
    "CONTINUE",
    "SAVED",
    "STOP",
    "Outcome",
    "TrainState",
    "finish",
    "maybe_save",
    "restore",
    "save",
    "should_stop",
    "stopped",
]

CONTINUE, SAVED, STOP = Outcome.CONTINUE, Outcome.SAVED, Outcome.STOP

_trainings = Trainings()


def restore(
    *,
    model: "nn.Module",
    optimizer: "Optimizer | None" = None,
    scheduler: Any = None,
    loader: Any = None,
    name: str = MAIN,
    init: bool | None = None,
    **others: Any,
) -> TrainState:
    """Loads the training's newest complete checkpoint into the objects, or leaves them as they are.

    A second call with a name may go on with the same model, optimizer and loader; with others it is refused where the
    job has checkpoints, since it would load the first training's.

    Args:
        model: plain, compiled or wrapped by `prepare`; saved under its own names, without the wrapper's prefix.
        optimizer, scheduler, loader, others: anything with `state_dict` and `load_state_dict` whose state is made of
            tensors, numbers, text, bytes, lists, tuples and dicts. Every rank is asked for it; rank 0's is saved.
            A `data.loader` also tells where epochs end, and how far training is.
        name: the training's, such as `fold-0`; each has checkpoints of its own.
        init: whether it begins with the weights that `checkpoint.initFrom` names, where the job does and there is no
            checkpoint yet. `main` does; of others it must be said.

    Raises:
        DataError: what `checkpoint.initFrom` names is missing, incomplete or damaged; or all checkpoints are.
        ConfigError: the model or another object doesn't fit the checkpoint; names and shapes are in the message. Or
            an object can't be saved; or this is a second training of that name.
        StorageError: storage can't be asked.
    """
    check_name(name)
    check_part_names(others)
    sharded.check(model, optimizer)
    ctx = context()
    init_from = _init_from(ctx, name, init)
    objects = (unwrap(model), optimizer, loader)
    candidates = {"model": objects[0], "optimizer": optimizer, "scheduler": scheduler, "loader": loader, **others}
    parts = {part: value for part, value in candidates.items() if value is not None}
    check_parts(parts)
    follows = loader if isinstance(loader, Loader) else None
    state = TrainState(parts, follows, name=name)
    _trainings.restore(state, Session(ctx, name=name), objects, init_from=init_from)
    check_states(parts)
    if follows is not None:
        reporter().progress.follow(follows)
        if state.step:
            reporter().flush()  # the step that it goes on from was told before the loader was there to give a percent
    return state


def _init_from(ctx: Context, name: str, init: bool | None) -> str | None:
    uri = ctx.checkpoint.init_from if ctx.checkpoint is not None else None
    if uri is not None and init is None and name != MAIN:
        raise ConfigError(
            f"spec.checkpoint.initFrom is set, and the training {name!r} doesn't say whether it begins with those "
            "weights: give fit or checkpoint.restore init=True or init=False"
        )
    return None if init is False else uri


def maybe_save(state: TrainState, *others: TrainState) -> Outcome:
    """Saves if a checkpoint is due (interval, end of an epoch) or the job was asked to stop.

    Trainings that take turns in one loop are given to one call, at the end of a turn: they are saved at one moment, and
    go on from one. Their steps are counted together.

    Call it after each optimizer step, with `state.step` counted up: a call with an unchanged step does nothing (in the
    middle of gradient accumulation there is nothing whole to save). Costs about a microsecond, and about once a second
    one small all-reduce. A save that fails is noted and tried again; training goes on.
    """
    return _trainings.session_of((state, *others)).maybe_save(state, *others)


def save(state: TrainState, *others: TrainState) -> Outcome:
    """Saves now and waits until the checkpoint is complete.

    Raises:
        StorageError: it could not be written.
    """
    return _trainings.session_of((state, *others)).save(state, *others)


def should_stop() -> bool:
    """True, on all ranks at the same call, once the job was asked to stop: for long work between steps (evaluation).

    Saves nothing, and isn't true while the last step is neither saved nor being saved. Asks the other ranks about once
    a second.
    """
    return _trainings.should_stop()


def finish() -> None:
    """Waits until a save in the background is complete; a failure of it is noted. Called for you at the end."""
    _trainings.finish()


def settle(state: TrainState) -> Outcome:
    """Captures what has waited for an earlier save, before the objects are changed without training; STOP where the job
    was asked to stop meanwhile. `Trainer.fit` calls it where a callback has ended training.
    """
    return _trainings.session_of((state,)).settle(state)


def conclude() -> None:
    """Waits for the last save, and tries again where it failed. Called for you when the program has ended.

    Raises:
        TrainerError: it failed for good, and the job has no output: its checkpoints are its result.
    """
    _trainings.conclude()


def stopped() -> bool:
    """True once the ranks have agreed to stop, here or in `maybe_save`."""
    return _trainings.stopped()
