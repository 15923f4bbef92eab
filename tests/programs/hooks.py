"""`Trainer.fit` with callbacks that keep whole weights, averages and files, on ranks that may each have a piece."""

import json
import time
from collections.abc import Mapping

import torch
from fit import BATCH, SAMPLES, Points
from torch import nn

from footplate_trainer import Context, Trainer, context, data
from footplate_trainer.callbacks import (
    Callback,
    LambdaCallback,
    ModelCheckpoint,
    SwapEMAWeights,
    TensorBoard,
    TerminateOnNaN,
)


class SpoilOneRank(Callback):
    """Makes the loss of a batch NaN on the last rank alone."""

    def __init__(self, ctx: Context, batch: int) -> None:
        self._ctx, self._batch = ctx, batch
        self.now = False

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.now = batch == self._batch and self._ctx.rank == self._ctx.world_size - 1


def main(ctx: Context) -> None:
    settings = ctx.hyperparameters
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    spoil = SpoilOneRank(ctx, settings.get("nanAt", -1))

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        value = nn.functional.cross_entropy(outputs, targets)
        return value * float("nan") if spoil.now else value

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    trainer = Trainer(model, loss, optimizer, strategy=settings["strategy"])
    points = Points(SAMPLES, noise=0)
    points.points += torch.arange(8) / 8
    hooks: list[Callback] = [
        LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(settings.get("stepSeconds", 0.0))),
        spoil,
        ModelCheckpoint("steps/{epoch}-{batch}.safetensors", save_freq=7, save_best_only=True, monitor="loss"),
        SwapEMAWeights(swap_on_epoch=True, ema_momentum=0.8),
        ModelCheckpoint("best.safetensors", save_best_only=True),
        TensorBoard("logs", histogram_freq=2),
        TerminateOnNaN(),
    ]
    train = data.loader(points, batch_size=BATCH)
    history = trainer.fit(train, validation=train, epochs=settings["epochs"], callbacks=hooks)
    ctx.output_dir.mkdir(exist_ok=True)
    (ctx.output_dir / f"history-{ctx.rank}.json").write_text(json.dumps([history.epoch, history.history]))


if __name__ == "__main__":
    main(context())
