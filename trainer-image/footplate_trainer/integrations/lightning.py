"""For Lightning's Trainer:

trainer = Trainer(..., callbacks=[FootplateCallback()])
trainer.fit(model, ckpt_path=last_checkpoint())
"""

import os
import re
import signal
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from footplate_trainer.integrations.run import Run
from footplate_trainer.rank.environment import read_place
from footplate_trainer.rank.report import reporter

_STEP = re.compile(r"step=(\d+)")


class FootplateCallback(Callback):  # type: ignore[misc]
    """Reports steps and what is logged; on request it stops between two batches, with a checkpoint of Lightning's."""

    def __init__(self) -> None:
        self._run = Run()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says how long training will be."""
        epochs = trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs > 0 else None
        if self._run.place.run_dir is not None:
            # Lightning's handler waits for the other ranks wherever a signal finds it, and so for ever.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._run.begin(total_steps=trainer.estimated_stepping_batches, epochs=epochs)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """If the job is asked to stop, saves and leaves: between batches, when the loops' own counts are whole."""
        if not self._run.asked_to_stop():
            return
        folder = self._run.checkpoint_dir
        if folder is not None:
            path = folder / f"stopped-step={trainer.global_step}.ckpt"
            trainer.save_checkpoint(path)
            _remove_others(path, trainer)
        self._run.end()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts steps, and reports what was logged."""
        self._run.step_done(trainer.global_step, trainer.callback_metrics, epoch=trainer.current_epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training has come to its end."""
        self._run.over()

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        """A sign of life in the middle of an evaluation."""
        reporter().enter("evaluating")


def last_checkpoint() -> Path | None:
    """The checkpoint in `$FOOTPLATE_CHECKPOINT_DIR` with the highest `step=` in its name, as ModelCheckpoint names them
    by default; None where there is none. A file's time says nothing: files are put back before an attempt.
    """
    folder = read_place(os.environ).checkpoint_dir
    found = sorted(folder.rglob("*step=*.ckpt")) if folder is not None else []
    return max(found, key=_step_of, default=None)


def _step_of(path: Path) -> int:
    match = _STEP.search(path.name)
    return int(match[1]) if match else -1


def _remove_others(path: Path, trainer: Trainer) -> None:
    if trainer.is_global_zero:
        for other in path.parent.glob("stopped-step=*.ckpt"):
            if other != path:
                other.unlink(missing_ok=True)
