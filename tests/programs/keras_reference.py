"""What Keras 3's callbacks, with its torch backend, make of the cases of `keras_cases`: JSON from stdin to stdout.

A process of its own, since Keras chooses its backend when it is imported, for all that comes after.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np

from keras_cases import BATCH, CASES, INITIAL, POINTS, RATE, TARGETS, Case


class Script(keras.callbacks.Callback):  # type: ignore[misc]
    """Puts a case's values into the logs, and notes what can be seen of training."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.rates: list[float] = []
        self.batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs.update({name: values[epoch] for name, values in self.case.script.items()})
        self.rates.append(float(self.model.optimizer.learning_rate))


class Summary:
    """In place of `tensorflow.summary`: what a writer would have been given."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written: list[tuple[str, str, int, float]] = []
        self._writers: list[str] = []
        self._when: list[Any] = [lambda: True]

    def create_file_writer(self, folder: str) -> "Writer":
        return Writer(self, str(Path(folder).relative_to(self.root)))

    @contextlib.contextmanager
    def record_if(self, when: Any) -> Iterator[None]:
        self._when.append(when)
        yield
        self._when.pop()

    def scalar(self, name: str, value: Any, step: Any) -> None:
        if self._writers and self._when[-1]():
            self.written.append((self._writers[-1], name, int(step), float(value)))


class Writer:
    """A folder's."""

    def __init__(self, summary: Summary, folder: str) -> None:
        self._summary, self._folder = summary, folder

    @contextlib.contextmanager
    def as_default(self, step: Any = None) -> Iterator[None]:
        self._summary._writers.append(self._folder)
        yield
        self._summary._writers.pop()

    def close(self) -> None:
        pass


def run(name: str, case: Case, folder: Path) -> dict[str, Any]:
    seen: list[list[Any]] = []
    callback = case.make(keras.callbacks, folder, ".weights.h5", seen)
    script = Script(case)
    summary = Summary(folder)
    callback._summary_module = summary
    layer = keras.layers.Dense(1)
    model = keras.Sequential([keras.Input((2,)), layer])
    layer.set_weights([np.array(INITIAL, np.float32).reshape(2, 1), np.zeros(1, np.float32)])
    optimizer = keras.optimizers.SGD(RATE, use_ema=name.startswith("SwapEMAWeights"), ema_momentum=case.ema_momentum)
    model.compile(optimizer=optimizer, loss="mse")
    validation = (np.array(POINTS, np.float32), np.array(TARGETS, np.float32)) if case.validates else None
    points = np.array(POINTS, np.float32)
    if case.spoilt is not None:
        points[case.spoilt] = np.nan
    history = model.fit(
        points,
        np.array(TARGETS, np.float32),
        batch_size=BATCH,
        epochs=case.epochs,
        shuffle=False,
        verbose=0,
        validation_data=validation,
        callbacks=[script, callback],
    )
    return {
        "epochs": history.epoch,
        "history": {name: [float(value) for value in values] for name, values in history.history.items()},
        "rates": script.rates,
        "batches": script.batches,
        "seen": seen,
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*.weights.h5")),
        "text": (folder / "log.csv").read_text() if (folder / "log.csv").exists() else "",
        "written": summary.written,
        "weights": [float(weight) for part in layer.get_weights() for weight in part.ravel()],
    }


if __name__ == "__main__":
    root = Path(sys.argv[1])
    results = {}
    for name, case in CASES.items():
        (root / name).mkdir()
        results[name] = run(name, case, root / name)
    (root / "results.json").write_text(json.dumps(results))
