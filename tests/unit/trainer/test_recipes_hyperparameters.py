"""Recipes by name, and what is said of hyperparameters that are wrong."""

from typing import Any, get_args

import pytest

from footplate.api import hyperparameters, recipes
from footplate_trainer.errors import ConfigError
from footplate_trainer.recipes import RECIPES, find_recipe
from footplate_trainer.training import prepare


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
        ("image-classification", {"earlyStopping": {"monitor": "valLos"}},
         r'earlyStopping.monitor = "valLos": must be loss, accuracy, valLoss or valAccuracy; did you mean valLoss\?'),
        ("image-classification", {"reduceOnPlateau": {"monitor": "valF1"}}, 'Plateau.monitor = "valF1": must be'),
        ("image-classification", {"earlyStopping": {"mode": "max"}},
         r'earlyStopping.mode = "max": less is better of valLoss; leave it out'),
        ("image-classification", {"earlyStopping": {"patiense": 1}},
         r"earlyStopping.patiense = 1: earlyStopping has no such field; did you mean patience\?"),
        ("image-classification", {"earlyStopping": {"patience": -1}}, "patience = -1: must be at least 0;.*lt, 5"),
        ("image-classification", {"earlyStopping": True}, "earlyStopping = true: must be an object"),
        ("image-classification", {"earlyStopping": {"patience": 2, "minDelta": 1}, "reduceOnPlateau": {}},
         "earlyStopping.patience = 2: would stop training before reduceOnPlateau ever reduces the rate"),
        ("image-classification", {"strategy": "fsdp", "precision": "bf16"},
         'precision = "bf16": can\'t go with strategy fsdp here, .*; use fp32 or tf32, or strategy ddp'),
        ("image-classification", {"precision": "fp64"}, 'precision = "fp64": must be fp32, tf32, bf16 or fp16'),
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


def test_what_is_watched_is_judged_as_is_so_of_the_value() -> None:
    def mode(**settings: Any) -> str:
        found = find_recipe("image-classification").check({"earlyStopping": settings})
        assert found.early_stopping is not None
        return found.mode_of(found.early_stopping)

    assert mode() == mode(monitor="loss") == mode(mode="min") == "min"
    assert mode(monitor="valAccuracy") == mode(monitor="accuracy", mode="max") == "max"


def test_a_plateau_may_come_before_the_end() -> None:
    for stopping in ({"patience": 3}, {"patience": 1, "monitor": "loss"}, {"patience": 1, "minDelta": 0}):
        find_recipe("image-classification").check({"earlyStopping": stopping, "reduceOnPlateau": {}})


def test_a_sharded_network_rounds_no_numbers_unless_asked() -> None:
    def computes_in(**settings: Any) -> str | None:
        return find_recipe("image-classification").check(settings).computes_in

    assert (computes_in(), computes_in(strategy="ddp"), computes_in(precision="bf16")) == (None, None, "bf16")
    assert (computes_in(strategy="fsdp"), computes_in(strategy="fsdp", precision="tf32")) == ("fp32", "tf32")


def test_words_are_those_of_the_trainer() -> None:
    assert get_args(hyperparameters.Precision) == get_args(prepare.Precision)
    strategy = hyperparameters.Hyperparameters.model_json_schema()["properties"]["strategy"]["anyOf"][0]["enum"]
    assert strategy == [*get_args(prepare.Strategy)]


def test_each_recipe_of_the_api_has_a_program() -> None:
    assert RECIPES.keys() == recipes.RECIPES.keys() == {*get_args(recipes.RecipeName)}


@pytest.mark.parametrize("model", recipes.RECIPES.values(), ids=recipes.RECIPES)
def test_every_hyperparameter_is_described(model: type[recipes.Settings]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "image-clasification",
            "must be image-classification, .* or evaluate; did you mean image-classification[?]",
        ),
        ("zzz", 'spec.trainer.recipe = "zzz": must be image-classification, tabular'),
    ],
)
def test_unknown_recipes_get_the_nearest_name_and_the_list(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_recipe(name)
