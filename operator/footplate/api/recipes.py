"""The recipes' names and hyperparameters, and what is said of wrong ones: by `footplate validate`, by the operator
before there is a pod, and by the trainer. One table: `footplate_trainer.recipes` has a program for each name.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from footplate.api.errors import Problem, explain

PATH = "spec.trainer.hyperparameters"

RecipeName = Literal["image-classification", "tabular-classification", "text-classification"]


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
            description="Side in pixels to which picture files are resized; IDX images stay as they are.",
        ),
    ]
    max_corrupt: Annotated[
        int,
        Field(
            default=0, ge=0, le=1_000_000, description="Picture files of a split that may be left out as unreadable."
        ),
    ]
    num_workers: Annotated[
        int | None,
        Field(
            default=None,
            ge=0,
            le=256,
            description="Processes of each rank that decode and change images. Default: its CPUs less one, at most 8.",
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


class TextHyperparameters(Hyperparameters):
    """Of the recipe text-classification."""

    epochs: Annotated[int, Field(default=3, ge=1, le=10_000, description="Passes over the training data.")]
    batch_size: Annotated[
        int,
        Field(default=32, ge=1, le=1_000_000, description="Samples of all ranks together between optimizer steps."),
    ]
    learning_rate: Annotated[  # type: ignore[assignment]  # the recipe fills in the default before anyone reads it
        float | None,
        Field(
            default=None,
            gt=0,
            le=10,
            description="Highest learning rate, reached after the warm-up. Default: 5e-5 to fine-tune a model in full, "
            "else 1e-3.",
        ),
    ]
    text: Annotated[str, Field(default="text", min_length=1, max_length=256, description="Column that holds the text.")]
    target: Annotated[
        str, Field(default="label", min_length=1, max_length=256, description="Column that holds the class.")
    ]
    max_length: Annotated[
        int, Field(default=128, ge=8, le=8192, description="Tokens of a text that are read; the rest is cut off.")
    ]
    class_weight: Annotated[
        Literal["none", "balanced"],
        Field(
            default="none",
            description="Whether classes count alike in training (balanced), or their samples do.",
        ),
    ]
    fine_tuning: Annotated[
        Literal["full", "lora"],
        Field(default="full", description="What of the input `model` is trained: all of it, or low-rank adapters."),
    ]
    lora_rank: Annotated[int, Field(default=16, ge=1, le=1024, description="Rank of the adapters.")]
    vocabulary_size: Annotated[
        int,
        Field(default=8000, ge=300, le=1_000_000, description="Tokens to learn from the data without a model."),
    ]
    hidden: Annotated[int, Field(default=256, ge=8, le=4096, description="Width of a model made without one.")]
    layers: Annotated[int, Field(default=4, ge=1, le=64, description="Layers of a model made without one.")]
    dropout: Annotated[
        float, Field(default=0.1, ge=0, lt=1, description="Share of units dropped in a model made without one.")
    ]


RECIPES: Mapping[str, type[Hyperparameters]] = {
    "image-classification": ImageHyperparameters,
    "tabular-classification": TableHyperparameters,
    "text-classification": TextHyperparameters,
}


def find_mistakes(recipe: str, values: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with a recipe's hyperparameters: each wrong name with the nearest right one, each wrong value with
    its rule, and what is missing.
    """
    model = RECIPES[recipe]
    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        problems = explain(error, PATH, model=model)
        return [_with_description(problem, model, recipe) for problem in problems]
    return []


def _with_description(problem: Problem, model: type[Hyperparameters], recipe: str) -> Problem:
    """The same with what the hyperparameter is for, and its default."""
    name = problem.path.removeprefix(f"{PATH}.").partition("[")[0]
    field = next((field for field_name, field in model.model_fields.items() if name == field.alias), None)
    if field is None:
        return replace(problem, rule=f"recipe {recipe} has no such hyperparameter")
    default = "" if field.is_required() else f" Leave it out for the default, {json.dumps(field.default)}."
    return replace(problem, way_out=f"{name}: {field.description}{default}")
