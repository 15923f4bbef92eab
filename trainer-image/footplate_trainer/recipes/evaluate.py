"""Recipe evaluate: a model that a recipe has made, and data whose targets are known; out comes its evaluation. Nothing
is trained, and the artifact is no copy of the model.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from footplate.api.recipe_inputs import MODEL
from footplate.api.recipes import PATH, EvaluateHyperparameters
from footplate_trainer import data
from footplate_trainer.data.images import read_images
from footplate_trainer.data.indexed import Collate
from footplate_trainer.data.inputs import ImageInput, PromptInput, TextInput
from footplate_trainer.data.splits import TEST
from footplate_trainer.data.table_quantity import quantities_of_test
from footplate_trainer.data.table_target import classes_of_model
from footplate_trainer.data.tables import read_rows
from footplate_trainer.data.texts import read_texts
from footplate_trainer.data.tokens import Tokens, keep_to_threads
from footplate_trainer.errors import ConfigError
from footplate_trainer.evaluation.measured import Numbers
from footplate_trainer.metrics import accuracy
from footplate_trainer.models.loading import LoadedModel, load_model
from footplate_trainer.models.pretrained import stay_offline
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter
from footplate_trainer.recipes.evaluating import check_gates, evaluate_test, leave_card, table_slices
from footplate_trainer.recipes.image_classification import plain
from footplate_trainer.recipes.tabular_regression import mae
from footplate_trainer.training.trainer import Trainer

NAME = "evaluate"
LABEL = "label"
"""The column of texts that holds the class, where none is named."""


@dataclass(frozen=True)
class _TestData:
    samples: Any
    slices: dict[str, Numbers]
    collate: Collate | None = None


def train(ctx: Context, hyperparameters: EvaluateHyperparameters) -> None:
    """Evaluates the model of the channel `model` on the data of the channel `test`. Collective."""
    if set(ctx.inputs) != {MODEL, TEST}:
        raise ConfigError(
            f"spec.inputs: recipe {NAME} reads the channels {MODEL}, a model's folder in storage, and {TEST}, not "
            f"{', '.join(sorted(ctx.inputs)) or 'none'}"
        )
    stay_offline()
    keep_to_threads()
    reporter().enter("loading")
    model = load_model(ctx.inputs[MODEL])
    check_gates(ctx, model.card, has_test=True)
    notes: list[str] = []
    found = _read(ctx, model, hyperparameters, notes)
    for note in notes:
        reporter().note(note)
    # Nothing is trained: the optimizer is there since a trainer has one. The artifact is in float32, and is used so.
    loss, metrics = (nn.functional.cross_entropy, [accuracy]) if model.card.classes else (squared_error, [mae])
    optimizer = torch.optim.SGD(model.network.parameters())
    trainer = Trainer(model.network, loss, optimizer, metrics=metrics, precision="fp32")
    batches = data.loader(found.samples, batch_size=hyperparameters.batch_size, shuffle=False, collate=found.collate)
    measured = evaluate_test(trainer, batches, model.card, slices=found.slices)
    leave_card(ctx, NAME, measured=measured, notes=notes, loads=False)
    reporter().flush()


def _read(ctx: Context, model: LoadedModel, hyperparameters: EvaluateHyperparameters, notes: list[str]) -> _TestData:
    card, folder = model.card, ctx.inputs[TEST]
    takes = card.input
    if isinstance(takes, ImageInput):
        images = read_images(
            folder,
            shape=takes.shape,
            classes=card.classes,
            labelled=takes.labelled,
            max_corrupt=hyperparameters.max_corrupt,
            note=notes.append,
        )
        return _TestData(plain(images), table_slices(ctx, (), None))
    if isinstance(takes, PromptInput):
        raise ConfigError(
            f"spec.inputs: recipe {NAME} takes no language model, as that of the channel {MODEL} is; its own recipe, "
            "language-model, measures its perplexity on a channel test"
        )
    if isinstance(takes, TextInput):
        tokens: Tokens = model.network.tokens
        texts, said = read_texts(
            folder,
            tokens=tokens,
            text=hyperparameters.text,
            target=hyperparameters.target or LABEL,
            classes=card.classes,
        )
        notes += said
        return _TestData(texts, table_slices(ctx, (), None), tokens.collate)
    if hyperparameters.target is None:
        holds = "class" if card.classes else "quantity"
        raise ConfigError(f"{PATH}.target: name the column of the table that holds the {holds}")
    learn_target = classes_of_model(card.classes) if card.classes else quantities_of_test
    rows = read_rows(folder, columns=takes.columns, target=hyperparameters.target, learn_target=learn_target)
    return _TestData(TensorDataset(rows.columns, rows.labels), table_slices(ctx, takes.columns, rows))


def squared_error(quantities: Tensor, targets: Tensor) -> Tensor:
    """Of each sample [N], in squares of the target's unit."""
    return (quantities - targets).square()
