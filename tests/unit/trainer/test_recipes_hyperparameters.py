"""Recipes by name, and what is said of hyperparameters that are wrong."""

from typing import Any

import pytest

from footplate_trainer.errors import ConfigError
from footplate_trainer.recipes import RECIPES, find_recipe


@pytest.mark.parametrize(
    ("recipe", "values", "message"),
    [
        ("image-classification", {"learning_rate": 1}, r"no such hyperparameter; did you mean learningRate\?"),
        ("image-classification", {"epoch": 3}, r"spec\.trainer\.hyperparameters\.epoch: .* did you mean epochs\?"),
        ("image-classification", {"xyzzy": 3}, "xyzzy: .*\nRecipe image-classification takes accumulationSteps, aug"),
        ("image-classification", {"epochs": 0}, "epochs is 0; it should be greater than or equal to 1.*default, 10"),
        ("image-classification", {"learningRate": "fast"}, "learningRate is 'fast'; it should be a valid number"),
        ("image-classification", {"learningRate": float("nan")}, "learningRate is nan; it should be a finite number"),
        ("image-classification", {"augmentation": "flip"}, "it should be 'none', 'shift' or 'shift-and-flip'"),
        ("image-classification", {"classes": ["a", ""]}, r"hyperparameters\.classes\.1 is ''"),
        ("tabular-classification", {}, "target is required by recipe tabular-classification.*Column that holds"),
        ("tabular-classification", {"target": "y", "dropout": 1}, "dropout is 1; it should be less than 1"),
    ],
)  # fmt: skip
def test_wrong_hyperparameters_say_what_is_right(recipe: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_recipe(recipe).check(values)


def test_every_wrong_hyperparameter_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        find_recipe("image-classification").check({"epochs": -1, "batchsize": 8, "xyzzy": 1})
    *problems, known = str(caught.value).splitlines()
    assert len(problems) == 3
    assert known.startswith("Recipe image-classification takes accumulationSteps, ")


def test_right_hyperparameters_are_taken_and_others_have_defaults() -> None:
    found = find_recipe("image-classification").check({"batchSize": 8, "learningRate": 1})
    assert (found.batch_size, found.learning_rate, found.epochs) == (8, 1.0, 10)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_hyperparameter_is_described(recipe: Any) -> None:
    for name, field in recipe.hyperparameters.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("image-clasification", "did you mean image-classification[?] There are image-classification, tabular-"),
        ("zzz", "there is no recipe 'zzz'. There are"),
    ],
)
def test_unknown_recipes_get_the_nearest_name_and_the_list(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_recipe(name)
