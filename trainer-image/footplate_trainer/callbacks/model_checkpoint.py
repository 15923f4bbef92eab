"""A callback that writes the model's weights to files, the best ones or each epoch's."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from footplate_trainer.callbacks import weights
from footplate_trainer.callbacks.callback import Logs
from footplate_trainer.callbacks.files import in_output, read_bytes, replace, write_bytes
from footplate_trainer.callbacks.monitoring import Mode, MonitorCallback
from footplate_trainer.errors import ConfigError, UserError
from footplate_trainer.rank.context import context
from footplate_trainer.rank.gang import all_ranks
from footplate_trainer.rank.report import reporter

log = logging.getLogger("footplate_trainer")

SUFFIX = ".safetensors"
MANY_FILES = 8
"""Files in every checkpoint of which the user is told."""


class ModelCheckpoint(MonitorCallback):
    """Writes the model's weights after an epoch, or every so many batches. Rank 0 does; of a sharded model too they are
    whole. The files are part of every checkpoint, so that they are there after a restart.

    Args:
        filepath: ends in `.safetensors`; a relative one lies in `context().output_dir`, and so belongs to the output.
            May have values in braces: `{epoch}` from 1, `{batch}` from 1 with a number for `save_freq`, and those of
            the logs: `{epoch:02d}-{val_loss:.2f}.safetensors`.
        monitor, mode: see `MonitorCallback`.
        verbose: 1 says in the log what is done.
        save_best_only: writes only where the value is better than ever before. One that an epoch hasn't is no reason
            not to write.
        save_weights_only: weights are all that can be written: not False, which is Keras' default.
        save_freq: `"epoch"`, or a number of batches, after which the values are rank 0's own means so far.
        initial_value_threshold: with `save_best_only`, what the first value must be better than.

    Raises:
        ConfigError: an argument is none of these.
    """

    def __init__(
        self,
        filepath: str | Path,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = True,
        mode: Mode = "auto",
        save_freq: Literal["epoch"] | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode)
        if not str(filepath).endswith(SUFFIX):
            raise ConfigError(
                f"ModelCheckpoint(filepath={str(filepath)!r}): weights are written as safetensors; let it end in "
                f"{SUFFIX}"
            )
        if not save_weights_only:
            raise ConfigError(
                "ModelCheckpoint(save_weights_only=False): a file holds the weights alone; leave it out, and make the "
                "whole model of them with your own code, or with export_model at the end"
            )
        if save_freq != "epoch" and (type(save_freq) is not int or save_freq < 1):
            raise ConfigError(
                f"ModelCheckpoint(save_freq={save_freq!r}): this is 'epoch', or a number of batches of at least 1"
            )
        self.filepath = str(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_freq = save_freq
        self.best = initial_value_threshold
        self._batches = 0
        """Since the last time that was due, where batches are counted."""
        self._epoch = 0
        self._files: list[str] = []
        """What was written, by its path as given."""

    def state_dict(self) -> dict[str, Any]:
        """The best value, the count and, on rank 0, what is in the files that are still there."""
        paths = {name: in_output(name) for name in self._files} if context().is_main else {}
        files = {name: read_bytes(path) for name, path in paths.items() if path.exists()}
        return {"best": self.best, "batches": self._batches, "files": files}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave, and writes the files again."""
        self.best, self._batches, self._files = state["best"], state["batches"], list(state["files"])
        if context().is_main:
            for name, content in state["files"].items():
                write_bytes(in_output(name), content)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Takes note of the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Writes, if batches are counted and it is time."""
        if self.save_freq == "epoch":
            return
        self._batches += 1
        if self._batches >= self.save_freq:
            self._batches = 0
            values = all_ranks("model-checkpoint").from_main(lambda: dict(logs or {}))  # each rank has its own
            self._save(self._epoch, values, {"batch": batch + 1})

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes, unless batches are counted."""
        if self.save_freq == "epoch":
            self._save(epoch, logs or {})

    def _save(self, epoch: int, values: Mapping[str, float], numbers: Mapping[str, int] | None = None) -> None:
        name = self._name({**values, "epoch": epoch + 1, **(numbers or {})})
        if self.save_best_only and not self._is_best(epoch, values):
            return
        self._say(f"epoch {epoch + 1}: the weights are saved to {name}")
        found = weights.on_main(self.trainer.module)
        if context().is_main:
            self._write(name, found)
        if name not in self._files:
            self._files.append(name)
        if context().checkpoint is not None and len(self._files) > MANY_FILES:
            reporter().note(
                f"every checkpoint of the job holds all files of ModelCheckpoint({self.filepath!r}), more than "
                f"{MANY_FILES} by now; a name without {{epoch}} and {{batch}} is written over, and save_best_only=True "
                "writes fewer"
            )

    def _name(self, values: Mapping[str, float]) -> str:
        try:
            return self.filepath.format(**values)
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise UserError(
                f"ModelCheckpoint(filepath={self.filepath!r}) can't be filled in ({type(error).__name__}: {error}); "
                f"there are {', '.join(values)}"
            ) from error

    def _is_best(self, epoch: int, values: Mapping[str, float]) -> bool:
        value = values.get(self.monitor)
        if value is None:
            there = ", ".join(values)
            reporter().note(f"ModelCheckpoint saves every time: there is no {self.monitor!r} among {there}")
            return True
        better = self.improves(value, self.best)
        before = "nothing" if self.best is None else f"{self.best:.5f}"
        verb = "improved" if better else "did not improve"
        self._say(f"epoch {epoch + 1}: {self.monitor} {verb} from {before}: {value:.5f}")
        if better:
            self.best = value
        return better

    def _write(self, name: str, found: Mapping[str, Any]) -> None:
        for key, value in found.items():
            if not isinstance(value, Tensor):
                raise ConfigError(
                    f"ModelCheckpoint: {key} of the model's state is a {type(value).__name__}, and a file of weights "
                    "holds tensors alone"
                )
        tensors = {key: value.contiguous() for key, value in found.items()}
        path = in_output(name)
        try:
            replace(path, lambda aside: save_file(tensors, aside, metadata={"format": "pt"}))
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"ModelCheckpoint(filepath={self.filepath!r}): {path} can't be written: {error}; a relative path lies "
                "in the output folder, where writing is possible"
            ) from error

    def _say(self, text: str) -> None:
        if self.verbose and context().is_main:
            log.info(text)
