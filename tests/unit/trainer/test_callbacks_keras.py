"""Each callback beside Keras 3's own, on the same numbers: the same decisions, learning rates, files and weights."""

import csv
import io
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from footplate_trainer import Trainer, callbacks, data
from footplate_trainer.callbacks import Callback, SwapEMAWeights
from keras_cases import BATCH, CASES, INITIAL, POINTS, RATE, TARGETS, Case

TESTS = Path(__file__).parents[2]
CLOSE = {"rel": 1e-5, "abs": 1e-6, "nan_ok": True}


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Keras made of every case."""
    if find_spec("keras") is None and not os.environ.get("CI"):
        pytest.skip("Keras isn't installed: pip install -c .ci/constraints.txt -e '.[dev]'")
    root = tmp_path_factory.mktemp("keras")
    subprocess.run(
        [sys.executable, TESTS / "programs" / "keras_reference.py", root],
        check=True,
        env={**os.environ, "PYTHONPATH": str(TESTS), "KERAS_HOME": str(root / "home"), "OMP_NUM_THREADS": "1"},
    )
    results: dict[str, Any] = json.loads((root / "results.json").read_text())
    return results


class Script(Callback):
    """See that of `keras_reference`."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rates: list[float] = []
        self.batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        assert logs is not None
        logs.update({name: values[epoch] for name, values in self.case.script.items()})
        self.rates.append(self.trainer.optimizer.param_groups[0]["lr"])


def run(case: Case, folder: Path) -> dict[str, Any]:
    seen: list[list[Any]] = []
    callback = case.make(callbacks, folder, ".safetensors", seen)
    if isinstance(callback, SwapEMAWeights):
        callback.ema_momentum = case.ema_momentum
    script = Script(case)
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([INITIAL]))
        model.bias.zero_()
    trainer = Trainer(model, nn.functional.mse_loss, torch.optim.SGD(model.parameters(), lr=RATE))
    points, targets = torch.tensor(POINTS), torch.tensor(TARGETS)
    validation = [(points.clone(), targets)] if case.validates else None
    if case.spoilt is not None:
        points[case.spoilt] = torch.nan
    history = trainer.fit(
        data.loader(TensorDataset(points, targets), batch_size=BATCH, shuffle=False),
        validation=validation,
        epochs=case.epochs,
        callbacks=[script, callback],
    )
    return {
        "epochs": history.epoch,
        "history": history.history,
        "rates": script.rates,
        "batches": script.batches,
        "seen": seen,
        "files": [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.safetensors"))],
        "text": (folder / "log.csv").read_text() if (folder / "log.csv").exists() else "",
        "written": sorted(events(folder)),
        "weights": [*model.weight.flatten().tolist(), *model.bias.tolist()],
    }


def events(folder: Path) -> list[list[Any]]:
    """(folder, name, step, value) of every scalar in the event files."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    return [
        [path.parent.name, value.tag, event.step, value.simple_value]
        for path in sorted(folder.rglob("events.*"))
        for event in LegacyEventFileLoader(str(path)).Load()
        for value in event.summary.value
    ]


@pytest.mark.parametrize("name", CASES)
def test_as_in_keras(keras: dict[str, Any], tmp_path: Path, name: str) -> None:
    theirs, ours = keras[name], run(CASES[name], tmp_path)
    assert ours["epochs"] == theirs["epochs"]
    assert ours["batches"] == theirs["batches"]
    assert ours["seen"] == theirs["seen"]
    assert ours["rates"] == pytest.approx(theirs["rates"])
    assert ours["history"].keys() == theirs["history"].keys()
    for key, values in theirs["history"].items():
        assert ours["history"][key] == pytest.approx(values, **CLOSE), key
    assert ours["weights"] == pytest.approx(theirs["weights"], **CLOSE)
    assert [file.removesuffix(".safetensors") for file in ours["files"]] == [
        file.removesuffix(".weights.h5") for file in theirs["files"]
    ]
    written, expected = (shown(result["written"], name) for result in (ours, theirs))
    assert [row[:3] for row in written] == [row[:3] for row in expected]
    assert [row[3] for row in written] == pytest.approx([row[3] for row in expected], **CLOSE)
    assert_same_table(ours["text"], theirs["text"], separator=";" if "separator" in name else ",")


def shown(written: list[list[Any]], name: str) -> list[list[Any]]:
    """What is compared of the scalars: where Keras writes every nth batch it leaves out all that an epoch has to say,
    unless the epoch's last batch is such a one. Ours doesn't.
    """
    return sorted(row for row in written if "some batches" not in name or row[1].startswith("batch_"))


def assert_same_table(ours: str, theirs: str, *, separator: str) -> None:
    mine, other = (list(csv.reader(io.StringIO(text), delimiter=separator)) for text in (ours, theirs))
    assert mine[:1] == other[:1]
    for row, expected in zip(mine[1:], other[1:], strict=True):
        assert [_number(cell) for cell in row] == pytest.approx([_number(cell) for cell in expected], **CLOSE)


def _number(cell: str) -> float:
    return float(cell.replace("NA", "nan"))
