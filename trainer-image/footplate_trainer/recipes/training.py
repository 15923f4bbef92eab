"""What the recipes share: train a classifier, evaluate it on what was held out, export it."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from footplate.api.recipes import Hyperparameters
from footplate_trainer import data
from footplate_trainer.data.indexed import Collate
from footplate_trainer.metrics import accuracy
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.export import asked_formats, check_formats, export_model
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import report, reporter
from footplate_trainer.training.trainer import Trainer, status_names

WARM_UP = 0.05
"""Share of the steps in which the learning rate rises."""
FINAL_RATE = 0.01
"""Of the highest learning rate, what is left at the end."""


def train_classifier(
    ctx: Context,
    hyperparameters: Hyperparameters,
    network: nn.Module,
    card: ModelCard,
    *,
    train: Any,
    validation: Any,
    test: Any,
    example: Any,
    num_workers: int = 0,
    collate: Collate | None = None,
    lengths: Tensor | None = None,
    class_weight: Mapping[int, float] | None = None,
) -> None:
    """Fits the network to the data set `train`, and leaves it and its accuracies behind. Collective.

    Args:
        train, validation, test: data sets of (inputs, label); the last two may be None.
        example: some inputs, by which exported files are checked.
        num_workers: processes of each rank that make samples of data sets that aren't tensors.
        collate, lengths: of the data sets' samples, and of those of `train`; see `data.loader`.
        class_weight: see `Trainer.fit`.
    """
    check_formats(asked_formats(ctx))

    def load(samples: Any, *, shuffle: bool) -> data.Loader:
        helpers = 0 if isinstance(samples, TensorDataset) else num_workers
        return data.loader(
            samples,
            batch_size=hyperparameters.batch_size,
            shuffle=shuffle,
            num_workers=helpers,
            collate=collate,
            lengths=lengths if shuffle else None,
        )

    batches = load(train, shuffle=True)
    optimizer = torch.optim.AdamW(
        (weight for weight in network.parameters() if weight.requires_grad),
        lr=hyperparameters.learning_rate,
        weight_decay=hyperparameters.weight_decay,
        fused=ctx.device.type == "cuda",
    )
    steps = hyperparameters.epochs * len(batches)
    trainer = Trainer(
        network,
        nn.functional.cross_entropy,
        optimizer,
        metrics=[accuracy],
        scheduler=warm_up_and_cosine(optimizer, steps),
        accumulate=hyperparameters.accumulation_steps,
        compile=hyperparameters.compile,
    )
    held_out = validation and load(validation, shuffle=False)
    trainer.fit(batches, validation=held_out, epochs=hyperparameters.epochs, class_weight=class_weight)
    if test:
        results = trainer.evaluate(load(test, shuffle=False))
        report(step=steps, **status_names(results, prefix="test_"))
    export_model(network, example, card=card)
    reporter().flush()


def warm_up_and_cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """A learning rate that rises in the first `WARM_UP` of the steps and falls along a cosine in the rest."""
    rising = max(1, round(WARM_UP * steps))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        falling = (step - rising) / max(1, steps - rising)
        return FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * min(1.0, falling))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
