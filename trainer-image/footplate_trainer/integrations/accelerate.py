"""For loops with accelerate:

accelerator = Accelerator(log_with=[FootplateTracker(total_steps=1000)])
accelerator.init_trackers("digits")
for step, batch in enumerate(loader, 1):
    ...
    accelerator.log({"loss": loss}, step=step)
    stop_if_asked(accelerator, step=step)
"""

from functools import cache
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, on_main_process

from footplate_trainer.integrations.run import Run
from footplate_trainer.rank.report import Reporter, reporter


class FootplateTracker(GeneralTracker):  # type: ignore[misc]
    """Reports what `accelerator.log` is given, with its step.

    Args:
        total_steps: steps of the whole training, for percent and ETA.
    """

    name = "footplate"
    requires_logging_directory = False

    def __init__(self, total_steps: int | None = None) -> None:
        super().__init__()
        self._step = 0
        reporter().progress.expect(total_steps=total_steps)

    @property
    def tracker(self) -> Reporter:
        """What it reports to."""
        return reporter()

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Hyperparameters are the job's own."""

    @on_main_process  # type: ignore[untyped-decorator]
    def finish(self) -> None:
        """Training has come to its end."""
        _run().over()

    @on_main_process  # type: ignore[untyped-decorator]
    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        """Reports numbers; without a step they are the last one's."""
        self._step = self._step if step is None else step
        _run().step_done(self._step, values, epoch=values.get("epoch"))


def stop_if_asked(accelerator: Accelerator, *, step: int) -> None:
    """Once the job is asked to stop: saves `accelerator.save_state` into `step_<step>` of `$FOOTPLATE_CHECKPOINT_DIR`
    and ends the program, on all ranks after the same step. Call it on every rank after each step.
    """
    run = _run()
    if not run.asked_to_stop():
        return
    if run.checkpoint_dir is not None:
        accelerator.save_state(str(run.checkpoint_dir / f"step_{step}"))
    run.end()


@cache
def _run() -> Run:
    run = Run()
    run.begin()
    return run
