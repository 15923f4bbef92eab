"""`Trainer.fit` with every source of chance in use, which leaves behind what it ended with, bit for bit."""

import hashlib
import json
import time
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from witness import witness

from footplate_trainer import Context, Trainer, callbacks, context, data, metrics
from footplate_trainer.checkpoint.sharded import is_dtensor

SAMPLES, BATCH = 101, 24
STEPS_PER_EPOCH = -(-SAMPLES // BATCH)


class Slow(callbacks.Callback):
    """Makes steps last, so that a test can interrupt between them, and spoils a weight where a test wants that."""

    def __init__(self, seconds: float, nan_after: int | None) -> None:
        self._seconds = seconds
        self._nan_after = nan_after

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        time.sleep(self._seconds)
        if batch == self._nan_after:
            with torch.no_grad():
                next(self.trainer.module.parameters()).fill_(float("nan"))


class Witness(callbacks.Callback):
    """Tells the witness of every step, and makes evaluations last, so that a test can interrupt one."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        weights = whole(next(self.trainer.module.parameters()))
        witness(self._ctx, self._epoch * STEPS_PER_EPOCH + batch + 1, float(weights.sum()))

    def on_test_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        time.sleep(self._ctx.hyperparameters.get("evaluationSeconds", 0.0))


class Points(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Points of three clusters, moved a little at random."""

    def __init__(self, samples: int, *, noise: float) -> None:
        generator = torch.Generator().manual_seed(samples)
        self.labels = torch.randint(0, 3, (samples,), generator=generator)
        self.points = torch.randn(samples, 8, generator=generator, dtype=torch.float64) + self.labels[:, None]
        self.noise = noise

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.points[index] + self.noise * torch.randn(8), self.labels[index]


def whole(weight: Tensor) -> Tensor:
    """A parameter's values, of which a sharded one has only a piece here."""
    values = weight.detach()
    return values.full_tensor() if is_dtensor(values) else values


def main(ctx: Context) -> None:
    settings = ctx.hyperparameters
    torch.manual_seed(7)
    norm = nn.BatchNorm1d(16) if settings["batchNorm"] else nn.Identity()
    model = nn.Sequential(nn.Linear(8, 16), norm, nn.ReLU(), nn.Dropout(settings["dropout"]), nn.Linear(16, 3)).double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    trainer = Trainer(
        model,
        nn.functional.cross_entropy,
        optimizer,
        metrics=[metrics.accuracy],
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100),
        accumulate=settings["accumulate"],
        strategy=settings.get("strategy", "ddp"),
    )
    validation = Points(37, noise=0)
    remembering = []
    if settings.get("callbacks"):
        stopping = callbacks.EarlyStopping(monitor="val_loss", patience=100, restore_best_weights=True)
        remembering = [callbacks.SwapEMAWeights(swap_on_epoch=True, ema_momentum=0.9), stopping]
    history = trainer.fit(
        data.loader(Points(SAMPLES, noise=settings["noise"]), batch_size=BATCH),
        validation=data.loader(
            TensorDataset(validation.points, validation.labels),
            batch_size=settings.get("validationBatchSize", 12),
            shuffle=False,
        ),
        epochs=settings["epochs"],
        callbacks=[Witness(ctx), Slow(settings["stepSeconds"], settings.get("nanAfter")), *remembering],
    )
    weights = torch.cat([whole(weight).flatten() for weight in model.parameters()])
    result = {
        "weights": weights.tolist(),
        "sha256": hashlib.sha256(weights.numpy().tobytes()).hexdigest(),
        "epochs": history.epoch,
        "history": history.history,
    }
    ctx.output_dir.mkdir(exist_ok=True)
    (ctx.output_dir / f"result-{ctx.rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(context())
