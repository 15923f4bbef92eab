"""Recipes by name, and what is said of hyperparameters that are wrong."""

from typing import Any, get_args

import pytest

from footplate.api import recipes
from footplate_trainer.errors import ConfigError
from footplate_trainer.recipes import RECIPES, find_recipe


@pytest.mark.parametrize(
    ("recipe", "values", "message"),
    [
        ("image-classification", {"learning_rate": 1}, r"no such hyperparameter; did you mean learningRate\?"),
        ("image-classification", {"epoch": 3}, r"spec\.trainer\.hyperparameters\.epoch = 3: .* did you mean epochs\?"),
        ("image-classification", {"xyzzy": 3}, "no such hyperparameter; the fields here are epochs, batch"),
        ("image-classification", {"epochs": 0}, "epochs = 0: must be at least 1; epochs: Passes.*default, 10"),
        ("image-classification", {"learningRate": "fast"}, 'learningRate = "fast": must be a valid number'),
        ("image-classification", {"learningRate": float("nan")}, "learningRate = .*: must be a finite number"),
        ("image-classification", {"augmentation": "flip"}, "must be none, shift or shift-and-flip"),
        ("image-classification", {"classes": ["a", ""]}, r"hyperparameters\.classes\[1\] = .*at least 1 character"),
        ("tabular-classification", {}, "target: is required; target: Column that holds"),
        ("tabular-classification", {"target": "y", "dropout": 1}, "dropout = 1: must be less than 1"),
    ],
)  # fmt: skip
def test_wrong_hyperparameters_say_what_is_right(recipe: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_recipe(recipe).check(values)


def test_every_wrong_hyperparameter_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        find_recipe("image-classification").check({"epochs": -1, "batchsize": 8, "xyzzy": 1})
    assert len(str(caught.value).splitlines()) == 3


def test_right_hyperparameters_are_taken_and_others_have_defaults() -> None:
    found = find_recipe("image-classification").check({"batchSize": 8, "learningRate": 1})
    assert (found.batch_size, found.learning_rate, found.epochs) == (8, 1.0, 10)


def test_each_recipe_of_the_api_has_a_program() -> None:
    assert RECIPES.keys() == recipes.RECIPES.keys() == {*get_args(recipes.RecipeName)}


@pytest.mark.parametrize("model", recipes.RECIPES.values(), ids=recipes.RECIPES)
def test_every_hyperparameter_is_described(model: type[recipes.Hyperparameters]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "image-clasification",
            "must be image-classification, .* or .*; did you mean image-classification[?]",
        ),
        ("zzz", 'spec.trainer.recipe = "zzz": must be image-classification, tabular'),
    ],
)
def test_unknown_recipes_get_the_nearest_name_and_the_list(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_recipe(name)
