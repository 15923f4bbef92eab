"""Recipe tabular-regression: CSV or Parquet files in, a multi-layer perceptron out that gives a quantity.

The loss is the mean squared error of the standardised target, whatever its unit: 1 for a model that always gives the
training data's mean. What is told besides it is in the target's unit.
"""

import math
from collections.abc import Mapping

from torch import Tensor

from footplate.api.recipes import RegressionHyperparameters
from footplate_trainer.callbacks import Callback
from footplate_trainer.data.inputs import TableInput
from footplate_trainer.data.table_quantity import learn_quantity
from footplate_trainer.data.tables import Rows
from footplate_trainer.errors import DataError
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.networks import TableRegressor
from footplate_trainer.rank.environment import Context
from footplate_trainer.rank.report import report
from footplate_trainer.recipes.evaluating import table_slices
from footplate_trainer.recipes.tables import data_sets, measure, network_arguments, read_table
from footplate_trainer.recipes.training import train_network
from footplate_trainer.training.epoch_line import status_names

NAME = "tabular-regression"


def train(ctx: Context, hyperparameters: RegressionHyperparameters) -> None:
    """Reads the data, trains, evaluates, exports. Collective."""
    splits = read_table(ctx, hyperparameters, recipe=NAME, learn_target=learn_quantity)
    mean, std = _mean_and_std(splits.train)
    if std == 0:
        raise DataError(
            f"the column {hyperparameters.target!r} is {mean:g} in all {len(splits.train):,} rows that are left to "
            "train on, so there is nothing to learn; bring more rows, or hold out fewer"
        )
    card = ModelCard(
        recipe=NAME,
        network="table-regressor",
        arguments={**network_arguments(splits, hyperparameters), "target_mean": mean, "target_std": std},
        classes=(),
        input=TableInput(columns=splits.columns),
        notes=splits.notes,
    )
    network = TableRegressor(**card.arguments)
    network.standardise(*measure(splits.train.columns[:, : network.numeric]))

    def loss(quantities: Tensor, targets: Tensor) -> Tensor:
        return ((quantities - targets) / std).square()

    spreads = {"": std, "val_": _std(splits.validation)}
    train_network(
        ctx,
        hyperparameters,
        network,
        card,
        loss=loss,
        metrics=[mae],
        callbacks=[Scores(std, spreads)],
        slices=table_slices(ctx, splits.columns, splits.test),
        **data_sets(splits),
    )


def mae(quantities: Tensor, targets: Tensor) -> Tensor:
    """The absolute errors [N], of which the mean is told."""
    return (quantities - targets).abs()


def scores(loss: float, *, unit: float, spread: float) -> dict[str, float]:
    """What follows from the loss: the root of the mean squared error, and the coefficient of determination.

    Args:
        loss: mean squared error in squares of `unit`.
        unit: the training target's standard deviation.
        spread: that of the target which was compared with; where it is 0 there is no r2 (NaN).
    """
    return {"rmse": unit * math.sqrt(loss), "r2": 1 - loss * (unit / spread) ** 2 if spread else math.nan}


class Scores(Callback):
    """Adds to an epoch's values what follows from its losses.

    Args:
        unit: see `scores`.
        spreads: by what the values' names begin with.
    """

    def __init__(self, unit: float, spreads: Mapping[str, float]) -> None:
        self._unit, self._spreads = unit, spreads

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Adds and reports them."""
        logs = {} if logs is None else logs
        found = {
            prefix + name: value
            for prefix, spread in self._spreads.items()
            if f"{prefix}loss" in logs
            for name, value in scores(logs[f"{prefix}loss"], unit=self._unit, spread=spread).items()
        }
        logs.update(found)
        report(step=self.trainer.step, **status_names(found))


def _std(rows: Rows | None) -> float:
    return _mean_and_std(rows)[1] if rows is not None else 0.0


def _mean_and_std(rows: Rows) -> tuple[float, float]:
    """Of the targets, exact for such as are far from 0: collective."""
    mean, std = measure(rows.labels[:, None])
    constant = bool((rows.labels == rows.labels[0]).all())
    return float(mean), 0.0 if constant else float(std)
