"""Recipe tabular-classification: CSV or Parquet files in, a multi-layer perceptron out."""

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from footplate.api.recipes import TableHyperparameters
from footplate_trainer.data.inputs import TableInput
from footplate_trainer.data.scratch import ranks
from footplate_trainer.data.splits import TEST, VALIDATION, check_channels
from footplate_trainer.data.table_files import BATCH_ROWS
from footplate_trainer.data.tables import Rows, TableSplits, read_splits
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.networks import TableClassifier
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter
from footplate_trainer.recipes.evaluating import table_slices
from footplate_trainer.recipes.inputs import choose_inputs
from footplate_trainer.recipes.training import train_classifier

NAME = "tabular-classification"
EXAMPLES = 8


def train(ctx: Context, hyperparameters: TableHyperparameters) -> None:
    """Reads the data, trains, evaluates, exports. Collective."""
    inputs, fractions = choose_inputs(ctx, hyperparameters)
    check_channels(inputs, recipe=NAME)
    reporter().enter("loading")
    splits = read_splits(
        inputs,
        target=hyperparameters.target,
        ignore=hyperparameters.ignore,
        validation_fraction=fractions[VALIDATION],
        test_fraction=fractions[TEST],
        seed=hyperparameters.seed,
    )
    for note in splits.notes:
        reporter().note(note)
    card = make_card(splits, hyperparameters)
    network = TableClassifier(**card.arguments)
    network.mean.data, network.std.data = measure(splits.train.columns[:, : card.arguments["numeric"]])
    train_classifier(
        ctx,
        hyperparameters,
        network,
        card,
        train=_data_set(splits.train),
        validation=splits.validation and _data_set(splits.validation),
        test=splits.test and _data_set(splits.test),
        example=splits.train.columns[:EXAMPLES],
        slices=table_slices(ctx, splits.columns, splits.test),
    )


def make_card(splits: TableSplits, hyperparameters: TableHyperparameters) -> ModelCard:
    """The card of a network for such a table."""
    categories = [1 + len(column.categories) for column in splits.columns if column.categories is not None]
    return ModelCard(
        recipe=NAME,
        network="table-classifier",
        arguments={
            "numeric": len(splits.columns) - len(categories),
            "categories": categories,
            "classes": len(splits.classes),
            "hidden": hyperparameters.hidden,
            "layers": hyperparameters.layers,
            "dropout": hyperparameters.dropout,
        },
        classes=splits.classes,
        input=TableInput(columns=splits.columns),
        notes=splits.notes,
    )


def measure(columns: Tensor) -> tuple[Tensor, Tensor]:
    """`mean_and_std` of columns that all ranks have, by rank 0. Collective."""
    return ranks().from_main(lambda: mean_and_std(columns))


def mean_and_std(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [columns] of columns [N, columns], without what is missing (NaN)."""
    # Added up in place: results kept for each part would lie between the parts' memory, and keep it from being reused.
    count, total, squares = torch.zeros((3, columns.shape[1]), dtype=torch.float64)
    for part in columns.split(BATCH_ROWS):
        count += (~torch.isnan(part)).sum(dim=0)
        total += part.double().nansum(dim=0)
    mean = total / count.clamp_(min=1)
    for part in columns.split(BATCH_ROWS):
        squares += ((part.double() - mean) ** 2).nansum(dim=0)
    variance = squares / count
    std = torch.where(variance > 0, variance.sqrt(), 1.0)
    return mean.float(), std.float()


def _data_set(rows: Rows) -> TensorDataset:
    return TensorDataset(rows.columns, rows.labels)
