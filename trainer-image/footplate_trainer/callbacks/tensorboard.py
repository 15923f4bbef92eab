"""A callback that writes what TensorBoard shows."""

import os
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from footplate_trainer.callbacks import weights
from footplate_trainer.callbacks.callback import Callback, Logs
from footplate_trainer.callbacks.files import in_output, read_bytes, write_bytes
from footplate_trainer.errors import ConfigError
from footplate_trainer.rank.context import context

FOLDERS = ("train", "validation")
DEFAULT = "AIP_TENSORBOARD_LOG_DIR"


class TensorBoard(Callback):
    """Writes event files on rank 0, in the folders `train` and `validation`, with the names that Keras gives the values
    (`epoch_loss`). The files are part of every checkpoint: after a restart they are as if there had been none.

    Needs the package tensorboard, as in `pip install 'footplate[tensorboard]'`; no TensorFlow.

    Args:
        log_dir: a relative one lies in `context().output_dir`, and so belongs to the output. Default: that of
            `AIP_TENSORBOARD_LOG_DIR`, which in a job is kept beside the run; else `logs` in the output.
        histogram_freq: epochs between two histograms of each weight; 0 for none.
        write_steps_per_second: of each epoch and, where batches are written, of each of these.
        update_freq: `"epoch"`; or a number of batches after which to write this rank's means so far as well,
            `"batch"` for 1. That waits for the device.
        write_graph, write_images, profile_batch, embeddings_freq, embeddings_metadata: can't be had. `write_graph` is
            True by default in Keras.

    Raises:
        ConfigError: the package is missing, or an argument asks for what can't be had.
    """

    def __init__(
        self,
        log_dir: str | Path | None = None,
        histogram_freq: int = 0,
        write_graph: bool = False,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: Literal["epoch", "batch"] | int = "epoch",
        profile_batch: int | tuple[int, int] = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Mapping[str, str] | None = None,
    ) -> None:
        _refuse(
            write_graph=write_graph,
            write_images=write_images,
            profile_batch=profile_batch,
            embeddings_freq=embeddings_freq,
            embeddings_metadata=embeddings_metadata,
        )
        every = 1 if update_freq == "batch" else update_freq
        if every != "epoch" and (type(every) is not int or every < 1):
            raise ConfigError(
                f"TensorBoard(update_freq={update_freq!r}): this is 'epoch', 'batch', or a number of batches"
            )
        if find_spec("tensorboard") is None:
            raise ConfigError(
                "TensorBoard needs the package tensorboard, which this image lacks; pip install "
                "'footplate[tensorboard]' into it, or take CSVLogger"
            )
        self.log_dir = in_output(log_dir or os.environ.get(DEFAULT) or "logs")
        self.histogram_freq = histogram_freq
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = every
        self._writers: dict[str, Any] = {}
        self._batch = 0
        """Batches of this `fit`."""
        self._steps = 0
        """Batches in all."""
        self._epoch_began, self._steps_before, self._batch_began = 0.0, 0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """The counts and, on rank 0, what was written."""
        for writer in self._writers.values():
            writer.flush()
        files = {str(path.relative_to(self.log_dir)): read_bytes(path) for path in self._files()}
        return {"batch": self._batch, "steps": self._steps, "files": files}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave, in place of what was written since."""
        self._batch, self._steps = state["batch"], state["steps"]
        self._close()
        for path in self._files():
            path.unlink()
        if context().is_main:
            for name, content in state["files"].items():
                write_bytes(self.log_dir / name, content)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Counts this training's batches."""
        self._batch = 0

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Closes the files."""
        self._close()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Looks at the clock."""
        self._epoch_began, self._steps_before = time.monotonic(), self._steps

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Counts the batch."""
        self._batch += 1
        self._batch_began = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Writes the batch's values, if it is its turn."""
        self._steps += 1
        if self.update_freq == "epoch" or self._batch % self.update_freq:
            return
        if self.write_steps_per_second:
            speed = 1 / max(time.monotonic() - self._batch_began, 1e-9)
            self._write("train", {"batch_steps_per_second": speed}, self._batch)
        self._write("train", {f"batch_{name}": value for name, value in self._mine(logs).items()}, self._batch)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Writes the result beside the number of steps."""
        values = {f"evaluation_{name}_vs_iterations": value for name, value in self._mine(logs).items()}
        self._write("validation", values, self._steps)
        for writer in self._writers.values():
            writer.flush()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the epoch's values, and histograms if it is their turn."""
        values = {f"epoch_{name}": value for name, value in (logs or {}).items() if not name.startswith("val_")}
        values["epoch_learning_rate"] = float(self.trainer.optimizer.param_groups[0]["lr"])
        if self.write_steps_per_second:
            seconds = max(time.monotonic() - self._epoch_began, 1e-9)
            values["epoch_steps_per_second"] = (self._steps - self._steps_before) / seconds
        self._write("train", values, epoch)
        validated = {name: value for name, value in (logs or {}).items() if name.startswith("val_")}
        self._write("validation", {f"epoch_{name[4:]}": value for name, value in validated.items()}, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for name, weight in weights.on_main(self.trainer.module).items():
                self._write_histogram(f"{name}/histogram", weight, epoch)

    def _mine(self, logs: Logs | None) -> Logs:
        """What is to be written: reading it waits for the device, so other ranks don't."""
        return (logs or {}) if context().is_main else {}

    def _write(self, folder: str, values: Mapping[str, float], step: int) -> None:
        if context().is_main:
            for name, value in values.items():
                self._writer(folder).add_scalar(name, value, step)

    def _write_histogram(self, name: str, weight: Any, step: int) -> None:
        """Of what is finite: of other values there is none."""
        if isinstance(weight, Tensor) and (finite := weight[torch.isfinite(weight)]).numel():
            self._writer("train").add_histogram(name, finite.float(), step)

    def _writer(self, folder: str) -> Any:
        if folder not in self._writers:
            from torch.utils.tensorboard import SummaryWriter

            self._writers[folder] = SummaryWriter(str(self.log_dir / folder), filename_suffix=_ending())
        return self._writers[folder]

    def _files(self) -> list[Path]:
        """What this run has written, on rank 0."""
        if not context().is_main:
            return []
        return [path for folder in FOLDERS for path in sorted((self.log_dir / folder).glob(f"events.*{_ending()}"))]

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


def _ending() -> str:
    """Of this run's files, which may lie beside others' in a volume."""
    ctx = context()
    return f".run-{ctx.run}-{ctx.uid[:8]}"


def _refuse(**arguments: Any) -> None:
    for name, value in arguments.items():
        if value:
            raise ConfigError(
                f"TensorBoard({name}={value!r}) can't be had: scalars are written, and histograms with "
                f"histogram_freq=1; leave {name} out"
            )
