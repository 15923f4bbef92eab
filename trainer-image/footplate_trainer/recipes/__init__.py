"""Built-in training programs, by the name that `trainer.recipe` gives. Needs no torch until one runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from footplate.api import recipes
from footplate.api.errors import alternatives, nearest
from footplate.api.hyperparameters import Settings
from footplate_trainer.errors import ConfigError

if TYPE_CHECKING:
    from footplate_trainer.rank.environment import Context


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training program: `module` has a function `train(context, hyperparameters)` that every rank runs."""

    name: str
    module: str
    reads_parts: bool = True
    """Whether it reads the parts that `spec.data.split` has made, where there are any, and no input that holds data."""

    def check(self, hyperparameters: Mapping[str, Any]) -> Settings:
        """What the user wrote, checked; raises ConfigError for what is wrong in it."""
        if problems := recipes.find_mistakes(self.name, hyperparameters):
            raise ConfigError("\n".join(map(str, problems)))
        return recipes.RECIPES[self.name].model_validate(dict(hyperparameters))

    def run(self, ctx: "Context") -> None:
        """Trains, evaluates and exports. Collective."""
        hyperparameters = self.check(ctx.hyperparameters)
        import_module(self.module).train(ctx, hyperparameters)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("image-classification", "footplate_trainer.recipes.image_classification"),
        Recipe("tabular-classification", "footplate_trainer.recipes.tabular_classification"),
        Recipe("tabular-regression", "footplate_trainer.recipes.tabular_regression"),
        Recipe("text-classification", "footplate_trainer.recipes.text_classification"),
        Recipe("language-model", "footplate_trainer.recipes.language_model"),
        Recipe("evaluate", "footplate_trainer.recipes.evaluate", reads_parts=False),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of a name; raises ConfigError with the nearest name and the list where there is none."""
    if recipe := RECIPES.get(name):
        return recipe
    hint = "; ".join(part for part in (f"must be {alternatives([*RECIPES])}", nearest(name, [*RECIPES])) if part)
    raise ConfigError(f'spec.trainer.recipe = "{name}": {hint}')


def run(name: str, ctx: "Context") -> None:
    """Runs a recipe by its name. Collective."""
    find_recipe(name).run(ctx)
