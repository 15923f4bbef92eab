"""The saves of one attempt: when each is due, what it says of itself, and how the last one ended."""

import hashlib
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from footplate.contract import Env
from footplate_trainer.checkpoint.manifest import File, Manifest
from footplate_trainer.checkpoint.run_store import RunStore
from footplate_trainer.checkpoint.saver import Saver
from footplate_trainer.checkpoint.schedule import Schedule
from footplate_trainer.checkpoint.state import TrainState, capture
from footplate_trainer.checkpoint.trouble import Trouble
from footplate_trainer.errors import PeerLost
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.gang import Gang
from footplate_trainer.rank.report import reporter


class Saves:
    """What one process knows of its attempt's saves. Not collective by itself: the session keeps the ranks together."""

    def __init__(
        self, place: Context, store: RunStore, line: Gang, *, step: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._place, self._store, self._clock = place, store, clock
        self._saver = Saver(store.folder, line, staging=store.staging, keep=store.block.keep)
        self._schedule = Schedule(store.block.every, step=step, now=clock())
        self._trouble = Trouble()
        self._parent: str | None = None
        self.state: TrainState | None = None
        """What was captured last."""
        self.captured_step, self.committed_step = step, -1
        """The newest step whose state is captured, and the newest that this attempt knows to be safe in this run."""
        self.seconds = 0.0
        """What the last complete save took; 0 before there is one."""
        self.error: Exception | None = None
        """Why the last save failed; None once a later one is complete."""
        self._began = datetime.now(UTC)
        self._captured_at = self.safe_since = clock()
        """When the newest state was captured, and the newest that is safe, on the clock."""

    def go_on_from(self, step: int, uri: str, *, in_run: bool) -> None:
        """The attempt has resumed from this checkpoint, of this run or another's."""
        self._parent, self._trouble.newest = uri, step
        if in_run:
            self._saver.protected.add(step)
            self.committed_step = step

    @property
    def busy(self) -> bool:
        """True while a save is being written, on this rank."""
        return self._saver.busy

    def falls_due(self, state: TrainState) -> bool:
        """True, once, where a step calls for a save: the same on every rank."""
        return self._schedule.falls_due(state.step, epoch_ended=state.epoch_ended)

    def due_now(self, now: float) -> bool:
        """True where the clock calls for one: the ranks must agree on it."""
        return self._schedule.due_now(now)

    def wait(self, timeout: float) -> None:
        """Returns when nothing is being written any more, or after `timeout` seconds."""
        self._saver.wait(timeout)

    def start(self, state: TrainState) -> None:
        """Captures the state, which is then written in the background. Collective; not while `busy`."""
        step, epoch, now = state.step, state.epoch, datetime.now(UTC)
        productive = reporter().productive.node_seconds

        def describe(files: tuple[File, ...]) -> Manifest:
            return Manifest(
                job=self._place.job,
                uid=self._place.uid,
                run=self._place.run,
                attempt=self._place.attempt,
                world_size=self._place.world_size,
                step=step,
                epoch=epoch,
                time=now,
                config_sha256=_config_digest(),
                parent=self._parent,
                productive_node_seconds=productive,
                files=files,
            )

        self._saver.start(step, capture(state.parts, is_main=self._place.is_main), describe)
        self.state, self.captured_step = state, step
        self._began, self._captured_at = now, self._clock()
        self._schedule.started(step, now=self._clock())

    def again(self) -> None:
        """Writes what was captured last once more. Not while `busy`."""
        self._saver.again()

    def take(self, *, now_at: int) -> Exception | None:
        """Takes note of how the last save ended, if it has since the last call; its error.

        Args:
            now_at: the step that training has come to.

        Raises:
            PeerLost: another rank of the gang is gone.
        """
        saved = self._saver.result()
        if saved is None:
            return None
        if isinstance(saved.error, PeerLost):
            raise saved.error
        self.error = saved.error
        if saved.error is None and saved.manifest is not None:
            self.committed_step, self.safe_since = saved.step, self._captured_at
            self.seconds = saved.seconds
            uri = self._store.folder.uri(saved.step)
            status = saved.manifest.status(uri).model_copy(update={"save_seconds": round(saved.seconds, 3)})
            reporter().checkpointed(status)
            self._schedule.succeeded()
            self._note(self._trouble.saved(saved.step, now=datetime.now(UTC)))
        elif saved.error is not None:
            self._schedule.failed(now=self._clock())
            times = {"began": self._began, "now": datetime.now(UTC)}
            self._note(self._trouble.failed(saved.error, step=saved.step, now_at=now_at, **times))
        return saved.error

    def look(self, *, now_at: int) -> None:
        """Says so if what is being written takes suspiciously long."""
        if self.busy:
            times = {"began": self._began, "now": datetime.now(UTC)}
            self._note(self._trouble.slow(step=self.captured_step, now_at=now_at, usual=self.seconds, **times))

    def ended_unsaved(self, step: int) -> None:
        """The attempt stops at a step that isn't saved, and says so."""
        self._note(self._trouble.unsaved_end(step))

    def _note(self, text: str | None) -> None:
        if text is not None:
            reporter().note(text)


def _config_digest() -> str:
    return hashlib.sha256(Path(os.environ[Env.CONFIG]).read_bytes()).hexdigest()
