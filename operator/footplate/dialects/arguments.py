"""Hyperparameters as arguments, for scripts that read `--epochs 5` and no JSON."""

import json
from typing import Any

from footplate.api.trainer import Trainer


def hyperparameter_arguments(trainer: Trainer) -> list[str]:
    """`--name value` for each hyperparameter, by name; none where the job doesn't ask for them.

    A name of one letter has one dash, as in SageMaker. Null says nothing, so that the script's default counts.
    """
    if not trainer.hyperparameter_args:
        return []
    said = {name: value for name, value in sorted(trainer.hyperparameters.items()) if value is not None}
    pairs = ((f"--{name}" if len(name) > 1 else f"-{name}", _as_argument(value)) for name, value in said.items())
    return [word for pair in pairs for word in pair]


def as_text(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _as_argument(value: Any) -> str:
    """A truth as Python writes it: scripts compare it with "True"."""
    return str(value) if isinstance(value, bool) else as_text(value)
