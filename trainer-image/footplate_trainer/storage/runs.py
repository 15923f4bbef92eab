"""Where a run's checkpoints lie in storage, and the mark that it has come to its end."""

from footplate.contract import UID_DIGITS
from footplate_trainer.storage.store import Store

FINISHED = "finished"
"""An object beside the checkpoints of a run that succeeded: the next run of its job begins anew."""
OUTAGE_SECONDS = 10.0
"""Accelerators are idle meanwhile."""


def checkpoints_uri(uri: str, *, job: str, run: int, uid: str) -> str:
    """The folder of a run's checkpoints. The job's UID is in it: another job of this name shares nothing with it."""
    folder = f"{uri.rstrip('/')}/{job}/run-{run}"
    return f"{folder}-{uid[:UID_DIGITS]}" if uid else folder


def mark_finished(folder: str, *, endpoint: str | None) -> None:
    """Says that the run with this folder of checkpoints has succeeded.

    Raises:
        StorageError: it could not be said.
    """
    Store.open(folder, endpoint=endpoint, outage_seconds=OUTAGE_SECONDS).put(FINISHED, b"")
