"""What the recipes share: train a network, evaluate it on what was held out, export it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from footplate.api.hyperparameters import Hyperparameters
from footplate_trainer import data
from footplate_trainer.callbacks import Callback
from footplate_trainer.data.indexed import Collate
from footplate_trainer.evaluation.measured import Numbers
from footplate_trainer.metrics import Metric, accuracy
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.export import asked_formats, check_formats, export_model
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter
from footplate_trainer.recipes.callbacks import check_held_out, make_callbacks
from footplate_trainer.recipes.evaluating import check_gates, evaluate_test, leave_card
from footplate_trainer.training.epoch_line import status_names
from footplate_trainer.training.losses import Loss
from footplate_trainer.training.trainer import Trainer

WARM_UP = 0.05
"""Share of the steps in which the learning rate rises."""
FINAL_RATE = 0.01
"""Of the highest learning rate, what is left at the end."""


def train_classifier(
    ctx: Context, hyperparameters: Hyperparameters, network: nn.Module, card: ModelCard, **data_sets: Any
) -> None:
    """Trains a network that gives logits [N, classes] of labels [N]: see `train_network`. Collective."""
    loss = nn.functional.cross_entropy
    train_network(ctx, hyperparameters, network, card, loss=loss, metrics=[accuracy], **data_sets)


def train_network(
    ctx: Context,
    hyperparameters: Hyperparameters,
    network: nn.Module,
    card: ModelCard,
    *,
    loss: Loss,
    metrics: Sequence[Metric],
    train: Any,
    validation: Any,
    test: Any,
    example: Any,
    num_workers: int = 0,
    callbacks: Sequence[Callback] = (),
    slices: Mapping[str, Numbers] | None = None,
    collate: Collate | None = None,
    lengths: Tensor | None = None,
    class_weight: Mapping[int, float] | None = None,
) -> None:
    """Fits the network to the data set `train`, and leaves it and what was measured behind. Collective.

    Args:
        train, validation, test: data sets of (inputs, target); the last two may be None.
        example: some inputs, by which exported files are checked.
        num_workers: processes of each rank that make samples of data sets that aren't tensors.
        callbacks: before those that the hyperparameters ask for.
        slices: columns of the test data, by whose values it is evaluated too.
        collate, lengths: of the data sets' samples, and of those of `train`; see `data.loader`.
        class_weight: see `Trainer.fit`.

    Raises:
        ConfigError: what the hyperparameters ask for needs validation data, and there are none; or a gate asks for
            what won't be measured.
    """
    check_formats(asked_formats(ctx))
    check_gates(ctx, card, has_test=bool(test))
    check_held_out(hyperparameters, validation, divided=bool(ctx.splits))

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
    follows_values = hyperparameters.reduce_on_plateau is not None
    trainer = Trainer(
        network,
        loss,
        optimizer,
        metrics=metrics,
        scheduler=None if follows_values else warm_up_and_cosine(optimizer, hyperparameters.epochs * len(batches)),
        accumulate=hyperparameters.accumulation_steps,
        strategy=hyperparameters.strategy or "ddp",
        precision=hyperparameters.computes_in,
        compile=hyperparameters.compile,
        clip_norm=hyperparameters.clip_norm,
    )
    hooks = [*callbacks, *make_callbacks(hyperparameters)]
    history = trainer.fit(
        batches,
        validation=validation and load(validation, shuffle=False),
        epochs=hyperparameters.epochs,
        callbacks=hooks,
        class_weight=class_weight,
    )
    restored = next((hook.restored for hook in hooks if hook.restored), None)
    last = {name: values[-1] for name, values in history.history.items()}
    measured = status_names(restored.logs if restored else last)
    if test:
        measured |= evaluate_test(trainer, load(test, shuffle=False), card, slices=slices)
    card = card.model_copy(update={"metrics": _of_model(measured, hyperparameters)})
    export_model(network, example, card=card)
    leave_card(ctx, card.recipe, measured=measured, notes=card.notes, history=history)
    reporter().flush()


def _of_model(measured: Mapping[str, float], hyperparameters: Hyperparameters) -> dict[str, float]:
    """What was measured of the model, of all that callbacks have put beside it, as far as it is a number."""
    names = hyperparameters.measured()
    return {name: value for name, value in measured.items() if name in names and math.isfinite(value)}


def warm_up_and_cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """A learning rate that rises in the first `WARM_UP` of the steps and falls along a cosine in the rest."""
    rising = max(1, round(WARM_UP * steps))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        falling = (step - rising) / max(1, steps - rising)
        return FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * min(1.0, falling))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
