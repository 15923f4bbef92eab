"""The recipes' names and hyperparameters, and what is said of wrong ones: by `footplate validate`, by the operator
before there is a pod, and by the trainer. One table: `footplate_trainer.recipes` has a program for each name.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from footplate.api.errors import Problem, explain, field_at
from footplate.api.hyperparameters import Hyperparameters, Mode, Precision, Settings

PATH = "spec.trainer.hyperparameters"
EVALUATE = "evaluate"
"""The recipe that trains nothing."""

RecipeName = Literal[
    "image-classification",
    "tabular-classification",
    "tabular-regression",
    "text-classification",
    "language-model",
    "evaluate",
]


class TuningHyperparameters(Hyperparameters):
    """Of recipes that fine-tune the model of an input `model`; some make one where there is none."""

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
    fine_tuning: Annotated[
        Literal["full", "lora"],
        Field(default="full", description="What of the input `model` is trained: all of it, or low-rank adapters."),
    ]
    lora_rank: Annotated[int, Field(default=16, ge=1, le=1024, description="Rank of the adapters.")]


class ImageHyperparameters(TuningHyperparameters):
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
            description="Side in pixels to which picture files are resized, without an input `model`; IDX images stay "
            "as they are.",
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
    """Of the recipe tabular-classification, and what others that read tables share with it."""

    target: Annotated[str, Field(min_length=1, max_length=256, description="Column that holds the class.")]
    ignore: Annotated[
        tuple[str, ...],
        Field(default=(), max_length=10_000, description="Columns not to learn from, such as ids."),
    ]
    hidden: Annotated[int, Field(default=128, ge=4, le=4096, description="Units of each hidden layer.")]
    layers: Annotated[int, Field(default=2, ge=1, le=16, description="Number of hidden layers.")]
    dropout: Annotated[float, Field(default=0.1, ge=0, lt=1, description="Share of units dropped in training.")]


class RegressionHyperparameters(TableHyperparameters):
    """Of the recipe tabular-regression."""

    measures: ClassVar[Mapping[str, Mode]] = {"loss": "min", "mae": "min", "rmse": "min", "r2": "max"}

    precision: Annotated[
        Precision | None,
        Field(default="fp32", description="What the network computes in: fewer bits leave quantities three digits."),
    ]
    target: Annotated[str, Field(min_length=1, max_length=256, description="Column that holds the quantity.")]


class TextHyperparameters(TuningHyperparameters):
    """Of the recipe text-classification."""

    inputs_are_numbers: ClassVar[bool] = False

    epochs: Annotated[int, Field(default=3, ge=1, le=10_000, description="Passes over the training data.")]
    batch_size: Annotated[
        int,
        Field(default=32, ge=1, le=1_000_000, description="Samples of all ranks together between optimizer steps."),
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
    vocabulary_size: Annotated[
        int,
        Field(default=8000, ge=300, le=1_000_000, description="Tokens to learn from the data without a model."),
    ]
    hidden: Annotated[int, Field(default=256, ge=8, le=4096, description="Width of a model made without one.")]
    layers: Annotated[int, Field(default=4, ge=1, le=64, description="Layers of a model made without one.")]
    dropout: Annotated[
        float, Field(default=0.1, ge=0, lt=1, description="Share of units dropped in a model made without one.")
    ]


class LanguageHyperparameters(TuningHyperparameters):
    """Of the recipe language-model."""

    measures: ClassVar[Mapping[str, Mode]] = {"loss": "min", "perplexity": "min"}
    inputs_are_numbers: ClassVar[bool] = False

    epochs: Annotated[int, Field(default=3, ge=1, le=10_000, description="Passes over the training data.")]
    batch_size: Annotated[
        int,
        Field(
            default=16,
            ge=1,
            le=1_000_000,
            description="Texts, or with packing rows, of all ranks together between optimizer steps.",
        ),
    ]
    learning_rate: Annotated[
        float | None,
        Field(
            default=None,
            gt=0,
            le=10,
            description="Highest learning rate, reached after the warm-up. Default: 2e-5, of adapters 2e-4.",
        ),
    ]
    max_length: Annotated[
        int | None,
        Field(
            default=None,
            ge=8,
            le=1_048_576,
            description="Tokens of a text that are read; the rest is cut off. Default: 1024, or what the model reads.",
        ),
    ]
    packing: Annotated[
        bool,
        Field(default=False, description="Put texts to train on into rows of maxLength tokens, instead of padding."),
    ]


class EvaluateHyperparameters(Settings):
    """Of the recipe evaluate, which trains nothing."""

    target: Annotated[
        str | None,
        Field(
            default=None,
            min_length=1,
            max_length=256,
            description="Column that holds what is right. Default: `label` of texts; of a table it must be named.",
        ),
    ]
    text: Annotated[
        str, Field(default="text", min_length=1, max_length=256, description="Column that holds the text, of texts.")
    ]
    batch_size: Annotated[
        int,
        Field(
            default=256, ge=1, le=1_000_000, description="Samples of all ranks together that are computed at a time."
        ),
    ]
    max_corrupt: Annotated[
        int, Field(default=0, ge=0, le=1_000_000, description="Picture files that may be left out as unreadable.")
    ]


RECIPES: Mapping[str, type[Settings]] = {
    "image-classification": ImageHyperparameters,
    "tabular-classification": TableHyperparameters,
    "tabular-regression": RegressionHyperparameters,
    "text-classification": TextHyperparameters,
    "language-model": LanguageHyperparameters,
    EVALUATE: EvaluateHyperparameters,
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


def _with_description(problem: Problem, model: type[Settings], recipe: str) -> Problem:
    """The same with what the hyperparameter is for, and its default."""
    name = problem.path.removeprefix(f"{PATH}.").partition("[")[0]
    *parents, _ = name.split(".")
    field = field_at(model, *name.split("."))
    if field is None:
        whose = f"{'.'.join(parents)} has no such field" if parents else f"recipe {recipe} has no such hyperparameter"
        return replace(problem, rule=whose)
    hint = problem.way_out if not problem.way_out or problem.way_out.endswith("?") else f"{problem.way_out}."
    default = (
        ""
        if field.default is None or field.is_required()
        else f"Leave it out for the default, {json.dumps(field.default)}."
    )
    return replace(problem, way_out=" ".join(filter(None, (hint, f"{name}: {field.description}", default))))
