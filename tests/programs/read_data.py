"""Reads a data set as the recipes do, and says how much memory that took, and what was read."""

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from footplate_trainer import context, data
from footplate_trainer.data import images, tables
from footplate_trainer.recipes import image_classification, image_statistics
from footplate_trainer.recipes.tables import measure


class Peak:
    """The most memory of this process that is no file's, in bytes, over what it was at first."""

    def __init__(self) -> None:
        self._first = self._most = self._now()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> int:
        self._ended.set()
        return self._most - self._first

    def _watch(self) -> None:
        while not self._ended.wait(0.002):
            self._most = max(self._most, self._now())

    def _now(self) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def read_images(folder: Path, side: int) -> tuple[Any, list[Tensor]]:
    """The training samples, and what was learnt of all."""
    splits = images.read_splits(
        {"train": folder},
        image_size=side,
        class_names=None,
        validation_fraction=0,
        test_fraction=0.1,
        seed=1,
        note=print,
    )
    assert splits.test is not None
    measured = [*image_statistics.measure(splits.train), splits.train.labels, splits.test.labels]
    return image_classification.PlainImages(splits.train), measured


def read_table(folder: Path) -> tuple[Any, list[Tensor]]:
    splits = tables.read_splits(
        {"train": folder}, target="y", ignore=(), validation_fraction=0, test_fraction=0.1, seed=1
    )
    assert splits.test is not None
    print(splits.notes)
    measured = [*measure(splits.train.columns), splits.train.labels, splits.test.labels]
    return torch.utils.data.TensorDataset(splits.train.columns, splits.train.labels), measured


def main() -> None:
    ctx = context()
    settings = ctx.hyperparameters
    folder = Path(settings["folder"])
    peak = Peak()
    samples, measured = read_images(folder, settings["side"]) if "side" in settings else read_table(folder)
    for _ in data.loader(samples, batch_size=settings["batch"], num_workers=settings["workers"]):
        pass
    grown = peak.end()
    digest = hashlib.sha256()
    for tensor in [*measured, *(samples[number][0] for number in range(0, len(samples), 7))]:
        digest.update(tensor.numpy().tobytes())
    ctx.output_dir.mkdir(parents=True, exist_ok=True)
    result = {"peak": grown, "digest": digest.hexdigest()}
    (ctx.output_dir / f"read-{ctx.rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
