"""For `fit` of Keras 3, on any backend:

    model.fit(x, y, epochs=10, callbacks=[FootplateCallback()])

It brings BackupAndRestore along: ends of epochs are saved, and the next attempt goes on from there.
"""

import time
from typing import Any

import keras

from footplate_trainer.errors import ConfigError
from footplate_trainer.integrations.run import Run
from footplate_trainer.rank.report import reporter

SAVE_SECONDS = 30.0
"""Between saves. A file that is written anew every few seconds is never at rest, and so is in no snapshot."""

_names: set[str] = set()
"""Of the trainings that this process has begun."""


class FootplateCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports batches and what Keras measures, saves at ends of epochs and goes on from there; on request it stops
    after a batch.

    Args:
        name: the training's, where a program calls `fit` several times: each has its own saved state.
    """

    def __init__(self, name: str = "main") -> None:
        super().__init__()
        self._name = name
        self._run = Run()
        self._epoch = 0
        """Epochs finished."""
        self._steps_before = 0
        """Steps finished when the epoch began."""
        self._backup: Any = None
        self._saved_at = float("-inf")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Loads what is saved of this training.

        Raises:
            ConfigError: another training of this process has the same name.
        """
        params = self.params or {}
        steps, epochs = params.get("steps"), params.get("epochs")
        self._run.begin(total_steps=steps * epochs if steps and epochs else None, epochs=epochs)
        folder = self._run.checkpoint_dir
        if folder is None:
            return
        if self._name in _names:
            raise ConfigError(
                f"fit was called before with FootplateCallback({self._name!r}), and would go on from that one's end; "
                "give each call a callback with a name of its own, such as FootplateCallback('fine-tuning')"
            )
        _names.add(self._name)
        backup = keras.callbacks.BackupAndRestore(str(folder / "keras" / self._name), delete_checkpoint=False)
        backup.set_model(self.model)
        backup.set_params(params)
        backup.on_train_begin(logs)
        self._backup = backup if self._run.place.rank == 0 else None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts epochs."""
        self._epoch, self._steps_before = epoch, int(self.model.optimizer.iterations)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts a step; if the job is asked to stop, saves and leaves."""
        self._run.step_done(self._steps_before + batch + 1, logs or {}, epoch=self._epoch)
        if self._run.asked_to_stop():
            self._save()
            self._run.end()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """A sign of life in the middle of an evaluation."""
        reporter().enter("evaluating")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reports the epoch's metrics, which has those of the validation, and saves where that is long ago."""
        self._epoch = epoch + 1
        self._run.step_done(int(self.model.optimizer.iterations), logs or {}, epoch=self._epoch)
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Saves the last epoch: what follows may be interrupted too."""
        if self._epoch:  # else all were finished in an earlier attempt, and so they are saved
            self._save()
        self._run.over()

    def _save(self) -> None:
        """Saves the weights as they are, to go on from with the epoch that isn't finished."""
        if self._backup is not None:
            self._backup.on_epoch_end(self._epoch - 1)
            self._saved_at = time.monotonic()
