"""Trainings that are done twice, with Keras' callbacks and with ours: what goes in is the same, so must come out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POINTS = [[(7 * row + 3 * column) % 11 / 5 - 1 for column in range(2)] for row in range(12)]
TARGETS = [[row % 5 / 2] for row in range(12)]
BATCH = 4
"""Three batches an epoch, not shuffled."""
INITIAL = [0.5, -0.25]
RATE = 0.1

Make = Callable[[Any, Path, str, list[list[Any]]], Any]
"""(module of callbacks, folder, ending of files with weights, list of what is seen) → the callback."""


@dataclass(frozen=True)
class Case:
    make: Make
    epochs: int
    script: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Values that are put into the logs of the epochs, before the callback sees them."""
    validates: bool = False
    spoilt: int | None = None
    """The sample that is NaN."""
    ema_momentum: float = 0.99


def scripted(kind: str, values: Sequence[float], name: str = "val_loss", **options: Any) -> Case:
    return Case(lambda module, *_: getattr(module, kind)(**options), len(values), {name: values})


def saves(pattern: str, values: Sequence[float], **options: Any) -> Case:
    def make(module: Any, folder: Path, ending: str, _: Any) -> Any:
        return module.ModelCheckpoint(str(folder / (pattern + ending)), save_weights_only=True, **options)

    return Case(make, len(values), {"val_loss": values})


def watches(**options: Any) -> Case:
    return Case(lambda module, folder, *_: module.TensorBoard(folder, write_graph=False, **options), 2, validates=True)


def _lambda(module: Any, _folder: Path, _ending: str, seen: list[list[Any]]) -> Any:
    return module.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(["epoch begins", epoch]),
        on_epoch_end=lambda epoch, logs: seen.append(["epoch ends", epoch, sorted(logs)]),
        on_train_begin=lambda logs: seen.append(["training begins"]),
        on_train_end=lambda logs: seen.append(["training ends", sorted(logs)]),
        on_train_batch_begin=lambda batch, logs: seen.append(["batch begins", batch]),
        on_train_batch_end=lambda batch, logs: seen.append(["batch ends", batch, sorted(logs)]),
    )


def _schedule(epoch: int, rate: float) -> float:
    return rate if epoch < 2 else rate * 0.5


DOWN_AND_UP = [5, 4, 4.5, 3, 3, 2.99995, 3.5, 3, 2, 2.5]
FLAT = [1.0] * 8

CASES: dict[str, Case] = {
    "EarlyStopping": scripted("EarlyStopping", DOWN_AND_UP),
    "EarlyStopping, patience": scripted("EarlyStopping", DOWN_AND_UP, patience=2),
    "EarlyStopping, min_delta": scripted("EarlyStopping", DOWN_AND_UP, patience=2, min_delta=0.75),
    "EarlyStopping, max": scripted("EarlyStopping", DOWN_AND_UP, patience=3, mode="max"),
    "EarlyStopping, baseline": scripted("EarlyStopping", DOWN_AND_UP, patience=4, baseline=2.5),
    "EarlyStopping, late": scripted("EarlyStopping", DOWN_AND_UP, patience=1, start_from_epoch=4),
    "EarlyStopping, best weights": scripted("EarlyStopping", DOWN_AND_UP, patience=3, restore_best_weights=True),
    "ReduceLROnPlateau": scripted("ReduceLROnPlateau", DOWN_AND_UP, patience=2),
    "ReduceLROnPlateau, flat": scripted("ReduceLROnPlateau", FLAT, patience=2, factor=0.5),
    "ReduceLROnPlateau, cooldown": scripted("ReduceLROnPlateau", FLAT, patience=1, factor=0.5, cooldown=2),
    "ReduceLROnPlateau, min_lr": scripted("ReduceLROnPlateau", FLAT, patience=1, factor=0.5, min_lr=0.03),
    "ReduceLROnPlateau, max": scripted("ReduceLROnPlateau", DOWN_AND_UP, patience=1, mode="max", factor=0.2),
    "LearningRateScheduler": Case(lambda module, *_: module.LearningRateScheduler(_schedule), 4),
    "LearningRateScheduler, epoch": Case(
        lambda module, *_: module.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)), 3
    ),
    "CSVLogger": Case(lambda module, folder, *_: module.CSVLogger(str(folder / "log.csv")), 3, validates=True),
    "CSVLogger, separator": Case(
        lambda module, folder, *_: module.CSVLogger(str(folder / "log.csv"), separator=";"), 2, {"extra": [1.5, 2.5]}
    ),
    "LambdaCallback": Case(_lambda, 2),
    "History": Case(lambda module, *_: module.Callback(), 3, validates=True),
    "ModelCheckpoint": saves("weights", DOWN_AND_UP),
    "ModelCheckpoint, each": saves("{epoch:02d}-{val_loss:.2f}", DOWN_AND_UP),
    "ModelCheckpoint, best": saves("{epoch:02d}", DOWN_AND_UP, save_best_only=True),
    "ModelCheckpoint, max": saves("{epoch:02d}", DOWN_AND_UP[::-1], save_best_only=True, mode="max"),
    "ModelCheckpoint, threshold": saves("{epoch:02d}", DOWN_AND_UP, save_best_only=True, initial_value_threshold=3.2),
    "ModelCheckpoint, not there": saves("{epoch}", FLAT, save_best_only=True, monitor="accuracy", mode="max"),
    "ModelCheckpoint, batches": saves("{epoch}-{batch}", FLAT, save_freq=5),
    "ModelCheckpoint, folders": saves("at-{epoch}/weights", FLAT),
    "TerminateOnNaN": Case(lambda module, *_: module.TerminateOnNaN(), 3, spoilt=6),
    "TerminateOnNaN, first": Case(lambda module, *_: module.TerminateOnNaN(), 3, spoilt=0, validates=True),
    "TerminateOnNaN, never": Case(lambda module, *_: module.TerminateOnNaN(), 2),
    "TensorBoard": watches(),
    "TensorBoard, batches": watches(update_freq="batch"),
    "TensorBoard, some batches": watches(update_freq=2),
    "SwapEMAWeights": Case(lambda module, *_: module.SwapEMAWeights(), 3, validates=True),
    "SwapEMAWeights, epochs": Case(lambda module, *_: module.SwapEMAWeights(swap_on_epoch=True), 3, validates=True),
    "SwapEMAWeights, momentum": Case(lambda module, *_: module.SwapEMAWeights(), 3, validates=True, ema_momentum=0.6),
}
