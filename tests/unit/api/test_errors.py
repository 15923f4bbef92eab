"""Mistakes in plain words, for any pydantic model."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from footplate.api.errors import Problem, explain, join


class Optimizer(BaseModel):
    name: Literal["sgd", "adam"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9


class Hyperparameters(BaseModel, extra="forbid"):
    learning_rate: Annotated[float, Field(gt=0, alias="learningRate", examples=[0.001])]
    layers: Annotated[list[int], Field(min_length=1, max_length=2)] = [1]
    optimizer: Optimizer | None = None
    optimizers: dict[str, Optimizer] = {}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "hyperparameters.learningRate: is required; for example 0.001"),
        ({"learningRate": 0}, "hyperparameters.learningRate = 0: must be greater than 0; for example 0.001"),
        ({"learningRate": 1, "learning_rate": 2},
         "hyperparameters.learning_rate = 2: unknown field; did you mean learningRate?"),
        ({"learningRate": 1, "zzz": 2},
         "hyperparameters.zzz = 2: unknown field; the fields here are learningRate, layers, optimizer, optimizers"),
        ({"learningRate": 1, "layers": []}, "hyperparameters.layers: must have at least 1 item"),
        ({"learningRate": 1, "optimizer": {"name": "Adam"}},
         'hyperparameters.optimizer.name = "Adam": must be sgd or adam; did you mean adam?'),
        ({"learningRate": 1, "optimizers": {"a/b": {"momentum": 1}}},
         "hyperparameters.optimizers[a/b].momentum = 1: must be less than 1"),
        ({"learningRate": float("nan")},
         'hyperparameters.learningRate = "nan": must be greater than 0; for example 0.001'),
    ],
)  # fmt: skip
def test_words(value: object, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Hyperparameters.model_validate(value)
    assert [str(problem) for problem in explain(caught.value, "hyperparameters", model=Hyperparameters)] == [words]


def test_without_the_model_nothing_is_guessed() -> None:
    with pytest.raises(ValidationError) as caught:
        Hyperparameters.model_validate({"learningRate": 1, "layer": 2})
    assert explain(caught.value, root="") == [Problem("layer", 2, "unknown field")]


@pytest.mark.parametrize(
    ("path", "part", "joined"),
    [
        ("", "spec", "spec"),
        ("spec.inputs", 0, "spec.inputs[0]"),
        ("spec.labels", "example.com/a", "spec.labels[example.com/a]"),
        ("spec", "a\n\x1b[31m", "spec[a\\n\\u001b[31m]"),
    ],
)
def test_paths(path: str, part: str | int, joined: str) -> None:
    assert join(path, part) == joined


def test_long_values_are_cut() -> None:
    assert len(str(Problem("spec.a", "x" * 10_000, "must be short"))) < 120
