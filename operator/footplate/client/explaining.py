"""What a recipe takes: its hyperparameters in words, read from the models that check them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from footplate.api.errors import alternatives, nearest
from footplate.api.recipes import RECIPES
from footplate.errors import ConfigurationError

_TYPES: Mapping[str, str] = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "array": "list of texts",
}
_BOUNDS: Mapping[str, str] = {
    "minimum": "at least",
    "exclusiveMinimum": "greater than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


@dataclass(frozen=True, slots=True)
class HyperparameterHelp:
    """One hyperparameter of a recipe."""

    name: str
    type: str
    rule: str
    """Bounds in words; empty where there are none."""
    required: bool
    default: Any
    """As JSON has it; None where it is required, or where the data decide."""
    description: str


def explain(recipe: str) -> list[HyperparameterHelp]:
    """The hyperparameters of a recipe, those that are required first.

    Raises:
        ConfigurationError: there is no such recipe; with the nearest name.
    """
    model = RECIPES.get(recipe)
    if model is None:
        hint = nearest(recipe, [*RECIPES])
        rule = f"there is no recipe {recipe!r}: it must be {alternatives([*RECIPES])}"
        raise ConfigurationError("; ".join(part for part in (rule, hint) if part))
    schema = model.model_json_schema(by_alias=True)
    required = set(schema.get("required", ()))
    found = [_help(name, field, required=name in required) for name, field in schema["properties"].items()]
    return sorted(found, key=lambda each: not each.required)


def _help(name: str, field: Mapping[str, Any], *, required: bool) -> HyperparameterHelp:
    shape = next((each for each in field.get("anyOf", ()) if each.get("type") != "null"), field)
    words = alternatives(shape["enum"]) if "enum" in shape else _TYPES[shape["type"]]
    default, description = field.get("default"), field["description"]
    return HyperparameterHelp(name, words, ", ".join(_bounds(shape)), required, default, description)


def _bounds(shape: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{words} {shape[key]:,.15g}" for key, words in _BOUNDS.items() if key in shape)
    if shape.get("minItems", 0) > 0:
        yield f"at least {shape['minItems']:,} of them"
