"""What the callbacks share: how a training of another framework reports, and how its ranks stop together."""

import os
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from footplate.api.scalars import MAX_COUNT
from footplate.contract import ExitCode
from footplate_trainer.rank import stopping
from footplate_trainer.rank.environment import read_place
from footplate_trainer.rank.report import reporter

if TYPE_CHECKING:
    from footplate_trainer.checkpoint.schedule import Pulse
    from footplate_trainer.rank.gang import Gang


class Run:
    """One training of another framework, as a rank sees it. Torch is asked for only where the framework uses it."""

    def __init__(self) -> None:
        self.place = read_place(os.environ)
        self.stopping = False
        """True once the ranks have agreed to stop."""
        self._is_over = False

    @property
    def checkpoint_dir(self) -> Path | None:
        """Where the framework's own checkpoints belong; None outside a job."""
        return self.place.checkpoint_dir

    def begin(self, *, total_steps: float | None = None, epochs: float | None = None) -> None:
        """Training begins: from here on it is asked before it ends. Call it on every rank."""
        self._is_over = False
        if self.place.run_dir is not None:
            stopping.install(self.place.grace_seconds)
            stopping.defer()
        reporter().progress.expect(total_steps=_count(total_steps), epochs=_count(epochs))
        reporter().enter("loading")
        if self._gang is not None and self._gang.world_size < self.place.world_size:
            reporter().note(
                f"this job has {self.place.world_size} ranks, and each of them trains a model of its own: the "
                "framework was to set up torch.distributed, and has not. On CPUs it wants to be told, by "
                "TrainingArguments(use_cpu=True) or Accelerator(cpu=True); fit of Keras can't with torch. Else set "
                "nodes: 1"
            )

    def step_done(self, step: int, metrics: Mapping[str, Any], *, epoch: float | None = None) -> None:
        """So many optimizer steps are finished. Metrics are numbers or tensors of one element; others are left out."""
        numbers = {name: value for name, value in metrics.items() if _is_number(value)}
        reporter().step_done(step, numbers.pop("loss", None), epoch, numbers)
        if self._is_over:
            self.over()

    def over(self) -> None:
        """Training has ended by itself: what comes now (a last evaluation, an export) finishes no more steps."""
        self._is_over = True
        reporter().enter("exporting")

    def asked_to_stop(self) -> bool:
        """True on all ranks at the same call, once the job was asked to stop. Asks the others about once a second."""
        if self.stopping or self.place.run_dir is None:
            return self.stopping
        gang = self._gang
        if gang is None or gang.world_size == 1:
            self.stopping = stopping.requested()
        elif self._pulse.count():
            now = time.monotonic()
            stop, interval = gang.maximum([stopping.requested(), -self._pulse.proposal(now)])
            self._pulse.asked(-interval, now=now)
            self.stopping = bool(stop)
        if self.stopping:
            reporter().enter("stopping")
        return self.stopping

    def end(self) -> NoReturn:
        """Ends the program, once all ranks have come here: one that ends earlier would take the others along."""
        reporter().flush()
        if self._gang is not None:
            self._gang.wait()
        raise SystemExit(int(ExitCode.STOPPED))

    @cached_property
    def _gang(self) -> "Gang | None":
        if "torch" not in sys.modules or self.place.run_dir is None:
            return None
        from footplate_trainer.rank.gang import all_ranks

        return all_ranks("integrations")

    @cached_property
    def _pulse(self) -> "Pulse":
        from footplate_trainer.checkpoint.schedule import Pulse

        return Pulse(now=time.monotonic())


def _count(value: float | None) -> int | None:
    """None of what stands for without end: infinity, or sys.maxsize."""
    return int(value) if value is not None and 0 < value <= MAX_COUNT else None


def _is_number(value: Any) -> bool:
    """Whether it can be told as a number, without a look at it that a device would be waited for."""
    if isinstance(value, bool | str | bytes):
        return False
    shape = getattr(value, "shape", ())
    return isinstance(value, int | float) or (hasattr(value, "item") and all(side == 1 for side in shape))
