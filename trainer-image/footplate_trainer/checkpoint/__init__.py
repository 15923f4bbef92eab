"""Save and restore training state, so that a run killed anywhere ends as if it never was.

    state = checkpoint.restore(model=model, optimizer=optimizer, scheduler=scheduler, loader=loader)
    for batch in loader:
        ...
        state.step += 1
        if checkpoint.maybe_save(state) is checkpoint.STOP:
            break

All functions here are collective: every rank calls them at the same points. Call `restore` last, right before the
loop: it also sets the random number generators. Where the job has no checkpoint block they still work: the state is
fresh, nothing is saved, and STOP comes when the job is asked to stop.

Checkpoints lie in `<checkpoint.uri>/<job>/run-<n>-<uid>/step-<8 digits>/`, and one is complete when its
`manifest.json` is there. Attempts of one run (restarts, suspend and resume, elastic resizes) continue from each
other's. A new run goes on from the newest of the job's earlier runs, back to one that succeeded; with `resume: run` it
starts from the beginning, and with a checkpoint's URI from that. Another job of the same name shares nothing. With
`resume: never` each attempt starts from the beginning.
"""

from typing import TYPE_CHECKING, Any

from footplate_trainer.checkpoint import sharded
from footplate_trainer.checkpoint.session import Outcome, Session
from footplate_trainer.checkpoint.state import TrainState, unwrap
from footplate_trainer.data import Loader
from footplate_trainer.errors import ConfigError
from footplate_trainer.rank.context import context
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

_session: Session | None = None
_training: tuple[Any, ...] = ()
"""Model, optimizer and loader of this process's training, once it has a place for checkpoints."""


def restore(
    *,
    model: "nn.Module",
    optimizer: "Optimizer | None" = None,
    scheduler: Any = None,
    loader: Any = None,
    **others: Any,
) -> TrainState:
    """Loads the newest complete checkpoint into the objects, or leaves them as they are.

    A run has one training. A second call, as by a second `fit`, may go on with the same model, optimizer and loader;
    with others it is refused where the job has checkpoints, since it would load the first training's.

    Args:
        model: plain, compiled or wrapped by `prepare`; saved under its own names, without the wrapper's prefix.
        optimizer, scheduler, loader, others: anything with `state_dict` and `load_state_dict` whose state is made of
            tensors, numbers, text, bytes, lists, tuples and dicts. Every rank is asked for it; rank 0's is saved.
            A `data.loader` also tells where epochs end, and how far training is.

    Raises:
        DataError: `checkpoint.resume` names a checkpoint that is missing, incomplete or damaged.
        ConfigError: the model or another object doesn't fit the checkpoint; names and shapes are in the message. Or
            this is a second training.
        StorageError: storage can't be asked.
    """
    global _session, _training
    finish()
    sharded.check(model, optimizer)
    place = context()
    training = (unwrap(model), optimizer, loader)
    _refuse_another(training)
    _session = Session(place)
    candidates = {"model": training[0], "optimizer": optimizer, "scheduler": scheduler, "loader": loader, **others}
    parts = {name: part for name, part in candidates.items() if part is not None}
    state = TrainState(_session, parts, loader if isinstance(loader, Loader) else None)
    if isinstance(loader, Loader):
        reporter().follow(loader)
    _session.restore(state)
    if place.checkpoint is not None:
        _training = training
    return state


def _refuse_another(training: tuple[Any, ...]) -> None:
    names = ("model", "optimizer", "loader")
    others = [name for name, old, new in zip(names, _training, training, strict=False) if old is not new]
    if others:
        raise ConfigError(
            f"a second training in one job, with another {' and another '.join(others)} than the first: the job's "
            "checkpoints are the first training's, and would be loaded in place of the second's own beginning. Give "
            "each training a job of its own (its number, such as a fold's, as one of spec.hyperparameters), or leave "
            "out spec.checkpoint, so that nothing is saved or loaded; to go on with the first training, call fit or "
            "checkpoint.restore with the same model, optimizer and loader"
        )


def maybe_save(state: TrainState) -> Outcome:
    """Saves if a checkpoint is due (interval, end of an epoch) or the job was asked to stop.

    Call it after each optimizer step, with `state.step` counted up: a call with an unchanged step does nothing (in the
    middle of gradient accumulation there is nothing whole to save). Costs about a microsecond, and about once a second
    one small all-reduce. A save that fails is noted and tried again; training goes on.
    """
    return state.session.maybe_save(state)


def save(state: TrainState) -> Outcome:
    """Saves now and waits until the checkpoint is complete.

    Raises:
        StorageError: it could not be written.
    """
    return state.session.save(state)


def should_stop() -> bool:
    """True, on all ranks at the same call, once the job was asked to stop: for long work between steps (evaluation).

    Saves nothing, and isn't true while the last step is neither saved nor being saved. Asks the other ranks about once
    a second.
    """
    return _session is not None and _session.should_stop()


def finish() -> None:
    """Waits until a save in the background is complete; a failure of it is noted. Called for you at the end."""
    if _session is not None:
        _session.finish()


def conclude() -> None:
    """Waits for the last save, and tries again where it failed. Called for you when the program has ended.

    Raises:
        TrainerError: it failed for good, and the job has no output: its checkpoints are its result.
    """
    if _session is not None:
        _session.conclude()


def stopped() -> bool:
    """True once the ranks have agreed to stop, here or in `maybe_save`."""
    return _session is not None and _session.stopped
