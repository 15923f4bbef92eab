"""One row of the table: a variable of another platform, whose it is, what it holds, and how that is found."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from footplate.dialects.place import Place


class Setter(StrEnum):
    """Who sets a variable."""

    OPERATOR = "operator"
    """In every pod, so that Kubernetes expands it in `args`; the supervisor says the same again."""
    EITHER = "either"
    """The operator for a command without our supervisor, which is told once more what it can know; else the latter."""
    SUPERVISOR = "supervisor"
    """Only where it runs: it depends on files that were fetched or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable, or a family of them, whose name then has a part in angle brackets."""

    name: str
    of: str
    """Whose dialect."""
    holds: str
    """For the documentation, in Markdown."""
    value: Callable[[Place], str | Mapping[str, str] | None]
    """Its value, or the family's values by name; None where there is nothing to say."""
    setter: Setter = Setter.EITHER
    when: str = "always"
    """For which programs there is one."""

    def values(self, place: Place) -> Mapping[str, str]:
        """What is set there, by name."""
        value = self.value(place)
        if value is None:
            return {}
        return {self.name: value} if isinstance(value, str) else value


def to_json(value: Any) -> str:
    """JSON in as few bytes as it takes: a variable's room is bounded."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
