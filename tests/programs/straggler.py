"""Trains a small network; one rank takes long to load its samples as long as a file is there."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from footplate_trainer import checkpoint, context, data, prepare, report

place = context()
slow = Path(str(place.hyperparameters["slow"]))


class Samples(Dataset[Any]):
    """One number each."""

    def __len__(self) -> int:
        return 600

    def __getitem__(self, index: int) -> Tensor:
        if place.rank == 1 and slow.exists():
            time.sleep(0.1)
        return torch.full((1,), float(index))


model = prepare(nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1)))
loader = data.loader(Samples(), batch_size=6, epochs=1000)
state = checkpoint.restore(model=model, loader=loader)
for batch in loader:
    time.sleep(0.02)
    model(batch).square().mean().backward()
    state.step += 1
    report(step=state.step)
    checkpoint.maybe_save(state)
