"""What a recipe takes: its hyperparameters in words, read from the models that check them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from footplate.api.errors import alternatives, nearest
from footplate.api.recipes import RECIPES
from footplate.errors import ConfigurationError

_TYPES: Mapping[str, str] = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "array": "list of texts",
    "object": "object",
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
    found = [_help(each) for each in fields_of(model)]
    return sorted(found, key=lambda each: not each.required)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a model, as its JSON schema tells it."""

    name: str
    """Those in objects have the object's before theirs: `earlyStopping.patience`."""
    said: Mapping[str, Any]
    """Its description and default."""
    shape: Mapping[str, Any]
    """What it is where it isn't null."""
    required: bool


def fields_of(model: type[BaseModel]) -> Iterator[Field]:
    """The fields of a model, each followed by those of the object that it is."""
    schema = model.model_json_schema(by_alias=True)
    yield from _fields(schema, schema.get("$defs", {}), "")


def _fields(schema: Mapping[str, Any], known: Mapping[str, Any], prefix: str) -> Iterator[Field]:
    for name, said in schema["properties"].items():
        shape = next((each for each in said.get("anyOf", ()) if each.get("type") != "null"), said)
        shape = known[shape["$ref"].rpartition("/")[2]] if "$ref" in shape else shape
        yield Field(prefix + name, said, shape, name in schema.get("required", ()))
        if "properties" in shape:
            yield from _fields(shape, known, f"{prefix}{name}.")


def _help(field: Field) -> HyperparameterHelp:
    words = alternatives(field.shape["enum"]) if "enum" in field.shape else _TYPES[field.shape["type"]]
    return HyperparameterHelp(
        name=field.name,
        type=words,
        rule=", ".join(_bounds(field.shape)),
        required=field.required,
        default=field.said.get("default"),
        description=field.said["description"],
    )


def _bounds(shape: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{words} {shape[key]:,.15g}" for key, words in _BOUNDS.items() if key in shape)
    if shape.get("minItems", 0) > 0:
        yield f"at least {shape['minItems']:,} of them"
