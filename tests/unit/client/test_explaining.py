"""A recipe's hyperparameters in words."""

import pytest

from footplate.api.recipes import RECIPES
from footplate.client.explaining import explain
from footplate.errors import ConfigurationError


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_hyperparameter_is_told(recipe: str) -> None:
    told = {each.name: each for each in explain(recipe)}
    assert [*sorted(told)] == sorted(str(field.alias) for field in RECIPES[recipe].model_fields.values())
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


def test_an_unknown_recipe_has_a_neighbour() -> None:
    with pytest.raises(ConfigurationError, match="did you mean image-classification"):
        explain("image-clasification")
