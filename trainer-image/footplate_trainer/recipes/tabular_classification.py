"""Recipe tabular-classification: CSV or Parquet files in, a multi-layer perceptron out."""

from footplate.api.recipes import TableHyperparameters
from footplate_trainer.data.inputs import TableInput
from footplate_trainer.data.table_target import learn_classes
from footplate_trainer.models.cards import ModelCard
from footplate_trainer.models.networks import TableClassifier
from footplate_trainer.rank.environment import Context
from footplate_trainer.recipes.tables import data_sets, measure, network_arguments, read_table
from footplate_trainer.recipes.training import train_classifier

NAME = "tabular-classification"


def train(ctx: Context, hyperparameters: TableHyperparameters) -> None:
    """Reads the data, trains, evaluates, exports. Collective."""
    splits = read_table(ctx, hyperparameters, recipe=NAME, learn_target=learn_classes)
    card = ModelCard(
        recipe=NAME,
        network="table-classifier",
        arguments={**network_arguments(splits, hyperparameters), "classes": len(splits.classes)},
        classes=splits.classes,
        input=TableInput(columns=splits.columns),
        notes=splits.notes,
    )
    network = TableClassifier(**card.arguments)
    network.standardise(*measure(splits.train.columns[:, : network.numeric]))
    train_classifier(ctx, hyperparameters, network, card, **data_sets(splits))
