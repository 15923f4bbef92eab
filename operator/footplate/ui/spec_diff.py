"""What differs between the specs of runs, field by field. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_FIELDS = 2_000
MAX_VALUE = 300
ABSENT = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One field in all the specs that are compared; the first is what the others are held against."""

    path: str
    values: Sequence[str]

    @property
    def differs(self) -> bool:
        """Whether not all have the same."""
        return len(set(self.values)) > 1

    def changed(self, index: int) -> bool:
        """Whether this one has another value than the first."""
        return self.values[index] != self.values[0]


def compare_specs(specs: Sequence[Mapping[str, Any]]) -> list[Field]:
    """Every field that any of them has, sorted by path; a value that is missing is empty."""
    flat = [dict(_flatten(spec, "")) for spec in specs]
    paths = sorted(set().union(*flat)) if flat else []
    return [Field(path, [each.get(path, ABSENT) for each in flat]) for path in paths[:MAX_FIELDS]]


def _flatten(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flatten(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _flatten(item, f"{path}[{_label(item, index)}]")
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        yield path, text if len(text) <= MAX_VALUE else text[:MAX_VALUE] + "…"


def _label(item: Any, index: int) -> str:
    """Lists of named things are compared by name: one more variable isn't a change of all that come after it."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return name if isinstance(name, str) and name else str(index)


def spec_table(names: Sequence[str], specs: Sequence[Mapping[str, Any]], *, all_fields: bool) -> dict[str, Any]:
    """What the table of specs shows: all fields, or those in which they differ."""
    fields = [field for field in compare_specs(specs) if all_fields or field.differs]
    return {"names": names, "fields": fields, "all_fields": all_fields}
