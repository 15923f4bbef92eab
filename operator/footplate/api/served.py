"""Whether a schema that an API server serves has all that this version of Footplate reads and writes.

An API server drops what its schema doesn't know, without a word: an operator that wrote into an older one would lose
what it must remember. A newer schema is as good as its own, as long as it has all of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

_MOST = ("maxLength", "maxItems", "maxProperties", "maximum")


@dataclass(frozen=True, slots=True)
class Difference:
    """How a served schema differs, by paths such as `status.attempts[].reason`."""

    missing: tuple[str, ...] = ()
    """What it would drop or refuse of ours: fields; values of an enum; in the status, bounds below ours."""
    unknown: tuple[str, ...] = ()
    """Fields that it has, and that this version doesn't know."""
    required: tuple[str, ...] = ()
    """Of these, those without which it takes no status."""

    @property
    def fits(self) -> bool:
        """Whether this version can work with it."""
        return not self.missing and not self.required


def compare(ours: Schema, served: Schema) -> Difference:
    """How the schema of an object that is served differs from the one that this version was built for."""
    missing = list(_missing(ours, served, ""))
    unknown = list(_fields_beyond(served, ours, ""))
    required = [path for path in unknown if path.startswith("status.") and _is_required(served, path)]
    return Difference(tuple(missing), tuple(unknown), tuple(required))


def _missing(ours: Schema, served: Schema, path: str) -> Iterator[str]:
    for name, field, here, there in _fields(ours, served, path):
        if there is None:
            yield here
        elif name == "metadata" and not path:
            continue
        else:
            yield from _refused(field, there, here)
            yield from _missing(field, there, here)
    for part, mark in (("items", "[]"), ("additionalProperties", ".*")):
        inner, theirs = ours.get(part), served.get(part)
        if isinstance(inner, Mapping) and isinstance(theirs, Mapping):
            yield from _refused(inner, theirs, path + mark)
            yield from _missing(inner, theirs, path + mark)


def _refused(ours: Schema, served: Schema, path: str) -> Iterator[str]:
    if "enum" in served:
        yield from (f"{path}: {value}" for value in ours.get("enum", ()) if value not in served["enum"])
    if path.startswith("status."):
        for bound in _MOST:
            if bound in served and served[bound] < ours.get(bound, float("inf")):
                yield f"{path}: {bound} {ours.get(bound, 'unbounded')}"


def _fields_beyond(served: Schema, ours: Schema, path: str) -> Iterator[str]:
    for name, field, here, known in _fields(served, ours, path):
        if known is None:
            yield here
        elif name != "metadata" or path:
            yield from _fields_beyond(field, known, here)
    for part, mark in (("items", "[]"), ("additionalProperties", ".*")):
        inner, known = served.get(part), ours.get(part)
        if isinstance(inner, Mapping) and isinstance(known, Mapping):
            yield from _fields_beyond(inner, known, path + mark)


def _fields(one: Schema, other: Schema, path: str) -> Iterator[tuple[str, Schema, str, Schema | None]]:
    """The fields of one schema, each with its path and with what the other has of that name."""
    for name, field in one.get("properties", {}).items():
        yield name, field, f"{path}.{name}" if path else name, other.get("properties", {}).get(name)


def _is_required(schema: Schema, path: str) -> bool:
    """Whether the object that has this field is refused without it."""
    *above, name = path.replace("[]", ".[]").split(".")
    inner = {"[]": "items", "*": "additionalProperties"}
    for step in above:
        schema = schema[inner[step]] if step in inner else schema["properties"][step]
    return name in schema.get("required", ())
