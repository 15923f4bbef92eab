"""The recipes' hyperparameters, and the messages for those that are wrong. Needs no torch: what is wrong can be said
before anything is fetched.
"""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from footplate_trainer.errors import ConfigError

PATH = "spec.trainer.hyperparameters"


class Hyperparameters(BaseModel):
    """Training itself; each recipe adds what its data and network take. camelCase names, as users write them."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: Annotated[int, Field(default=10, ge=1, le=10_000, description="Passes over the training data.")]
    batch_size: Annotated[
        int,
        Field(default=128, ge=1, le=1_000_000, description="Samples of all ranks together between optimizer steps."),
    ]
    learning_rate: Annotated[
        float, Field(default=1e-3, gt=0, le=10, description="Highest learning rate, reached after the warm-up.")
    ]
    weight_decay: Annotated[float, Field(default=0.01, ge=0, le=10, description="AdamW's weight decay.")]
    accumulation_steps: Annotated[
        int,
        Field(default=1, ge=1, le=1024, description="Parts in which each batch is computed, to save memory."),
    ]
    validation_fraction: Annotated[
        float,
        Field(default=0.1, ge=0, le=0.5, description="Share of the training data held out without a validation input."),
    ]
    test_fraction: Annotated[
        float, Field(default=0.1, ge=0, le=0.5, description="Share of the data held out without test data.")
    ]
    seed: Annotated[
        int, Field(default=0, ge=0, lt=2**32, description="Seed of weights, order, augmentation and held-out data.")
    ]
    compile: Annotated[bool, Field(default=False, description="Compile the network with torch.compile.")]


class ImageHyperparameters(Hyperparameters):
    """Of the recipe image-classification."""

    augmentation: Annotated[
        Literal["none", "shift", "shift-and-flip"],
        Field(
            default="none",
            description="Random changes of the training images: shifts by a few pixels, mirroring left to right.",
        ),
    ]
    classes: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] | None,
        Field(
            default=None,
            min_length=2,
            max_length=10_000,
            description="Names of the classes, in the order of the labels or folders. Default: those of the data.",
        ),
    ]
    image_size: Annotated[
        int,
        Field(
            default=64,
            ge=8,
            le=512,
            description="Side in pixels to which PNG and JPEG files are resized; IDX images stay as they are.",
        ),
    ]
    width: Annotated[int, Field(default=32, ge=4, le=512, description="Channels of the first convolution.")]
    hidden: Annotated[int, Field(default=128, ge=4, le=4096, description="Units of the layer before the classes.")]
    dropout: Annotated[float, Field(default=0.25, ge=0, lt=1, description="Share of features dropped in training.")]


class TableHyperparameters(Hyperparameters):
    """Of the recipe tabular-classification."""

    target: Annotated[str, Field(min_length=1, max_length=256, description="Column that holds the class.")]
    ignore: Annotated[
        tuple[str, ...],
        Field(default=(), max_length=10_000, description="Columns not to learn from, such as ids."),
    ]
    hidden: Annotated[int, Field(default=128, ge=4, le=4096, description="Units of each hidden layer.")]
    layers: Annotated[int, Field(default=2, ge=1, le=16, description="Number of hidden layers.")]
    dropout: Annotated[float, Field(default=0.1, ge=0, lt=1, description="Share of units dropped in training.")]


H = TypeVar("H", bound=Hyperparameters)


def parse_hyperparameters(model: type[H], values: Mapping[str, Any], *, recipe: str) -> H:
    """Checks what the user wrote.

    Raises:
        ConfigError: naming each wrong name with the nearest right one, and each wrong value with its rule.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = [_explain(model, detail, recipe) for detail in error.errors()]
        if any(detail["type"] == "extra_forbidden" for detail in error.errors()):
            problems.append(f"Recipe {recipe} takes {', '.join(sorted(_fields(model)))}")
        raise ConfigError("\n".join(problems)) from None


def _explain(model: type[Hyperparameters], detail: ErrorDetails, recipe: str) -> str:
    fields = _fields(model)
    name = str(detail["loc"][0]) if detail["loc"] else ""
    path = ".".join((PATH, *map(str, detail["loc"])))
    if name not in fields:
        near = nearest(name, fields)
        return f"{path}: there is no such hyperparameter{f'; did you mean {near}?' if near else ''}"
    about = f"{name}: {fields[name].description}"
    if detail["type"] == "missing":
        return f"{path} is required by recipe {recipe}. {about}"
    value = detail["input"]
    rule = detail["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    default = "" if fields[name].is_required() else f" Leave it out for the default, {fields[name].default!r}."
    return f"{path} is {value!r}; {rule}. {about}{default}"


def _fields(model: type[Hyperparameters]) -> dict[str, FieldInfo]:
    """The hyperparameters by the names that users write."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def nearest(name: str, known: Mapping[str, Any] | list[str]) -> str | None:
    """The known name most like `name`, compared without case, '_' and '-'; None where none is like it."""
    plain = {_plain(candidate): candidate for candidate in known}
    matches = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=0.5)
    return plain[matches[0]] if matches else None


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
