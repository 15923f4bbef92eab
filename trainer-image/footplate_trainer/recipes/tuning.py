"""What recipes share that fine-tune the model of an input `model`, or make one."""

from typing import TypeVar

from footplate.api.recipe_inputs import find_conflicts
from footplate.api.recipes import TuningHyperparameters
from footplate_trainer.errors import ConfigError
from footplate_trainer.models.export import asked_formats
from footplate_trainer.rank.environment import Context

FULL_RATE, OTHER_RATE = 5e-5, 1e-3
"""Learning rates of classifiers: of weights that know something already, and of those that don't."""
H = TypeVar("H", bound=TuningHyperparameters)


def check_conflicts(ctx: Context, recipe: str, hyperparameters: TuningHyperparameters) -> None:
    """Raises ConfigError for settings that have no meaning together: who runs a recipe without an operator hears of
    them here.
    """
    problems = find_conflicts(recipe, hyperparameters, channels=ctx.inputs, formats=asked_formats(ctx))
    if said := [*map(str, problems)]:
        raise ConfigError("\n".join(said))


def with_rate(hyperparameters: H, *, pretrained: bool, full: float = FULL_RATE, other: float = OTHER_RATE) -> H:
    """The same with a learning rate: where none is asked for, `full` for all of a pretrained model, `other` for
    adapters and for a new one.
    """
    if hyperparameters.learning_rate is not None:
        return hyperparameters
    is_full = pretrained and hyperparameters.fine_tuning == "full"
    return hyperparameters.model_copy(update={"learning_rate": full if is_full else other})
