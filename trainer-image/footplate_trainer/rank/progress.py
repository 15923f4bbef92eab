"""How far training is: in steps, epochs and, where there is a whole to compare with, percent and time."""

import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Protocol

from footplate.api.reports import ProgressStatus
from footplate.api.scalars import MAX_COUNT
from footplate_trainer.timing.speed import Speed


class Position(Protocol):
    """What knows how far training is in its data: a `data.Loader`. Counts are of all ranks together."""

    epoch: int
    epochs: int | None

    @property
    def samples_done(self) -> int:
        """Samples handed out in this run."""
        ...

    @property
    def samples_in_all(self) -> int | None:
        """Samples of the whole run; None where not known."""
        ...


class RankProgress:
    """How far this process is, which may train several models: one after the other, or in turns."""

    def __init__(self) -> None:
        self.step = 0
        """Optimizer steps of all trainings together: the job's."""
        self.epoch: int | None = None
        """Epochs finished; None until that is reported: then the position tells."""
        self.data_wait = 0.0
        """Seconds that this process has waited for data, in all."""
        self._totals: dict[str, int] = {}
        self._of_a_step: dict[str, float] = {}
        self._position: Position | None = None
        self._training: str | None = None
        self._steps: dict[str, int] = {}
        """Of each training that has begun, where there are several."""
        self._steps_before = 0
        """Of the trainings but the one that is trained now."""
        self._steps_together: int | None = None
        """Of those that are trained in turns."""
        self._speed = Speed()

    @property
    def step_seconds(self) -> float | None:
        """A step's recent duration; None where that isn't known yet."""
        return self._speed.step_seconds

    def in_all(self, step: int) -> int:
        """The job's steps, where the training in hand has finished so many."""
        return self._steps_before + (step if self._steps_together is None else self._steps_together)

    def steps_of_others(self, trainings: Collection[str]) -> int:
        """Of all trainings but these."""
        return sum(steps for name, steps in self._steps.items() if name not in trainings)

    @property
    def data_wait_ratio(self) -> float | None:
        """Share of the recent time that this process has waited for data; None where nobody has measured that."""
        return self._speed.data_wait_ratio if self.data_wait else None

    @property
    def tokens_per_second(self) -> float | None:
        """Recent tokens of all ranks together."""
        return self._a_second("tokens")

    @property
    def flops_per_second(self) -> float | None:
        """Recent floating point operations of all ranks together."""
        return self._a_second("flops")

    def _a_second(self, name: str) -> float | None:
        count, seconds = self._of_a_step.get(name), self._speed.step_seconds
        return count / seconds if count is not None and seconds else None

    def expect(
        self,
        *,
        total_steps: int | None = None,
        epochs: int | None = None,
        tokens: float | None = None,
        flops: float | None = None,
    ) -> None:
        """Tells how many steps and epochs there are in all, for percent and ETA, and what all ranks together compute in
        one step, for tokens a second and MFU.
        """
        totals = {"total_steps": total_steps, "epochs": epochs}
        self._totals.update({name: total for name, total in totals.items() if total is not None})
        of_a_step = {"tokens": tokens, "flops": flops}
        self._of_a_step.update({name: count for name, count in of_a_step.items() if count is not None})

    def begin(self, training: str, *, steps: Mapping[str, int]) -> None:
        """A training begins or goes on: epochs, totals and the position in the data are its own from now on. `steps`
        are those of all that have begun before, by name.
        """
        self._steps |= steps
        self._steps_before = self.steps_of_others([training])
        self._steps_together = None
        if self._training not in (None, training):
            self._totals, self._of_a_step, self.epoch, self._position = {}, {}, None, None
            self._speed = Speed()
        self._training = training

    def count(self, steps: Mapping[str, int]) -> None:
        """Trainings that take turns have come so far."""
        self._steps |= steps
        self._steps_before, self._steps_together = self.steps_of_others(steps), sum(steps.values())
        self.step = self._steps_before + self._steps_together

    def follow(self, position: Position) -> None:
        """Names the loader that samples per second and, until `expect` knows better, percent and ETA come from."""
        self._position = position

    def status(
        self, reported_at: float | None, *, metrics: Mapping[str, float], stepped_at: float | None = None
    ) -> ProgressStatus:
        """As the job's status shows it, where the newest report came at `reported_at`, and the newest step was finished
        at `stepped_at` (`time.monotonic()`).
        """
        step, position = self.step, self._position
        samples = position.samples_done if position else None
        if reported_at is not None:
            self._speed.update(reported_at, step=step, samples=samples, waited=self.data_wait)
        total = self._totals.get("total_steps")
        share = eta = None
        if total:
            done = step - self._steps_before
            share, eta = done / total, _times(total - done, self._speed.step_seconds)
        elif position and samples is not None and (in_all := position.samples_in_all):
            share, eta = samples / in_all, _times(in_all - samples, self._speed.sample_seconds)
        return ProgressStatus(
            epoch=position.epoch if self.epoch is None and position else self.epoch,
            epochs=self._totals.get("epochs") or (position.epochs if position else None),
            step=step if step or reported_at is not None else None,
            total_steps=None if total is None else self._steps_before + total,
            percent=round(min(100.0, 100.0 * share), 2) if share is not None else None,
            eta_seconds=eta,
            update_time=datetime.now(UTC),
            last_step_time=None if stepped_at is None else _clock_time(stepped_at),
            samples_per_second=1 / self._speed.sample_seconds if self._speed.sample_seconds else None,
            metrics=dict(metrics),
        )


def _clock_time(monotonic: float) -> datetime:
    return datetime.fromtimestamp(time.time() - (time.monotonic() - monotonic), UTC)


def _times(count: int, seconds: float | None) -> int | None:
    return None if seconds is None else round(min(MAX_COUNT, max(0, count) * seconds))
