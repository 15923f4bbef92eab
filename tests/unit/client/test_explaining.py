"""A recipe's hyperparameters in words."""

import pytest

from footplate.api.recipes import RECIPES
from footplate.client.explaining import explain
from footplate.errors import ConfigurationError


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_hyperparameter_is_told(recipe: str) -> None:
    told = {each.name: each for each in explain(recipe)}
    whole = {name for name in told if "." not in name}
    assert whole == {str(field.alias) for field in RECIPES[recipe].model_fields.values()}
    objects = {"earlyStopping", "reduceOnPlateau"} if recipe != "evaluate" else set()
    assert {name.partition(".")[0] for name in told.keys() - whole} == objects
    assert all(each.type and each.description for each in told.values())


def test_what_is_required_comes_first() -> None:
    target, *others = explain("tabular-classification")
    assert (target.name, target.type, target.required, target.default) == ("target", "text", True, None)
    assert not any(each.required for each in others)


def test_bounds_and_words_of_a_list() -> None:
    told = {each.name: each for each in explain("image-classification")}
    assert (told["dropout"].type, told["dropout"].rule) == ("number", "at least 0, less than 1")
    assert (told["augmentation"].type, told["augmentation"].default) == ("none, shift or shift-and-flip", "none")
    assert (told["classes"].type, told["classes"].rule) == ("list of texts", "at least 2 of them")
    assert told["batchSize"].rule == "at least 1, at most 1,000,000"


def test_what_is_in_an_object_is_told_below_it() -> None:
    told = explain("image-classification")
    place = [each.name for each in told].index("earlyStopping")
    assert (told[place].type, told[place].default) == ("object", None)
    patience = next(each for each in told[place:] if each.name == "earlyStopping.patience")
    assert (patience.type, patience.rule, patience.default) == ("whole number", "at least 0, at most 10,000", 5)
    precision = next(each for each in told if each.name == "precision")
    assert (precision.type, precision.default, precision.required) == ("fp32, tf32, bf16 or fp16", None, False)


def test_an_unknown_recipe_has_a_neighbour() -> None:
    with pytest.raises(ConfigurationError, match="did you mean image-classification"):
        explain("image-clasification")
