"""What every evaluation is made of: values, and in words what has none."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]


@dataclass(slots=True)
class Measured:
    """Values by name, why others have none, and what a reader should know of those that there are."""

    values: dict[str, float] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, value: float | str) -> None:
        """A value, or in words why there is none."""
        if isinstance(value, str):
            self.undefined[name] = value
        elif not np.isfinite(value):  # of finite numbers, whose sum may be beyond the largest
            self.undefined[name] = "the numbers are too large for it"
        else:
            self.values[name] = float(value)


def undefined(names: Sequence[str], why: str) -> Measured:
    """None of these has a value, for one reason."""
    return Measured(undefined=dict.fromkeys(names, why))


def why_not(samples: int, **arrays: Numbers) -> str:
    """Why nothing can be measured of such numbers [samples, ...]; empty where it can."""
    if not samples:
        return "there are no samples"
    for name, array in arrays.items():
        bad = ~np.isfinite(array)
        if bad.any():
            rows = int((bad.any(axis=1) if bad.ndim > 1 else bad).sum())
            return f"{rows:,} of {samples:,} {name} are not finite numbers"
    return ""


def listed(names: Sequence[str], most: int = 5) -> str:
    """Some names in words."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
