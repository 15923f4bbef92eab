"""`Trainer.fit` on an endless stream, in fp16, which leaves behind what it ended with, bit for bit."""

import hashlib
import random
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from options import Network, Overflow
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import IterableDataset

from footplate_trainer import Context, Trainer, callbacks, context, data

Sample = tuple[Tensor, int]


class Endless(IterableDataset[Sample]):
    """Points of three clusters, drawn at random."""

    def __iter__(self) -> Iterator[Sample]:
        while True:
            label = random.randrange(3)
            yield torch.randn(8) + label, label


class Remembering(Endless):
    """Knows where it is: the points depend on it too."""

    number = 0

    def __iter__(self) -> Iterator[Sample]:
        for point, label in super().__iter__():
            self.number += 1
            yield point + self.number / 1000, label

    def state_dict(self) -> dict[str, Any]:
        return {"number": self.number}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.number = state["number"]


def main(ctx: Context) -> None:
    settings = ctx.hyperparameters
    torch.manual_seed(7)
    model = Network(unused=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    trainer = Trainer(model, cross_entropy, optimizer, precision="fp16", clip_norm=1.0)
    stream = Remembering() if settings["remembering"] else Endless()
    pause = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(settings["stepSeconds"]))
    history = trainer.fit(
        data.loader(stream, batch_size=10, num_workers=settings["workers"]),
        epochs=4,
        steps_per_epoch=6,
        class_weight={0: 2.0},
        callbacks=[Overflow(1), pause],
    )
    weights = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    assert trainer._step.scaler is not None
    ctx.output_dir.mkdir(exist_ok=True)
    digest = hashlib.sha256(weights.numpy().tobytes()).hexdigest()
    result = f"{digest} {history.epoch} {history.history} {trainer._step.scaler.skipped}"
    (ctx.output_dir / f"result-{ctx.rank}.json").write_text(result)


if __name__ == "__main__":
    main(context())
