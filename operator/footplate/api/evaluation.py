"""The evaluation block of a TrainingJob's spec, and the names of what an evaluation measures: one list for
`footplate validate`, for the operator and for the trainer, which computes them.

A metric's name is that of the data it was measured on, and what it is: `testAccuracy`, `testF1Macro`, and of one class
`testF1.neutral`.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import Field

from footplate.api.errors import Problem, nearest
from footplate.api.recipes import EVALUATE
from footplate.api.reports import MAX_GATE_METRIC, MAX_GATES
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
    "perplexity",
]
"""What may be asked for."""

Task = Literal["classification", "regression", "text-generation"]


class Values(NamedTuple):
    """What is told of a metric."""

    task: Task
    names: tuple[str, ...]
    by_class: bool = False
    """Whether there is also a value for each class."""
    lowest: float = 0.0
    highest: float = 1.0
    """No value is beyond these."""


VALUES: Mapping[str, Values] = {
    "accuracy": Values("classification", ("accuracy",)),
    "precision": Values("classification", ("precisionMacro", "precisionWeighted"), by_class=True),
    "recall": Values("classification", ("recallMacro", "recallWeighted"), by_class=True),
    "f1": Values("classification", ("f1Macro", "f1Weighted"), by_class=True),
    "confusion": Values("classification", ()),
    "rocAuc": Values("classification", ("rocAuc",), by_class=True),
    "prAuc": Values("classification", ("prAuc",), by_class=True),
    "logLoss": Values("classification", ("logLoss",), highest=math.inf),
    "calibration": Values("classification", ("calibrationError",)),
    "mae": Values("regression", ("mae",), highest=math.inf),
    "rmse": Values("regression", ("rmse",), highest=math.inf),
    "r2": Values("regression", ("r2",), lowest=-math.inf),
    "errorQuantiles": Values("regression", ()),
    "perplexity": Values("text-generation", ("perplexity",)),
}

HEADLINES = ("accuracy", "f1Macro", "rocAuc", "logLoss", "calibrationError", "mae", "rmse", "r2", "perplexity")
"""The values that say most: in status.evaluation, in the log, and among the job's metrics."""

RECIPE_TASKS: Mapping[str, Task] = {
    "image-classification": "classification",
    "tabular-classification": "classification",
    "tabular-regression": "regression",
    "text-classification": "classification",
    "language-model": "text-generation",
}
"""Of the recipes that evaluate what they have trained."""

WITHOUT_COLUMNS = ("image-classification", "text-classification", "language-model")
"""Those of them whose models see no columns by which the data could be sliced."""

REPORTED: Mapping[Task, tuple[str, ...]] = {
    "classification": ("loss", "valLoss", "valAccuracy", "testLoss"),
    "regression": ("loss", "valLoss", "valMae", "valRmse", "valR2", "testLoss"),
    "text-generation": ("loss", "perplexity", "valLoss", "valPerplexity", "testLoss"),
}
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

    metrics: Annotated[list[EvaluationMetric], Field(min_length=1, max_length=14)] | None = Field(
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
    for metric, kind in VALUES.items():
        if kind.task == task and (metrics is None or metric in metrics):
            yield from kind.names
            if kind.by_class:
                yield from (f"{metric}.{name}" for name in classes)


def find_mistakes(evaluation: Evaluation, *, recipe: str | None) -> Iterator[Problem]:
    """What can't come true, as far as that can be known before there is data: only of a recipe it can."""
    tasks = _tasks_of(recipe)
    if not tasks:
        return
    for number, metric in enumerate(evaluation.metrics or ()):
        if VALUES[metric].task not in tasks:
            fitting = ", ".join(name for name, kind in VALUES.items() if kind.task in tasks)
            yield Problem(
                f"{PATH}.metrics[{number}]",
                metric,
                f"is none of a {tasks[0]}, as recipe {recipe} is",
                f"choose of {fitting}",
            )
    for number, gate in enumerate(evaluation.gates):
        if problem := _wrong(gate, evaluation, tasks, where=f"{PATH}.gates[{number}]"):
            yield problem
    if evaluation.slices and recipe in WITHOUT_COLUMNS:
        yield Problem(f"{PATH}.slices", evaluation.slices, f"recipe {recipe} has no columns", "leave slices out")


def _tasks_of(recipe: str | None) -> Sequence[Task]:
    """What a recipe may do; none where nobody knows."""
    if recipe == EVALUATE:  # the model says which
        return get_args(Task)
    task = RECIPE_TASKS.get(recipe or "")
    return () if task is None else (task,)


def suggest(metric: str, known: Sequence[str], other: Sequence[str] = ()) -> str:
    """A way out for a gate on a metric that won't be measured.

    Args:
        metric: as it is written.
        known: what the evaluation of the test data will have.
        other: what the recipe reports besides.
    """
    if (of_test := full_name(TEST, metric)) in known:
        return f"did you mean {of_test}?"
    return nearest(metric, [*known, *other]) or f"it may be {', '.join(known[:12])}"


def _wrong(gate: Gate, evaluation: Evaluation, tasks: Sequence[Task], *, where: str) -> Problem | None:
    """What is wrong with a gate; None where nothing is."""
    metric = gate.metric
    reported = [name for task in tasks for name in REPORTED[task]]
    if metric in reported:
        return None
    source = _source(metric, tasks)
    if source is None:
        names = [name for task in tasks for name in value_names(task, metrics=evaluation.metrics)]
        known = [full_name(TEST, name) for name in names]
        if elsewhere := _source(metric, get_args(Task)):
            rule = f"is measured of a {VALUES[elsewhere].task}, and this recipe is a {tasks[0]}"
            return Problem(f"{where}.metric", metric, rule, f"it may be {', '.join(known)}")
        rule = "the evaluation has no such metric"
        return Problem(f"{where}.metric", metric, rule, suggest(metric, known, reported))
    if evaluation.metrics is not None and source not in evaluation.metrics:
        return Problem(f"{where}.metric", metric, f"{PATH}.metrics leaves it out", f"add {source} to metrics")
    return _out_of_reach(gate, VALUES[source], where=where)


def _out_of_reach(gate: Gate, kind: Values, *, where: str) -> Problem | None:
    """A bound that no value keeps."""
    if gate.at_least is not None and gate.at_least > kind.highest:
        meant = f"{gate.at_least:g} % is {gate.at_least / 100:g}"
        hint = meant if 10 <= gate.at_least <= 100 else f"ask for at most {kind.highest:g}"
        rule = f"no value of {gate.metric} passes: the highest is {kind.highest:g}"
        return Problem(f"{where}.atLeast", gate.at_least, rule, hint)
    if gate.at_most is not None and gate.at_most < kind.lowest:
        rule = f"no value of {gate.metric} passes: the lowest is {kind.lowest:g}"
        return Problem(f"{where}.atMost", gate.at_most, rule, f"ask for at least {kind.lowest:g}")
    return None


def _source(metric: str, tasks: Sequence[Task]) -> str | None:
    """What has to be measured for a gate's metric; None where nothing gives it."""
    return next((name for name, kind in VALUES.items() if kind.task in tasks and _gives(name, kind, metric)), None)


def _gives(name: str, kind: Values, metric: str) -> bool:
    base, _, class_name = metric.partition(".")
    of_class = kind.by_class and class_name and base == full_name(TEST, name)
    return bool(of_class) or metric in [full_name(TEST, value) for value in kind.names]
