"""Recipe tabular-classification: CSV or Parquet files in, a multi-layer perceptron out."""

from footplate.api.recipes import TableHyperparameters
from footplate_trainer.data.inputs import TableInput
from footplate_trainer.data.table_target import learn_classes
from footplate_trainer.data.tables import TableSplits
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.networks import TableClassifier
from footplate_trainer.rank.environment import Context
from footplate_trainer.recipes.evaluating import table_slices
from footplate_trainer.recipes.tables import data_sets, measure, network_arguments, read_table
from footplate_trainer.recipes.training import train_classifier

NAME = "tabular-classification"


def train(ctx: Context, hyperparameters: TableHyperparameters) -> None:
    """Reads the data, trains, evaluates, exports. Collective."""
    splits = read_table(ctx, hyperparameters, recipe=NAME, learn_target=learn_classes)
    card = make_card(splits, hyperparameters)
    network = TableClassifier(**card.arguments)
    network.standardise(*measure(splits.train.columns[:, : network.numeric]))
    slices = table_slices(ctx, splits.columns, splits.test)
    train_classifier(ctx, hyperparameters, network, card, slices=slices, **data_sets(splits))


def make_card(splits: TableSplits, hyperparameters: TableHyperparameters) -> ModelCard:
    """The card of a network for such a table."""
    return ModelCard(
        recipe=NAME,
        network="table-classifier",
        arguments={**network_arguments(splits, hyperparameters), "classes": len(splits.classes)},
        classes=splits.classes,
        input=TableInput(columns=splits.columns),
        notes=splits.notes,
    )
