"""What the recipes for tables share: reading one, its columns' means, and the arguments of a network for it."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from footplate.api.recipes import TableHyperparameters
from footplate_trainer.data.scratch import ranks
from footplate_trainer.data.splits import TEST, VALIDATION, check_channels
from footplate_trainer.data.table_arrow import BATCH_ROWS
from footplate_trainer.data.table_target import LearnTarget
from footplate_trainer.data.tables import Rows, TableSplits, read_splits
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import reporter
from footplate_trainer.recipes.inputs import choose_inputs

EXAMPLES = 8


def read_table(
    ctx: Context, hyperparameters: TableHyperparameters, *, recipe: str, learn_target: LearnTarget
) -> TableSplits:
    """All the data of a run; what there is to say of how they were read is noted. Collective."""
    inputs, fractions = choose_inputs(ctx, hyperparameters)
    check_channels(inputs, recipe=recipe)
    reporter().enter("loading")
    splits = read_splits(
        inputs,
        target=hyperparameters.target,
        learn_target=learn_target,
        ignore=hyperparameters.ignore,
        validation_fraction=fractions[VALIDATION],
        test_fraction=fractions[TEST],
        seed=hyperparameters.seed,
    )
    for note in splits.notes:
        reporter().note(note)
    return splits


def network_arguments(splits: TableSplits, hyperparameters: TableHyperparameters) -> dict[str, Any]:
    """What a network for such a table is built with, whatever its target is."""
    categories = [1 + len(column.categories) for column in splits.columns if column.categories is not None]
    return {
        "numeric": len(splits.columns) - len(categories),
        "categories": categories,
        "hidden": hyperparameters.hidden,
        "layers": hyperparameters.layers,
        "dropout": hyperparameters.dropout,
    }


def data_sets(splits: TableSplits) -> dict[str, Any]:
    """What `train_network` takes of a table."""
    return {
        "train": _data_set(splits.train),
        "validation": splits.validation and _data_set(splits.validation),
        "test": splits.test and _data_set(splits.test),
        "example": splits.train.columns[:EXAMPLES],
    }


def measure(columns: Tensor) -> tuple[Tensor, Tensor]:
    """`mean_and_std` of columns that all ranks have, by rank 0. Collective."""
    return ranks().from_main(lambda: mean_and_std(columns))


def mean_and_std(columns: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [columns], float64, of columns [N, columns], without what is missing (NaN); a
    deviation of 0 is 1.
    """
    # Added up in place: results kept for each part would lie between the parts' memory, and keep it from being reused.
    count, total, squares = torch.zeros((3, columns.shape[1]), dtype=torch.float64)
    for part in columns.split(BATCH_ROWS):
        count += (~torch.isnan(part)).sum(dim=0)
        total += part.double().nansum(dim=0)
    mean = total / count.clamp_(min=1)
    for part in columns.split(BATCH_ROWS):
        squares += ((part.double() - mean) ** 2).nansum(dim=0)
    variance = squares / count
    return mean, torch.where(variance > 0, variance.sqrt(), 1.0)


def _data_set(rows: Rows) -> TensorDataset:
    return TensorDataset(rows.columns, rows.labels)
