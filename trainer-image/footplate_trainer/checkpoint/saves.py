"""The saves of one attempt: when each is due, what it says of itself, and how the last one ended."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from footplate.api.reports import CheckpointStatus
from footplate.contract import Env
from footplate_trainer.checkpoint.manifest import Manifest
from footplate_trainer.checkpoint.names import MAIN
from footplate_trainer.checkpoint.restoring import Loaded
from footplate_trainer.checkpoint.run_store import RunStore
from footplate_trainer.checkpoint.saver import Capture, Saved, Saver
from footplate_trainer.checkpoint.schedule import Schedule
from footplate_trainer.checkpoint.state import NotToBeSaved, TrainState, capture
from footplate_trainer.checkpoint.trouble import Trouble
from footplate_trainer.errors import PeerLost
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.gang import Gang
from footplate_trainer.rank.report import reporter


@dataclass(slots=True)
class Member:
    """One of the trainings whose states are saved together, and where its checkpoints lie."""

    store: RunStore
    parent: str | None = None
    """URI of what it has begun from."""
    protected: set[int] = field(default_factory=set)
    """Steps that are kept whatever `keep` says."""

    def capture(self, state: TrainState, ctx: Context, describe: Callable[..., Manifest]) -> Capture:
        """What is saved of it now."""
        about = partial(describe, training=state.name, step=state.step, epoch=state.epoch, parent=self.parent)
        files = capture(state.parts, is_main=ctx.is_main)
        return Capture(self.store.folder, state.step, files, lambda files: about(files=files), self.protected)


class Saves:
    """What one process knows of its attempt's saves of one training, or of several that are saved together: their steps
    are counted together. Not collective by itself: the session keeps the ranks together.
    """

    def __init__(
        self,
        ctx: Context,
        store: RunStore,
        line: Gang,
        *,
        name: str = MAIN,
        step: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ctx, self._clock = ctx, clock
        self._saver = Saver(line, staging=store.staging, keep=store.block.keep)
        self._schedule = Schedule(store.block.every, step=step, now=clock())
        self._trouble = Trouble()
        self._members = {name: Member(store)}
        self.states: Sequence[TrainState] = ()
        """What was captured last, unless it is safe and was let go of."""
        self.captured_step, self.committed_step = step, -1
        """The newest step whose state is captured, and the newest that this attempt knows to be safe in this run."""
        self.seconds = 0.0
        """What the last complete save took; 0 before there is one."""
        self.error: Exception | None = None
        """Why the last save failed; None once a later one is complete."""
        self._began = datetime.now(UTC)
        self._captured_at = self.safe_since = clock()
        """When the newest state was captured, and the newest that is safe, on the clock."""

    def begin_from(self, loaded: Loaded | None, init_from: str | None) -> None:
        """The attempt goes on from this checkpoint; without one it may have taken the weights of `init_from`."""
        (member,) = self._members.values()
        member.parent = init_from if loaded is None else loaded.found.uri
        if loaded is not None:
            self._trouble.newest = loaded.found.step
        if loaded is not None and loaded.in_run:
            member.protected.add(loaded.found.step)
            self.committed_step = loaded.found.step

    def join(self, other: "Saves") -> None:
        """From now on another training is saved together with these."""
        self._members |= other._members
        self._trouble.newest = None if self._trouble.newest is None else self._trouble.newest + other.captured_step
        self.captured_step += other.captured_step
        self.committed_step += other.committed_step
        self._schedule.started(self.captured_step, now=self._clock())

    @property
    def busy(self) -> bool:
        """True while a save is being written, on this rank."""
        return self._saver.busy

    def falls_due(self, states: Sequence[TrainState]) -> bool:
        """True, once, where a step calls for a save: the same on every rank."""
        ended = any(state.epoch_ended for state in states)
        return self._schedule.falls_due(sum(state.step for state in states), epoch_ended=ended)

    def due_now(self, now: float) -> bool:
        """True where the clock calls for one: the ranks must agree on it."""
        return self._schedule.due_now(now)

    def wait(self, timeout: float) -> None:
        """Returns when nothing is being written any more, or after `timeout` seconds."""
        self._saver.wait(timeout)

    def start(self, states: Sequence[TrainState]) -> bool:
        """Captures the states, which are then written in the background; False, and a note, where a part of one is not
        to be saved. Collective; not while `busy`.
        """
        step = sum(state.step for state in states)
        now = datetime.now(UTC)
        describe = partial(
            Manifest,
            job=self._ctx.job,
            uid=self._ctx.uid,
            run=self._ctx.run,
            attempt=self._ctx.attempt,
            world_size=self._ctx.world_size,
            time=now,
            config_sha256=_config_digest(),
            productive_node_seconds=reporter().productive.node_seconds,
            together={state.name: state.step for state in states} if len(states) > 1 else {},
        )
        try:
            captured = [self._members[state.name].capture(state, self._ctx, describe) for state in states]
        except NotToBeSaved as reason:
            self._note(f"no checkpoint of step {step}: {reason}")
            self._schedule.started(step, now=self._clock())
            return False
        self._saver.start(captured)
        self.states, self.captured_step = states, step
        self._began, self._captured_at = now, self._clock()
        self._schedule.started(step, now=self._clock())
        return True

    def again(self) -> None:
        """Writes what was captured last once more. Not while `busy`."""
        self._saver.again()

    def release(self) -> None:
        """Lets go of what was captured, which is safe."""
        self.states = ()
        self._saver.release()

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
        if saved.error is None:
            self.committed_step, self.safe_since = self.captured_step, self._captured_at
            self.seconds = saved.seconds
            reporter().checkpointed(self._status(saved), of=self._members)
            self._schedule.succeeded()
            self._note(self._trouble.saved(self.captured_step, now=datetime.now(UTC)))
        else:
            self._schedule.failed(now=self._clock())
            times = {"began": self._began, "now": datetime.now(UTC)}
            self._note(self._trouble.failed(saved.error, step=self.captured_step, now_at=now_at, **times))
        return saved.error

    def _status(self, saved: Saved) -> CheckpointStatus:
        """Of trainings that are saved together the first one's, with the steps and the size of all."""
        first = saved.manifests[0]
        status = first.status(self._members[first.training].store.folder.uri(first.step))
        sums = {
            "step": sum(manifest.step for manifest in saved.manifests),
            "size_bytes": sum(manifest.size_bytes for manifest in saved.manifests),
        }
        return status.model_copy(update={**sums, "save_seconds": round(saved.seconds, 3)})

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
