"""How training code says how far it is: `report` stores what it is given and writes the heartbeat; nothing more.

A thread of rank 0 turns the newest values into numbers twice a second and writes them for the supervisor: see `values`.
"""

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from footplate.api.reports import CheckpointStatus, Ended, Straggler
from footplate.api.scalars import MAX_COUNT
from footplate.contract import MAX_NOTE_LENGTH, MAX_NOTES, Activity
from footplate_trainer import exchange
from footplate_trainer.errors import ConfigError, of_inputs, sendable, words_of
from footplate_trainer.exchange import ACTIVITIES, DurationCounts, ModelReport, RankReport
from footplate_trainer.rank.environment import read_place
from footplate_trainer.rank.peaks import mfu
from footplate_trainer.rank.progress import RankProgress
from footplate_trainer.rank.values import Values, number_of
from footplate_trainer.timing.durations import SAVE_BOUNDS, STEP_BOUNDS, Durations
from footplate_trainer.timing.speed import ProductiveTime
from footplate_trainer.timing.work import WorkMeter

WRITE_SECONDS = 0.5
UNHEARD = (
    "nobody takes what report is given: this command runs without Footplate's supervisor. It runs under it where the "
    "job has inputs, output, evaluation, checkpoint.uri, a source that isn't a ConfigMap, requirements, "
    "metricDefinitions or tracking"
)

log = logging.getLogger("footplate_trainer")


def report(*, step: int, loss: Any = None, epoch: float | None = None, **metrics: Any) -> None:
    """Says that `step` optimizer steps are finished, and what the metrics are; a few microseconds.

    Args:
        step: optimizer steps finished; also the sign of life that the hang detection looks for.
        loss: number or one-element tensor, on any device.
        epoch: epochs finished; of a fraction the whole epochs count.
        metrics: numbers or one-element tensors by name; a metric keeps its last value until it is reported again.
    """
    reporter().step_done(step, loss, epoch, metrics)


def enter(activity: Activity) -> None:
    """Says what this rank does from now on, until the next `report`: work that finishes no steps and may take longer
    than `runPolicy.hangTimeoutSeconds`. Until then each call is a sign of life.

    Call it on every rank, also on those that only wait meanwhile: what one rank does holds all others up.

    Args:
        activity: such as `evaluating`, `loading` or `exporting`.

    Raises:
        ConfigError: there is no such activity.
    """
    if activity not in ACTIVITIES:
        raise ConfigError(f"enter({activity!r}): there is no such activity; use one of {', '.join(ACTIVITIES)}")
    reporter().enter(activity)


class Reporter:
    """What this rank knows of the run. One of each process: `reporter()`."""

    def __init__(
        self, rank: int = 0, run_dir: Path | None = None, *, nodes: int = 1, ranks: int = 1, supervised: bool = True
    ) -> None:
        self._run_dir = run_dir
        self._rank = rank
        self._ranks = ranks
        self._supervised = supervised
        self._shows = run_dir is not None and rank == 0
        self._heartbeat = exchange.Heartbeat(run_dir, rank) if run_dir else None
        self._activity: Activity = "starting"
        self._values = Values(self.note)
        self._reported_at: float | None = None
        self._stepped_at: float | None = None
        # What a signal's handler raises may leave it held for good: this thread must not wait for itself at its end.
        self._lock = threading.RLock()
        self._facts: dict[str, Any] = {}
        self._notes: list[str] = []
        self._untold = ""
        """Why the last report could not be written."""
        self._started = False
        self._closed = threading.Event()
        self.progress = RankProgress()
        self.work = WorkMeter()
        self.productive = ProductiveTime(nodes)
        self._steps_took = Durations(STEP_BOUNDS)
        self._saves_took = Durations(SAVE_BOUNDS)

    def step_done(self, step: int, loss: Any, epoch: float | None, metrics: dict[str, Any]) -> None:
        """See `report`."""
        now = time.monotonic()
        progress = self.progress
        counted = step if type(step) is int and 0 <= step <= MAX_COUNT else self._count("step", step)
        step = progress.step if counted is None else progress.in_all(counted)
        steps = step - progress.step
        seconds = self.productive.reported(now, advanced=steps > 0)
        if steps > 0:
            self._stepped_at = now
            if seconds:
                self._steps_took.add(seconds / steps, steps)
        self._activity = "training"
        progress.step = step
        if self._heartbeat is not None:
            self._heartbeat.beat(step, "training", self.work.seconds)
        self._values.take(step, loss, metrics)
        if epoch is not None:
            counted = self._count("epoch", epoch)
            progress.epoch = progress.epoch if counted is None else counted
        self._reported_at = now
        if self._shows:
            self._values.offer()
        if not self._started:
            self._start()

    def enter(self, activity: Activity) -> None:
        """Says what this rank does from now on; each activity has its own limit before it counts as a hang.

        Before this process has finished a step it can't say that it trains: the first one, which compiles and waits for
        the first batch, is part of loading.
        """
        if activity == "training":
            self.productive.go_on(time.monotonic())
            self.work.go_on()
        else:
            self.productive.interrupt()
            self.work.interrupt()
        self._activity = "loading" if activity == "training" and not self._started else activity
        if self._shows:
            self._values.offer()
        self.beat()

    def beat(self) -> None:
        """Says that this rank lives, in the middle of something that finishes no steps."""
        if self._heartbeat is not None:
            self._heartbeat.beat(self.progress.step, self._activity, self.work.seconds)

    def waited_for_data(self, seconds: float) -> None:
        """The loader had this rank wait for a batch."""
        if self._activity != "evaluating":
            self.progress.data_wait += seconds

    def step_ended(self, step: int) -> None:
        """The training in hand has finished so many steps, and the work on the next one begins."""
        self.work.step_ended(self.progress.in_all(step))

    def add_facts(self, *, seed: int | None = None, device: str | None = None) -> None:
        """Facts that the artifact's manifest holds."""
        self._facts.update(seed=seed, device=device)

    def resumed(
        self, *, step: int, uri: str, status: CheckpointStatus | None, productive_node_seconds: float | None
    ) -> None:
        """Training goes on from a checkpoint. `status` describes it where it is the run's own; then its cost counts."""
        self.progress.step = self.progress.in_all(step)
        self._facts.update(resumed_from_step=self.progress.step, resumed_from=uri)
        if status is not None:
            # What another training has cost since then was done for good.
            self.productive.start_from(max(productive_node_seconds or 0.0, self.productive.node_seconds or 0.0))
            age = (datetime.now(UTC) - status.time).total_seconds() if status.time else 0.0
            shown = status.model_copy(update={"step": self.progress.step})
            self._facts.update(checkpoint=shown, checkpointed_at=time.monotonic() - max(0.0, age))
        self.flush()

    def trained(self, ended: Ended, model: ModelReport | None) -> None:
        """`Trainer.fit` has come to its end for that reason, with that model, or with the last one."""
        self._facts.update(ended=ended, model=model)

    def initialised(self, uri: str) -> None:
        """Training has begun with the weights that lie there."""
        self._facts.update(resumed_from=uri)

    def checkpointed(self, status: CheckpointStatus, *, of: Collection[str] = ()) -> None:
        """A checkpoint of these trainings is complete; its step is theirs."""
        shown = status.model_copy(update={"step": self.progress.steps_of_others(of) + (status.step or 0)})
        self._facts.update(checkpoint=shown, checkpointed_at=time.monotonic())
        if status.save_seconds is not None:
            self._saves_took.add(status.save_seconds)
        self.flush()

    def found_stragglers(self, stragglers: list[Straggler]) -> None:
        """These ranks, and no others, are slower than the rest."""
        known = {straggler.rank for straggler in self._facts.get("stragglers", ())}
        for straggler in stragglers:
            if straggler.rank not in known:
                log.warning(
                    "rank %d on node %d is a straggler: its own work on a step takes %.1f times the median rank's",
                    straggler.rank,
                    straggler.node_rank,
                    straggler.factor,
                )
        self._facts.update(stragglers=tuple(stragglers))

    def note(self, text: str) -> None:
        """Tells the user something that all ranks know: rank 0 does, in the log and in the job's progress."""
        text = sendable(of_inputs(text))[:MAX_NOTE_LENGTH]
        if self._rank == 0 and text not in self._notes:
            log.warning("%s", text)
            self._notes = [*self._notes, text][-MAX_NOTES:]

    def flush(self) -> None:
        """Writes what is known now. Waits for the device where a metric is still being computed."""
        self._write(self._values.read)

    def _write(self, look: Callable[[], None] | None = None) -> None:
        if self._run_dir is None or not self._shows:
            return
        try:
            if look is not None:
                look()
            with self._lock:
                exchange.write_report(self._run_dir, self._snapshot())
            self._untold = ""
        except Exception as error:  # neither a value nor a full disk may end training, or what tells of it
            if (text := words_of(error)) != self._untold:
                self._untold = text
                log.warning("progress could not be written, and is tried again: %s", text)

    def close(self) -> None:
        """Writes what is known for the last time."""
        if not self._closed.is_set():
            self._closed.set()
            self.flush()

    def finish(self) -> None:
        """Says that this rank is done. Nothing comes after it."""
        if self._heartbeat is not None:
            self._heartbeat.finish()

    def _start(self) -> None:
        self._started = True
        if self._shows and not self._supervised:
            log.warning(UNHEARD)
        if self._run_dir is not None and self._rank == 0:
            threading.Thread(target=self._write_regularly, name="footplate-report", daemon=True).start()
            atexit.register(self.close)

    def _write_regularly(self) -> None:
        written: tuple[Any, ...] = ()
        while not self._closed.wait(WRITE_SECONDS):
            known = (self._reported_at, self._notes)
            if known != written:
                written = known
                self._write()
                self._values.want()

    def _count(self, name: str, value: Any) -> int | None:
        """A whole number of anything that is a number, rounded down; None, with a note, of what isn't."""
        number = number_of(value)
        if number is not None and 0 <= number <= MAX_COUNT:
            return int(number)
        self.note(
            f"report({name}=…) is left out where it isn't a number from 0 to {MAX_COUNT}, as one of type "
            f"{type(value).__name__} was not; {name} is how many are finished"
        )
        return None

    def _snapshot(self) -> RankReport:
        progress = self.progress
        numbers, reported = self._values.look()
        return RankReport(
            progress=progress.status(self._reported_at, metrics=numbers, stepped_at=self._stepped_at),
            step_seconds=progress.step_seconds,
            stepped_at=self._stepped_at,
            reported={name: time for name, (time, _) in reported.items()},
            reported_at_step={name: step for name, (_, step) in reported.items()},
            steps_took=DurationCounts(counts=self._steps_took.counts, seconds=self._steps_took.seconds),
            saves_took=DurationCounts(counts=self._saves_took.counts, seconds=self._saves_took.seconds),
            data_wait_ratio=progress.data_wait_ratio,
            tokens_per_second=progress.tokens_per_second,
            mfu_ratio=mfu(progress.flops_per_second, device=self._facts.get("device"), devices=self._ranks),
            productive_node_seconds=self.productive.node_seconds,
            notes=tuple(self._notes),
            **self._facts,
        )


@cache
def reporter() -> Reporter:
    """This process's reporter; the same object each time."""
    place = read_place(os.environ)
    return Reporter(place.rank, place.run_dir, nodes=place.nodes, ranks=place.world_size, supervised=place.supervised)
