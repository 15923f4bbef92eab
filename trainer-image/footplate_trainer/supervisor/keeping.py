"""Holds on to a trained model that storage doesn't take: nothing but the user's decision gives it up.

Keys run out, rights and buckets go, clocks and certificates are wrong for a while. All of it can be put right while the
pod still has the model; so it is tried again, and the user told what to do. Where there is a checkpoint another attempt
can come back to the end from there: then the accelerators are given back after an hour, and the run restarts.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from footplate_trainer.errors import StorageError, StorageUnavailable

T = TypeVar("T")

PATIENCE_SECONDS = 3600.0
"""How long it is tried where another attempt can come back to it."""
PAUSE_SECONDS = 5.0
"""After the first failure; twice as long after each other, up to `MAX_PAUSE_SECONDS`."""
MAX_PAUSE_SECONDS = 60.0


def keep_trying(
    publish: Callable[[], T],
    *,
    has_checkpoint: bool,
    note: Callable[[str], object],
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], object] = time.sleep,
) -> T:
    """What `publish` returns once storage takes the model.

    Raises:
        StorageUnavailable: there is a checkpoint to come back from, and it was tried for `PATIENCE_SECONDS`.
    """
    began, told, wait = clock(), "", PAUSE_SECONDS
    while True:
        try:
            return publish()
        except StorageError as error:
            if has_checkpoint and clock() - began >= PATIENCE_SECONDS:
                raise StorageUnavailable(f"{error}. The model couldn't be stored for an hour; {_LATER}") from error
            if type(error).__name__ != told:
                told = type(error).__name__
                note(f"the model is trained, and can't be stored: {error}. {_later(has_checkpoint)}")
            pause(wait)
            wait = min(2 * wait, MAX_PAUSE_SECONDS)


_LATER = "another attempt comes back to it from the last checkpoint"


def _later(has_checkpoint: bool) -> str:
    until = f"; after an hour {_LATER}" if has_checkpoint else ", until the job is suspended or deleted"
    return f"It stays on the node, and is tried again every minute{until}"
