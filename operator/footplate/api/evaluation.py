"""The evaluation block of a TrainingJob's spec, and the names of what an evaluation measures: one list for
`footplate validate`, for the operator and for the trainer, which computes them.

A metric's name is that of the data it was measured on, and what it is: `testAccuracy`, `testF1Macro`, and of one class
`testF1.neutral`.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from footplate.api.errors import Problem, nearest
from footplate.api.status import MAX_GATE_METRIC, MAX_GATES
from footplate.api.types import Model, Rule, count

PATH = "spec.evaluation"
TEST = "test"
"""The data that recipes evaluate on."""

EvaluationMetric = Literal[
    "accuracy",
    "precision",
    "recall",
    "f1",
    "confusion",
    "rocAuc",
    "prAuc",
    "logLoss",
    "calibration",
    "mae",
    "rmse",
    "r2",
    "errorQuantiles",
]
"""What may be asked for."""

Task = Literal["classification", "regression"]

VALUES: Mapping[str, tuple[Task, tuple[str, ...], bool]] = {
    "accuracy": ("classification", ("accuracy",), False),
    "precision": ("classification", ("precisionMacro", "precisionWeighted"), True),
    "recall": ("classification", ("recallMacro", "recallWeighted"), True),
    "f1": ("classification", ("f1Macro", "f1Weighted"), True),
    "confusion": ("classification", (), False),
    "rocAuc": ("classification", ("rocAuc",), True),
    "prAuc": ("classification", ("prAuc",), True),
    "logLoss": ("classification", ("logLoss",), False),
    "calibration": ("classification", ("calibrationError",), False),
    "mae": ("regression", ("mae",), False),
    "rmse": ("regression", ("rmse",), False),
    "r2": ("regression", ("r2",), False),
    "errorQuantiles": ("regression", (), False),
}
"""What each gives: of which task it is, the names of its values, and whether there is also one for each class."""

HEADLINES = ("accuracy", "f1Macro", "rocAuc", "logLoss", "calibrationError", "mae", "rmse", "r2")
"""The values that say most: in status.evaluation, in the log, and among the job's metrics."""

RECIPE_TASKS: Mapping[str, Task] = {
    "image-classification": "classification",
    "tabular-classification": "classification",
}
"""Of the recipes that evaluate."""

REPORTED = ("loss", "valLoss", "valAccuracy", "testLoss")
"""What these recipes report besides, and a gate may name as well."""


class Gate(Model):
    """A bound that a metric must keep for the model to be accepted."""

    metric: Annotated[str, Field(min_length=1, max_length=MAX_GATE_METRIC)] = Field(
        description="Name of a metric of the evaluation, or of one that the code reports.", examples=["testAccuracy"]
    )
    at_least: float | None = Field(None, description="Lowest value that passes.", examples=[0.9])
    at_most: float | None = Field(None, description="Highest value that passes.", examples=[0.1])

    rules = (
        Rule(
            "has(self.atLeast) != has(self.atMost)",
            "a gate has one bound: set either atLeast or atMost; a range is two gates",
            lambda gate: count(gate, "atLeast", "atMost") == 1,
        ),
    )


class Evaluation(Model):
    """What is measured of the finished model, and what it must reach."""

    metrics: Annotated[list[EvaluationMetric], Field(min_length=1, max_length=13)] | None = Field(
        None,
        description="What to measure. Default: all that fits the task.",
        examples=[["accuracy", "f1", "confusion"]],
    )
    gates: Annotated[list[Gate], Field(max_length=MAX_GATES)] = Field(
        default=[],
        description="What the model must reach. Where it doesn't, it is kept as not accepted, and the job ends as "
        "Failed with reason GateNotPassed.",
        examples=[[{"metric": "testAccuracy", "atLeast": 0.9}]],
    )
    slices: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=8)] = Field(
        default=[],
        description="Columns of the data: everything is measured for each of their values too.",
        examples=[["country"]],
    )


def full_name(data: str, metric: str) -> str:
    """The name of a metric that was measured on such data: testAccuracy."""
    return data + metric[:1].upper() + metric[1:]


def value_names(task: Task, *, metrics: Collection[str] | None = None, classes: Collection[str] = ()) -> Iterator[str]:
    """Names of the values that an evaluation has, without the data's; of classes where they are known."""
    for metric, (its_task, names, by_class) in VALUES.items():
        if its_task == task and (metrics is None or metric in metrics):
            yield from names
            if by_class:
                yield from (f"{metric}.{name}" for name in classes)


def find_mistakes(evaluation: Evaluation, *, recipe: str | None) -> Iterator[Problem]:
    """What can't come true, as far as that can be known before there is data: only of a recipe it can."""
    task = RECIPE_TASKS.get(recipe or "")
    if task is None:
        return
    for number, metric in enumerate(evaluation.metrics or ()):
        if VALUES[metric][0] != task:
            fitting = ", ".join(name for name, (its_task, _, _) in VALUES.items() if its_task == task)
            yield Problem(
                f"{PATH}.metrics[{number}]",
                metric,
                f"is none of a {task}, as recipe {recipe} is",
                f"choose of {fitting}",
            )
    for number, gate in enumerate(evaluation.gates):
        if problem := _unknown(gate.metric, evaluation, task, where=f"{PATH}.gates[{number}].metric"):
            yield problem
    if evaluation.slices and recipe == "image-classification":
        yield Problem(f"{PATH}.slices", evaluation.slices, f"recipe {recipe} has no columns", "leave slices out")


def _unknown(metric: str, evaluation: Evaluation, task: Task, *, where: str) -> Problem | None:
    known = [full_name(TEST, name) for name in value_names(task, metrics=evaluation.metrics)]
    by_class = [
        full_name(TEST, name)
        for name, (its_task, _, has_classes) in VALUES.items()
        if its_task == task and has_classes and (evaluation.metrics is None or name in evaluation.metrics)
    ]
    base, dot, class_name = metric.partition(".")
    if metric in (*known, *REPORTED) or (dot and class_name and base in by_class):
        return None
    every = [full_name(TEST, name) for name in value_names(task)]
    if metric in every or (dot and base in (full_name(TEST, name) for name in VALUES)):
        return Problem(where, metric, "spec.evaluation.metrics leaves it out", "add what it is of to metrics")
    hint = nearest(metric, [*known, *REPORTED]) or f"it may be {', '.join(known)}"
    return Problem(where, metric, "the evaluation has no such metric", hint)
