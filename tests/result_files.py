"""What a run leaves of its data and its model, made small: evaluation.json, plots, profiles."""

import struct
import zlib
from typing import Any

from footplate_trainer.evaluation_file import DataEvaluation, EvaluationFile
from footplate_trainer.preparation.report import ColumnProfile, Hint, Histogram, Prepared, Profile, ValueCount

HOSTILE = '<img src=x onerror="window.taken=1"><script>window.taken=1</script>\'"&{{7*7}}\u202e'


def evaluated(classes: tuple[str, ...] = ("negative", "neutral", "positive"), **changes: Any) -> DataEvaluation:
    """A classifier's evaluation: right but once in each class."""
    size = len(classes)
    confusion = [
        [9 if row == column else int(column == (row + 1) % size) for column in range(size)] for row in range(size)
    ]
    scores = {f"{metric}.{name}": 0.9 for metric in ("precision", "recall", "f1") for name in classes}
    said: dict[str, Any] = {
        "task": "classification",
        "samples": 10 * size,
        "classes": [*classes],
        "values": {"accuracy": 0.9, "f1Macro": 0.9, "logLoss": 0.31, "precisionMacro": 0.9, **scores},
        "confusion": confusion,
    }
    return DataEvaluation.model_validate(said | changes)


def evaluation_json(**data: DataEvaluation) -> bytes:
    """The file, by the name of the data."""
    return EvaluationFile(data=data).model_dump_json(by_alias=True, exclude_none=True).encode()


def png(width: int = 4, height: int = 3) -> bytes:
    """A picture; of one that is large only the beginning, which says so."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (height * (width + 1))) if width * height < 1_000 else b""
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def column(name: str, **changes: Any) -> ColumnProfile:
    """A column of numbers."""
    counts = {"train": [1, 5, 9, 4], "validation": [0, 2, 3, 1], "test": [1, 1, 2, 0]}
    numbers: dict[str, Any] = {
        "name": name, "type": "double", "missing": 0, "minimum": 0.5, "maximum": 7, "mean": 3.25, "std": 1.5,
        "quantiles": {"0.5": 3.0}, "histogram": Histogram(low=0.5, high=7.0, counts=counts),
    }  # fmt: skip
    return ColumnProfile.model_construct(**{**ColumnProfile(**numbers).__dict__, **changes})


def profile(*columns: ColumnProfile, **changes: Any) -> Profile:
    """Of a table with a label and something suspicious."""
    label = column("grower", type="string", minimum=None, maximum=None, mean=None, quantiles=None, histogram=None)
    label = label.model_copy(update={"distinct": 2, "values": [ValueCount(value="a", count=70)]})
    said: dict[str, Any] = {
        "rows": 100,
        "splits": {"train": 70, "validation": 20, "test": 10},
        "columns": [column("alcohol"), column("sugar", missing=5), label, *columns],
        "duplicates": 3,
        "duplicates_across": {"validation": 0, "test": 2},
        "label": "grower",
        "hints": [Hint(kind="leakage", column="sugar", text="sugar alone tells grower of 99.9% of the rows")],
    }
    return Profile.model_construct(**{"notes": [], **said, **changes})


def prepared(**changes: Any) -> Prepared:
    """The outcome of a preparation."""
    said = {"inputs": {}, "rows": 100, "splits": {"train": 70, "validation": 20, "test": 10}, "files": []}
    return Prepared.model_validate(said | changes)


def dumped(model: Any) -> bytes:
    """As it is written."""
    return model.model_dump_json(by_alias=True, exclude_none=True).encode()  # type: ignore[no-any-return]
