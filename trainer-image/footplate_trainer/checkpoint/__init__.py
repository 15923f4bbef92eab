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
other's; a new run, or another job of the same name, starts from the beginning, unless `checkpoint.resume` names a
checkpoint's URI. With `resume: never` each attempt starts from the beginning.
"""

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class Outcome(Enum):
    """What `maybe_save` did, and what the loop must do."""

    CONTINUE = "continue"
    SAVED = "saved"
    """This step's state is captured, and is written in the background."""
    STOP = "stop"
    """Leave the loop and return: what could be saved is saved."""


CONTINUE, SAVED, STOP = Outcome.CONTINUE, Outcome.SAVED, Outcome.STOP


class TrainState:
    """How far training is, and the objects that make up its state.

    step: optimizer steps finished; the loop adds 1 after each `optimizer.step()`.
    epoch: the loader's epoch (0-based, the one whose batches it hands out); without a loader the loop's own counter.
    """

    step: int
    epoch: int


def restore(
    *, model: "nn.Module", optimizer: "Optimizer | None" = None, scheduler: Any = None, loader: Any = None, **others: Any
) -> TrainState:
    """Loads the newest complete checkpoint of this run into the objects, or leaves them as they are.

    Args:
        model: plain, compiled or wrapped by `prepare`; saved under its own names, without the wrapper's prefix.
        optimizer, scheduler, loader, others: anything with `state_dict` and `load_state_dict` whose state is made of
            tensors, numbers, text, bytes, lists, tuples and dicts, and is the same on every rank.

    Raises:
        DataError: `checkpoint.resume` names a checkpoint that is missing, incomplete or damaged.
        ConfigError: the model or another object doesn't fit the checkpoint; names and shapes are in the message.
        StorageError: storage can't be asked.
    """
    raise NotImplementedError


def maybe_save(state: TrainState) -> Outcome:
    """Saves if a checkpoint is due (interval, end of an epoch) or the job was asked to stop.

    Call it after each optimizer step, with `state.step` counted up: a call with an unchanged step does nothing (in the
    middle of gradient accumulation there is nothing whole to save). Costs about a microsecond, and about once a second
    one small all-reduce. A save that fails is noted and tried again; training goes on.
    """
    raise NotImplementedError


def save(state: TrainState) -> Outcome:
    """Saves now and waits until the checkpoint is complete.

    Raises:
        StorageError: it could not be written.
    """
    raise NotImplementedError


def should_stop() -> bool:
    """True, on all ranks at the same call, once the job was asked to stop: for long work between steps (evaluation).

    Saves nothing. Asks the other ranks about once a second.
    """
    raise NotImplementedError


def finish() -> None:
    """Waits until a save in the background is complete; a failure of it is noted. Called for you at the end."""
    raise NotImplementedError
