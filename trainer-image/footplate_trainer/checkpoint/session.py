"""A training's dealings with checkpoints: what is saved when, agreed with all ranks. Trainings that are saved together
have one session from then on, and their steps are counted together.

Every decision that ranks must share is made either from what is the same on all of them (the step, the loader), or in
`_ask`, one small all-reduce: does anyone want to stop, is a save due by the clock, is anyone still writing. It also
carries how long each rank works on a step by itself.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from footplate.contract import GRACE_FACTOR
from footplate_trainer.checkpoint.beginning import Beginning
from footplate_trainer.checkpoint.names import MAIN
from footplate_trainer.checkpoint.restoring import Loaded
from footplate_trainer.checkpoint.run_store import open_run
from footplate_trainer.checkpoint.saves import Saves
from footplate_trainer.checkpoint.schedule import ASK_SECONDS, RETRY_SECONDS, Pulse
from footplate_trainer.checkpoint.state import TrainState
from footplate_trainer.errors import StorageUnavailable, TrainerError
from footplate_trainer.rank import stopping
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.gang import UPLOAD_TIMEOUT, all_ranks
from footplate_trainer.rank.report import reporter
from footplate_trainer.timing.stragglers import StragglerWatch

CALLS_IN_VAIN = 100
"""Of `maybe_save` at one step, after which the user is told: more than gradients are accumulated from."""
PATIENCE_SECONDS = 3600.0
"""Longest wait for storage at the end of training: accelerators are idle meanwhile."""


class Outcome(Enum):
    """What `maybe_save` did, and what the loop must do."""

    CONTINUE = "continue"
    SAVED = "saved"
    """This step's state is captured, and is written in the background."""
    STOP = "stop"
    """Leave the loop and return: what could be saved is saved."""


class Answer(NamedTuple):
    """What the ranks have agreed on."""

    stop: bool
    due: bool
    busy: bool
    work: list[float]
    """Seconds of each rank's own work on a step, by rank; 0 where not known."""


class Session:
    """See the module. All public methods but `finish` are collective."""

    def __init__(self, ctx: Context, clock: Callable[[], float] = time.monotonic, *, name: str = MAIN) -> None:
        self._ctx, self._name, self._clock = ctx, name, clock
        self._gang = all_ranks("checkpoint-agree")
        self._line = all_ranks("checkpoint-files", UPLOAD_TIMEOUT)
        self._step_pulse, self._other_pulse = Pulse(now=clock()), Pulse(now=clock())
        self._store = open_run(ctx, training=name)
        self._saves: Saves | None = None
        self._began_from: Loaded | None = None
        self._seen: dict[str, int] = {}
        """The last known step of each of its trainings."""
        self.has_trained = False
        """True once a step was done in this process, under an earlier session of the name or this one."""
        self._postponed = False
        self._calls_in_vain = 0
        self._stragglers = StragglerWatch(ctx.local_world_size)
        self.stopped = False
        """True once the ranks have agreed to stop."""

    @property
    def names(self) -> Collection[str]:
        """Of its trainings."""
        return self._seen.keys() or {self._name}

    @property
    def steps(self) -> Mapping[str, int]:
        """How far each of its trainings is known to be."""
        return self._seen

    @property
    def saves_anything(self) -> bool:
        """False where the job has no checkpoints."""
        return self._saves is not None

    @property
    def is_captured(self) -> bool:
        """False while the last step is neither saved nor being saved."""
        return self._saves is None or self._saves.captured_step == self._seen_step

    @property
    def _seen_step(self) -> int:
        return sum(self._seen.values())

    def restore(self, state: TrainState, *, init_from: str | None = None, again: bool = False) -> None:
        """See `checkpoint.restore`. `again`: this process has trained the objects up to the state's step, where they
        stay if there is nothing else to go on from.
        """
        reporter().enter("loading")
        self.has_trained = again
        beginning = Beginning(self._ctx, self._line, self._name)
        loaded = self._began_from = beginning.restore(self._store, state, init_from, again=again)
        if self._store is not None:
            self._saves = Saves(self._ctx, self._store, self._line, name=self._name, step=state.step, clock=self._clock)
            self._saves.begin_from(loaded, init_from)
        self._look_at([state])
        stopping.defer()

    def is_torn_from(self, other: "Session") -> bool:
        """True where one of both goes on from a moment at which they were saved together, and the other doesn't."""
        mine, theirs = (None if it._began_from is None else it._began_from.found.manifest for it in (self, other))
        if mine is not None and other._name in mine.together:
            return theirs is None or not theirs.is_of_one_moment_with(mine)
        return theirs is not None and self._name in theirs.together

    def join(self, other: "Session") -> None:
        """From now on the other's training is saved together with this one's."""
        other.release()
        self.release()
        if self._saves is not None and other._saves is not None:
            self._saves.join(other._saves)
        self._seen |= other._seen

    def maybe_save(self, *states: TrainState) -> Outcome:
        """See `checkpoint.maybe_save`."""
        if not self.stopped and all(state.step == self._seen[state.name] for state in states):
            self._count_in_vain(states)
            return Outcome.CONTINUE
        self._calls_in_vain = 0
        self._look_at(states)
        outcome = self._after_step(states)
        reporter().step_ended(self._seen_step)  # only now: in here ranks wait for each other
        return outcome

    def _count_in_vain(self, states: Sequence[TrainState]) -> None:
        self._calls_in_vain += 1
        if self._calls_in_vain == CALLS_IN_VAIN:
            reporter().note(
                f"checkpoint.maybe_save was called {CALLS_IN_VAIN} times in a row, and state.step has stayed "
                f"{states[0].step}: so nothing is saved, and a stop isn't noticed. Write state.step += 1 after each "
                "optimizer step"
            )

    def _look_at(self, states: Sequence[TrainState]) -> None:
        for state in states:
            self.has_trained |= state.step > self._seen.get(state.name, state.step)
            self._seen[state.name] = state.step
        if len(states) > 1:
            reporter().progress.count(self._seen)

    def _after_step(self, states: Sequence[TrainState]) -> Outcome:
        saves = self._saves
        due = saves is not None and saves.falls_due(states)
        if not self._step_pulse.count() and not due and not self.stopped:
            return Outcome.CONTINUE
        answer = self._ask(self._step_pulse)
        if saves is not None and any(state.ended for state in states):
            # Not postponed: what follows the loop may change the objects (an average's weights take the model's place).
            answer = self._wait_in_step(saves, answer)
        if self._ctx.is_main:
            reporter().found_stragglers(self._stragglers.look(answer.work, now=self._clock()))
        if answer.stop:
            return self._stop(states)
        if saves is None or not (due or answer.due or self._postponed):
            return Outcome.CONTINUE
        self._postponed = answer.busy
        if answer.busy:
            return Outcome.CONTINUE
        return Outcome.SAVED if saves.start(states) else Outcome.CONTINUE

    def save(self, *states: TrainState) -> Outcome:
        """See `checkpoint.save`."""
        self._look_at(states)
        if self._saves is None:
            return Outcome.CONTINUE
        reporter().enter("checkpointing")
        self._wait_for(self._saves)
        captured = self._saves.start(states)
        error = self._wait_for(self._saves)
        reporter().enter("training")
        if error is not None:
            raise error
        return Outcome.SAVED if captured else Outcome.CONTINUE

    def settle(self, *states: TrainState) -> Outcome:
        """See `checkpoint.settle`. Ranks have agreed on what was postponed."""
        if self._saves is None or not self._postponed:
            return Outcome.CONTINUE
        answer = self._wait_in_step(self._saves, self._ask(self._step_pulse))
        if answer.stop:
            return self._stop(states)
        self._postponed = False
        return Outcome.SAVED if self._saves.start(states) else Outcome.CONTINUE

    def should_stop(self) -> bool:
        """See `checkpoint.should_stop`."""
        if self.stopped:
            return True
        if self._other_pulse.count() and self._ask(self._other_pulse).stop:
            # While the last step isn't captured there is something to lose: the next step will stop, and save.
            self.stopped = self.is_captured
        return self.stopped

    def conclude(self) -> None:
        """Waits until what was due is saved, and tries again while that costs less than to do the lost steps over, or,
        where this process was asked to stop, once more if there is time.

        Raises:
            TrainerError: the last save failed for good, and the job has no output: its checkpoints are its result.
        """
        self.finish()
        saves = self._saves
        if saves is None or not saves.states or self.stopped:
            return
        deadline = self._clock() + min(self._clock() - saves.safe_since, PATIENCE_SECONDS)
        while self._agree(self._is_unsaved(saves)):
            if self._agree(stopping.requested()):
                # As it was captured: since then the objects may have been changed, by an average's weights or the best.
                self._stop(saves.states, again=not self._postponed)
                return
            if saves.error is not None and not self._agree(self._is_worth_waiting(saves.error, deadline)):
                self._give_up(saves.error)
                return
            if saves.error is not None:
                self._pause(RETRY_SECONDS)
            if self._postponed:
                self._postponed = False
                saves.start(saves.states)
            else:
                saves.again()
            self.finish()

    def release(self) -> None:
        """Waits for the last save and, unless it has failed, lets go of the model and its copies in host memory:
        another training may begin.
        """
        self.finish()
        saves = self._saves
        if saves is not None and saves.states and not self._agree(self._is_unsaved(saves)):
            saves.release()

    def finish(self) -> None:
        """See `checkpoint.finish`. Waits no longer than this process has to live."""
        if self._saves is None:
            return
        if self._saves.busy and not self.stopped:
            reporter().enter("checkpointing")
        while self._saves.busy and stopping.grace_left() > 0:
            self._saves.wait(min(ASK_SECONDS, stopping.grace_left()))
            reporter().beat()
        self._saves.take(now_at=self._seen_step)

    def _wait_in_step(self, saves: Saves, answer: Answer) -> Answer:
        """What the ranks agree on when nothing is being written any more, or they are asked to stop."""
        while answer.busy and not answer.stop:
            reporter().enter("checkpointing")
            saves.wait(ASK_SECONDS)
            reporter().beat()
            answer = self._ask(self._step_pulse)
        return answer

    def _wait_for(self, saves: Saves) -> Exception | None:
        while saves.busy:
            saves.wait(ASK_SECONDS)
            reporter().beat()
        return saves.take(now_at=self._seen_step)

    def _ask(self, pulse: Pulse) -> Answer:
        now = self._clock()
        busy = due = False
        if self._saves is not None:
            self._saves.take(now_at=self._seen_step)
            self._saves.look(now_at=self._seen_step)
            busy = self._saves.busy
            due = self._ctx.is_main and self._saves.due_now(now)
        work = [0] * self._ctx.world_size
        work[self._ctx.rank] = round(1e6 * reporter().work.seconds)
        asked = [stopping.requested() or self.stopped, due, busy, -pulse.proposal(now), *work]
        stop, any_due, any_busy, negative_interval, *work = self._gang.maximum(asked)
        pulse.asked(-negative_interval, now=now)
        return Answer(bool(stop), bool(any_due), bool(any_busy), [microseconds / 1e6 for microseconds in work])

    def _stop(self, states: Sequence[TrainState], *, again: bool = False) -> Outcome:
        """Saves if it isn't done and there is time; else the last complete checkpoint stands. `again`: what was
        captured last.
        """
        reporter().enter("stopping")
        self.stopped = True
        self.finish()
        saves, step = self._saves, sum(state.step for state in states)
        if saves is None:
            return Outcome.STOP
        unsaved = saves.busy or saves.committed_step != step
        left = min(stopping.grace_left(), 86_400.0)
        worst = self._gang.maximum([unsaved, saves.busy, round(-1e3 * left), round(1e3 * saves.seconds)])
        if worst[0] and not worst[1] and -worst[2] > GRACE_FACTOR * worst[3]:
            if again:
                saves.again()
            else:
                saves.start(states)
            self.finish()
        if saves.committed_step != step:
            saves.ended_unsaved(step)
        return Outcome.STOP

    def _is_unsaved(self, saves: Saves) -> bool:
        """True where this rank knows of something that isn't safe yet."""
        return saves.busy or self._postponed or saves.error is not None

    def _is_worth_waiting(self, error: Exception, deadline: float) -> bool:
        """Rank 0 decides: the others' clocks may differ."""
        return self._ctx.is_main and isinstance(error, StorageUnavailable) and self._clock() < deadline

    def _give_up(self, error: Exception) -> None:
        if self._ctx.config is not None and self._ctx.config.spec.output is not None:
            return  # said already; the model is what the job is for, and may be uploaded elsewhere
        if not isinstance(error, TrainerError):
            raise error
        raise type(error)(
            f"training is done, but the last checkpoint could not be saved, and the job has no output: {error}"
        ) from error

    def _agree(self, mine: bool) -> bool:
        return bool(self._gang.maximum([mine])[0])

    def _pause(self, seconds: float) -> None:
        """Waits, alive, unless this process is asked to stop."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not stopping.requested():
            time.sleep(min(ASK_SECONDS, seconds))
            reporter().beat()
