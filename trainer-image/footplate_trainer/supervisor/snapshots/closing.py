"""The last snapshot of a pod, once its processes have ended."""

import asyncio
import os
from collections.abc import Callable

import structlog

from footplate_trainer.errors import Stopped, TrainerError, words_of
from footplate_trainer.supervisor.held import held_files
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.processes import end_leftovers, kill_all_children
from footplate_trainer.supervisor.snapshots.keeper import Keeper
from footplate_trainer.supervisor.stop_request import StopRequest

log = structlog.get_logger()

_NO_TIME = "there was no time left; raise runPolicy.terminationGracePeriodSeconds"


async def save_last(
    keeper: Keeper,
    keeping: asyncio.Task[None],
    pod: Pod,
    stop: StopRequest,
    *,
    whole: bool,
    done: bool,
    note: Callable[[str], object],
) -> None:
    """Saves what lies in the checkpoint folder at the end. Where that is all that a job leaves, which has come to its
    end, it must be safe.

    Args:
        keeper: it is closed.
        keeping: its `run`, which ends soon.
        pod: this one.
        stop: the request to stop, which leaves so much time.
        whole: the processes ended by themselves.
        done: with success.
        note: tells the user something.

    Raises:
        TrainerError: what must be safe isn't.
    """

    held: set[str] = set()

    def look() -> None:
        held.update(held_files(pod.checkpoint_dir, os.getpid()))

    async def keep() -> None:
        await keeping
        if done:
            await asyncio.to_thread(end_leftovers, note, look)
        else:
            await asyncio.to_thread(look)
            await asyncio.to_thread(kill_all_children)
        await asyncio.to_thread(keeper.last, whole=whole, prune=not stop.made.is_set(), held=held)

    try:
        await stop.unless_over(keep(), grace=pod.working_grace, doing=lambda: "stopping")
    except Exception as error:  # a model is yet to be stored
        if not isinstance(error, TrainerError):
            log.exception("the last snapshot failed")
        why = _NO_TIME if isinstance(error, Stopped) else words_of(error)
        note(f"what lay in $FOOTPLATE_CHECKPOINT_DIR at the end may not all be saved: {why}")
        if done and pod.spec.output is None and keeper.holds_files:
            raise
