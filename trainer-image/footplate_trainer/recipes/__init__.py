"""Built-in training programs, by the name that `trainer.recipe` gives. Needs no torch until one runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from footplate_trainer.errors import ConfigError
from footplate_trainer.recipes.hyperparameters import (
    Hyperparameters,
    ImageHyperparameters,
    TableHyperparameters,
    nearest,
    parse_hyperparameters,
)

if TYPE_CHECKING:
    from footplate_trainer.context import Context


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training program: `module` has a function `train(context, hyperparameters)` that every rank runs."""

    name: str
    hyperparameters: type[Hyperparameters]
    module: str

    def check(self, hyperparameters: Mapping[str, Any]) -> Hyperparameters:
        """What the user wrote, checked; raises ConfigError for what is wrong in it."""
        return parse_hyperparameters(self.hyperparameters, hyperparameters, recipe=self.name)

    def run(self, place: "Context") -> None:
        """Trains, evaluates and exports. Collective."""
        hyperparameters = self.check(place.hyperparameters)
        import_module(self.module).train(place, hyperparameters)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("image-classification", ImageHyperparameters, "footplate_trainer.recipes.image_classification"),
        Recipe("tabular-classification", TableHyperparameters, "footplate_trainer.recipes.tabular_classification"),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of a name; raises ConfigError with the nearest name and the list where there is none."""
    if recipe := RECIPES.get(name):
        return recipe
    near = nearest(name, RECIPES)
    hint = f"; did you mean {near}?" if near else "."
    raise ConfigError(f"spec.trainer.recipe: there is no recipe {name!r}{hint} There are {', '.join(RECIPES)}")


def run(name: str, place: "Context") -> None:
    """Runs a recipe by its name. Collective."""
    find_recipe(name).run(place)
