"""What recipes share that fine-tune the model of an input `model`, or make one."""

from typing import TypeVar

from footplate.api.recipe_inputs import find_conflicts
from footplate.api.recipes import TuningHyperparameters
from footplate_trainer.errors import ConfigError
from footplate_trainer.models.export import asked_formats
from footplate_trainer.rank.environment import Context

FULL_RATE, OTHER_RATE = 5e-5, 1e-3
"""Learning rates: of weights that know something already, and of those that don't."""
H = TypeVar("H", bound=TuningHyperparameters)


def check_conflicts(ctx: Context, recipe: str, hyperparameters: TuningHyperparameters) -> None:
    """Raises ConfigError for settings that have no meaning together: who runs a recipe without an operator hears of
    them here.
    """
    problems = find_conflicts(recipe, hyperparameters, channels=ctx.inputs, formats=asked_formats(ctx))
    if said := [*map(str, problems)]:
        raise ConfigError("\n".join(said))


def with_rate(hyperparameters: H, *, pretrained: bool) -> H:
    """The same with a learning rate."""
    if hyperparameters.learning_rate is not None:
        return hyperparameters
    full = pretrained and hyperparameters.fine_tuning == "full"
    return hyperparameters.model_copy(update={"learning_rate": FULL_RATE if full else OTHER_RATE})
