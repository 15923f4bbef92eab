"""evaluation.json: what was measured of a model, which `evaluate` writes and the supervisor holds gates against.

No number in it is a guess: what has no value is in `undefined`, with the reason.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from footplate.api.evaluation import HEADLINES, Task, full_name
from footplate.api.types import Model
from footplate_trainer.errors import UserError

EVALUATION_FILE = "evaluation.json"
PLOTS = "plots"
"""Folder beside it, with pictures of what it says."""
MAX_BYTES = 64 * 2**20
"""Of a file that is read: user code may write to it."""
DATA_PATTERN = r"^[a-z][A-Za-z0-9]{0,19}$"


class Slice(Model):
    """What was measured of the samples that have one value in a column."""

    samples: int
    values: dict[str, float]
    undefined: dict[str, str] = Field(default_factory=dict)


class Curve(Model):
    """Points of one class, at thresholds from the highest score down: evenly along its ROC curve, at most 200."""

    threshold: list[float]
    recall: list[float]
    false_positive_rate: list[float]
    precision: list[float]
    f1: list[float]


class Bins(Model):
    """How often the model is right when it is so sure: non-empty bins of the predicted class's probability."""

    samples: list[int]
    confidence: list[float]
    accuracy: list[float]


class Residuals(Model):
    """Some samples: what was predicted, and by how much that is more than what was right."""

    predicted: list[float]
    error: list[float]


class DataEvaluation(Model):
    """What was measured on one set of data."""

    task: Task
    samples: int
    """All of them, each once."""
    classes: list[str] | None = None
    values: dict[str, float]
    """By name, such as `f1Macro`, and for a class `f1.neutral`."""
    undefined: dict[str, str] = Field(default_factory=dict)
    """Why others have no value."""
    notes: list[str] = Field(default_factory=list)
    confusion: list[list[int]] | None = None
    """How often each class (a row) was predicted as each (a column), in the order of `classes`."""
    thresholds: dict[str, Curve] | None = None
    """By class, against all others; of two classes for the second."""
    calibration: Bins | None = None
    error_quantiles: dict[str, float] | None = None
    """Of the error, by share of the samples that have no larger one."""
    residuals: Residuals | None = None
    slices: dict[str, dict[str, Slice]] | None = None
    """By column and value."""


class EvaluationFile(Model):
    """The content of evaluation.json."""

    api_version: Literal["footplate.dev/v1alpha1"] = "footplate.dev/v1alpha1"
    kind: Literal["Evaluation"] = "Evaluation"
    data: dict[Annotated[str, Field(pattern=DATA_PATTERN)], DataEvaluation]
    """By name of the data, such as `test`."""

    def headlines(self) -> dict[str, float]:
        """Of all values those that say most, by full name."""
        values = self.values()
        names = [full_name(data, name) for data in self.data for name in HEADLINES]
        return {name: values[name] for name in names if name in values}

    def values(self) -> dict[str, float]:
        """All values by their full names, such as `testF1.neutral`."""
        return {full_name(data, name): value for data, one in self.data.items() for name, value in one.values.items()}

    def undefined(self) -> dict[str, str]:
        """Why others have no value, by full name."""
        return {full_name(data, name): why for data, one in self.data.items() for name, why in one.undefined.items()}


def read_evaluation(folder: Path) -> EvaluationFile | None:
    """The evaluation that lies in a folder; None where there is none, or a file of that name that isn't ours.

    Raises:
        OSError: it can't be read.
    """
    try:
        with (folder / EVALUATION_FILE).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        return EvaluationFile.model_validate_json(data) if len(data) <= MAX_BYTES else None
    except (FileNotFoundError, IsADirectoryError, ValidationError):
        return None


def add_evaluation(folder: Path, data: Mapping[str, DataEvaluation]) -> EvaluationFile:
    """Writes what was measured on some data beside what is there of others, all or nothing.

    Raises:
        UserError: that is more than anybody reads.
    """
    before = read_evaluation(folder)
    whole = EvaluationFile(data={**(before.data if before is not None else {}), **data})
    path = folder / EVALUATION_FILE
    folder.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{EVALUATION_FILE}")
    text = whole.model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n"
    if len(text.encode()) > MAX_BYTES:
        raise UserError(
            f"{EVALUATION_FILE} would have {len(text):,} bytes, the most is {MAX_BYTES:,}: too many classes times "
            "slices; slice by fewer columns, or ask for fewer metrics"
        )
    staged.write_text(text)
    staged.replace(path)
    return whole
