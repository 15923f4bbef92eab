"""A training whose every source of chance is in use: shuffling, augmentation, dropout; and that leaves behind what it
ended with, bit for bit."""

import hashlib
import json
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from witness import witness

from footplate_trainer import Context, checkpoint, context, data, prepare, report


class Noisy(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Samples that are augmented with all three random generators."""

    def __init__(self, samples: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self.inputs = torch.randn(samples, 8, generator=generator)
        self.targets = torch.randint(0, 3, (samples,), generator=generator)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        noise = torch.randn(8) * 0.1 + random.random() * 0.1 + float(np.random.rand()) * 0.1
        return self.inputs[index] + noise, self.targets[index]


class Losses:
    """The loss of every step, as a part of the checkpoint."""

    def __init__(self) -> None:
        self.values: list[list[float]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = state["values"]


class LastFirst(nn.Sequential):
    """Computes from its last layer to its first."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        for layer in reversed(self):
            inputs = layer(inputs)
        return inputs


class Stream(torch.utils.data.IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """The same samples as a stream, which can't say where it is."""

    def __init__(self, samples: Noisy) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return map(self.samples.__getitem__, range(len(self.samples)))


def main(ctx: Context) -> None:
    """One training, or several, one after the other; `steps` counts all."""
    results = []
    steps = 0
    for name in ctx.hyperparameters.get("trainings", ["main"]):
        trained = train(ctx, name, steps_before=steps)
        if trained is None:
            return
        model, optimizer, losses = trained
        steps += len(losses.values)
        results.append((model, optimizer, losses))
    write_result(ctx, results)


def train(ctx: Context, name: str, *, steps_before: int) -> tuple[nn.Module, torch.optim.Optimizer, Losses] | None:
    """What a training ends with; None where it is asked to stop."""
    settings = ctx.hyperparameters
    layers = [
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)
    ]  # fmt: skip
    model = prepare(LastFirst(*reversed(layers)) if settings.get("lastFirst") else nn.Sequential(*layers))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    samples = Noisy(settings["samples"])
    loader = data.loader(
        Stream(samples) if settings.get("stream") else samples,
        batch_size=settings["batchSize"],
        epochs=settings["epochs"],
        num_workers=settings.get("workers", 0),
    )
    losses = Losses()
    state = checkpoint.restore(
        model=model, optimizer=optimizer, scheduler=scheduler, loader=loader, losses=losses, name=name
    )
    for inputs, targets in loader:
        halves = zip(inputs.tensor_split(2), targets.tensor_split(2), strict=True)
        for some_inputs, some_targets in halves:
            loss = nn.functional.cross_entropy(model(some_inputs), some_targets) / 2
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        state.step += 1
        losses.values.append([state.step, loss.item()])
        witness(ctx, steps_before + state.step, loss.item())
        report(step=state.step, loss=loss, epoch=loader.epoch)
        time.sleep(settings.get("stepSeconds", 0.0))
        if checkpoint.maybe_save(state) is checkpoint.STOP:
            return None
    return model, optimizer, losses


def write_result(ctx: Context, trainings: Sequence[tuple[nn.Module, torch.optim.Optimizer, Losses]]) -> None:
    ctx.output_dir.mkdir(exist_ok=True)
    digest = hashlib.sha256()
    for model, optimizer, _ in trainings:
        for value in model.state_dict().values():
            digest.update(value.numpy().tobytes())
        for parameter_state in optimizer.state_dict()["state"].values():
            for value in parameter_state.values():
                digest.update(value.numpy().tobytes())
    losses = [loss for _, _, told in trainings for loss in told.values]
    result = {"sha256": digest.hexdigest(), "losses": losses, "random": torch.rand(3).tolist()}
    (ctx.output_dir / f"result-{ctx.rank}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(context())
