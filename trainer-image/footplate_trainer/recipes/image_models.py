"""The networks that image-classification trains: one of its own, fresh or trained before, or a pretrained one of
transformers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import nn

from footplate.api.recipe_inputs import MODEL
from footplate.api.recipes import PATH, ImageHyperparameters
from footplate_trainer.data.images import ImageSplits, as_model_takes
from footplate_trainer.data.inputs import ImageInput
from footplate_trainer.data.tokens import check_packages
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.models.cards import CARD_FILE, ModelCard
from footplate_trainer.models.folders import add_adapters
from footplate_trainer.models.images import NAME as PRETRAINED
from footplate_trainer.models.images import PretrainedImageClassifier, check_computes, read_preprocessor
from footplate_trainer.models.loading import load_model
from footplate_trainer.models.networks import ImageClassifier
from footplate_trainer.models.pretrained import (
    CONFIG_FILE,
    IMAGES,
    check_folder,
    find_folder,
    read_network,
    stay_offline,
)
from footplate_trainer.rank.environment import Context
from footplate_trainer.recipes.image_statistics import measure

NAME = "image-classification"
OWN = "image-classifier"


class Made(NamedTuple):
    """A network for the data of a run."""

    network: nn.Module
    card: ModelCard
    splits: ImageSplits
    """The data as it takes them."""


class Beginning(Protocol):
    """What training begins with."""

    @property
    def side(self) -> int:
        """Pixels of the side to which picture files are resized."""
        ...

    def make(self, splits: ImageSplits, notes: Sequence[str]) -> Made:
        """A network for such data, of which there are notes. Collective."""
        ...


def choose(ctx: Context, hyperparameters: ImageHyperparameters) -> Beginning:
    """What the job brings.

    Raises:
        DataError: the input `model` holds none that can be trained.
    """
    if MODEL not in ctx.inputs:
        return Fresh(hyperparameters)
    folder = ctx.inputs[MODEL]
    if (folder / CARD_FILE).is_file() and not (folder / CONFIG_FILE).is_file():
        return Trained(folder, hyperparameters)
    return Pretrained(folder, hyperparameters)


class Fresh:
    """A small network of this recipe's own, without any knowledge."""

    def __init__(self, hyperparameters: ImageHyperparameters) -> None:
        self._wanted = hyperparameters
        self.side = hyperparameters.image_size

    def make(self, splits: ImageSplits, notes: Sequence[str]) -> Made:
        """See `Beginning`."""
        shape = _shape(splits)
        arguments = {
            "image_shape": [*shape],
            "classes": len(splits.train.classes),
            **{name: getattr(self._wanted, name) for name in ("width", "hidden", "dropout")},
        }
        network = ImageClassifier(**arguments)
        network.mean.data, network.std.data = measure(splits.train)
        return Made(network, _card(OWN, splits, notes, arguments=arguments), splits)


class Trained:
    """A network that this recipe has made before."""

    def __init__(self, folder: Path, hyperparameters: ImageHyperparameters) -> None:
        self._folder = folder
        self._model = load_model(folder)
        card = self._model.card
        if card.network != OWN or not isinstance(card.input, ImageInput):
            raise DataError(
                f"input model: {folder / CARD_FILE} is a model's of recipe {card.recipe}; {NAME} goes on with its own, "
                "or with one of transformers"
            )
        if hyperparameters.fine_tuning == "lora":
            raise ConfigError(f"{PATH}.fineTuning = lora: adapters are for models of transformers; use full")
        self._shape = card.input.shape
        self.side = self._shape[2]

    def make(self, splits: ImageSplits, notes: Sequence[str]) -> Made:
        """See `Beginning`."""
        splits = as_model_takes(splits, self._shape)
        card, network, classes = self._model.card, self._model.network.train(), splits.train.classes
        arguments = {**card.arguments, "classes": len(classes)}
        if classes != card.classes:
            network.head[-1] = nn.Linear(network.head[-1].in_features, len(classes))
            notes = [*notes, "input model: its head for other classes is left out"]
        return Made(network, _card(OWN, splits, notes, arguments=arguments), splits)


class Pretrained:
    """A network of transformers."""

    def __init__(self, folder: Path, hyperparameters: ImageHyperparameters) -> None:
        check_packages()
        stay_offline()
        self._folder = find_folder(folder, IMAGES)
        check_folder(self._folder, IMAGES)
        self._preprocessor = read_preprocessor(self._folder)
        self._wanted = hyperparameters
        self.side = max(self._preprocessor.height, self._preprocessor.width)

    def make(self, splits: ImageSplits, notes: Sequence[str]) -> Made:
        """See `Beginning`."""
        network, said = read_network(self._folder, splits.train.classes, IMAGES)
        model = PretrainedImageClassifier(network, self._preprocessor)
        check_computes(model, self._folder)
        if self._wanted.fine_tuning == "lora":
            model.network = add_adapters(network, self._wanted.lora_rank)
        return Made(model, _card(PRETRAINED, splits, [*notes, *said]), splits)


def _shape(splits: ImageSplits) -> tuple[int, int, int]:
    channels, height, width = splits.train.pixels.shape[1:]
    return channels, height, width


def _card(
    network: str, splits: ImageSplits, notes: Sequence[str], *, arguments: dict[str, object] | None = None
) -> ModelCard:
    return ModelCard(
        recipe=NAME,
        network=network,
        arguments=arguments or {},
        classes=splits.train.classes,
        input=ImageInput(shape=_shape(splits), labelled=splits.train.labelled),
        notes=tuple(notes),
    )
