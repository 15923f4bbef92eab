"""Specs by the grammar of the CRDs: sound ones, nearly sound ones, and what no honest user writes."""

import copy
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

Json = Any

SOUND = (
    "s3://bucket/team/folder/", "https://minio.example.com", "a", "main", "train.py", "package.module:function", "8",
    "1Gi", "500m", "key", "key.pem", "NAME", "a-b", "data", "1.5", "python", "optimizer.pt", "/data", "a/b",
    "b.example",
    "0123456789abcdef" * 4, "https://git.example.com/x.git", r"loss=(\d+)", "numpy==2.0", "topology.kubernetes.io/zone",
)  # fmt: skip
"""Texts of which each pattern of the API takes some."""

DATES = (
    "2026-01-01T12:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59-12:00",
    "2026-01-01T12:00:00", "2026-02-30T00:00:00Z", "2026-01-01T12:00:00.999999999+14:00", "yesterday",
)  # fmt: skip
TEXTS = (
    "", " ", "\x00", "\x1b[2J\x1b]0;owned\x07", "\r\n\tInjected: 1", "../../../etc/passwd", "//", "..", "-", "a" * 300,
    "ü" * 5_000, "\u202egnp.exe", "\ud800", "\U0001f4a9", "e\u0301" * 50, "\ufeff", "<script>alert(1)</script>",
    "{{ 7*7 }}",
    "$(NAME)", "$(rm -rf /)", "%s%n", "null", "true", "NaN", "-1", "1e999", "0x10", "１２", "9" * 400, "[red]x[/]",
    "s3://b/../../x", "file:///etc/passwd", "http://169.254.169.254/latest/", "[" * 2_000,
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2, 10**3, 2**31 - 1, 2**31, 2**53, 2**63, 10**30, 10**400, -(10**30), 0.5, -0.0, 1e-300, 1e308,
    float("nan"), float("inf"), float("-inf"), True,
)  # fmt: skip


def deep(levels: int) -> Json:
    """Lists in objects in lists."""
    value: Json = []
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return value


OTHERS: tuple[Callable[[random.Random], Json], ...] = (
    lambda rng: None,
    lambda rng: rng.choice(TEXTS),
    lambda rng: rng.choice(DATES),
    lambda rng: rng.choice(NUMBERS),
    lambda rng: [],
    lambda rng: {},
    lambda rng: deep(rng.choice((3, 40, 200))),
    lambda rng: [rng.choice(TEXTS)[:60]] * rng.choice((1, 20, 2_000)),  # etcd takes no object of more than 1.5 MB
    lambda rng: {f"k{number}": number for number in range(rng.choice((1, 30, 3_000)))},
    lambda rng: {rng.choice(TEXTS): rng.choice(TEXTS)},
    lambda rng: [None, 0, "", {}],
)


def hostile(rng: random.Random) -> Json:
    """Any value, in any field's place."""
    return rng.choice(OTHERS)(rng)


class Grammar:
    """Values of a structural schema, as a CRD has it."""

    def __init__(self, schema: Json, *, depth: int = 5) -> None:
        self._schema = schema
        self._depth = depth
        self._matching: dict[str, list[str]] = {}

    def spec(self, rng: random.Random) -> Json:
        """A value that the schema takes; the rules between fields it may well break."""
        return self._value(self._schema, rng, self._depth)

    def field(self, rng: random.Random) -> tuple[str, Json]:
        """One field of it, with a value that the schema takes."""
        name, schema = rng.choice(sorted(self._schema["properties"].items()))
        return name, self._value(schema, rng, self._depth)

    def _value(self, schema: Json, rng: random.Random, depth: int) -> Json:
        if "enum" in schema:
            return rng.choice(schema["enum"])
        if schema.get("x-kubernetes-int-or-string"):
            return rng.choice((1, "1", "8", "1Gi"))
        make = {"object": self._object, "array": self._array, "string": self._string}.get(schema.get("type", "any"))
        if make is not None:
            return make(schema, rng, depth)
        if schema.get("type") in ("integer", "number"):
            return self._number(schema, rng)
        return rng.choice((True, False)) if schema.get("type") == "boolean" else rng.choice((1, "x", {"a": [1, None]}))

    def _object(self, schema: Json, rng: random.Random, depth: int) -> Json:
        fields, needed = schema.get("properties", {}), schema.get("required", ())
        chosen = [name for name in fields if name in needed or (depth > 0 and rng.random() < 0.3)]
        made = {name: self._value(fields[name], rng, depth - 1) for name in chosen}
        values = schema.get("additionalProperties")
        if isinstance(values, dict) and depth > 0:
            names = rng.sample(("cpu", "memory", "nvidia.com/gpu", "team", "a.example/b"), rng.randrange(3))
            made |= {name: self._value(values, rng, depth - 1) for name in names}
        return made

    def _array(self, schema: Json, rng: random.Random, depth: int) -> Json:
        most = min(schema.get("maxItems", 3), 3)
        few = rng.randint(min(schema.get("minItems", 0), most), most) if depth > 0 else schema.get("minItems", 0)
        return [self._value(schema.get("items", {}), rng, depth - 1) for _ in range(few)]

    def _string(self, schema: Json, rng: random.Random, depth: int) -> Json:
        pattern = schema.get("pattern", "")
        if schema.get("format") == "date-time":
            return DATES[0]
        if pattern not in self._matching:
            found = [text for text in SOUND if _search(pattern, text)]
            self._matching[pattern] = found or ["a"]
        fitting = [text for text in self._matching[pattern] if len(text) <= schema.get("maxLength", 10**9)]
        return rng.choice(fitting or self._matching[pattern])

    def _number(self, schema: Json, rng: random.Random) -> Json:
        least, most = schema.get("minimum", 0), schema.get("maximum", 100)
        value = rng.choice((least, min(least + 1, most), min(least + 7, most), most))
        return int(value) if schema["type"] == "integer" else float(value)


def _search(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return False


def places(raw: Json, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all that is in a value."""
    items = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, value in items:
        yield (*here, key)
        yield from places(value, (*here, key))


def mutated(raw: Json, rng: random.Random, *, most: int = 4) -> Json:
    """A copy in which up to so many things are something else, gone, twice there, or where they don't belong."""
    made = copy.deepcopy(raw)
    for _ in range(rng.randint(1, most)):
        found = list(places(made))
        if not found:
            return hostile(rng)
        _mutate(made, rng.choice(found), rng, found)
    return made


def _mutate(made: Json, path: tuple[Any, ...], rng: random.Random, found: list[tuple[Any, ...]]) -> None:
    holder = made
    for key in path[:-1]:
        holder = holder[key]
    key, kind = path[-1], rng.random()
    if kind < 0.55:
        holder[key] = hostile(rng)
    elif kind < 0.7:
        del holder[key]
    elif kind < 0.8 and isinstance(holder, list):
        holder.extend(copy.deepcopy(holder) * rng.choice((1, 5)))
    elif kind < 0.9:
        other = made
        for each in rng.choice(found):
            other = other[each]
        holder[key] = copy.deepcopy(other)
    elif isinstance(holder, dict):
        holder[rng.choice(("apiVersion", "kind", "status", "extra", "__class__", "\x00"))] = hostile(rng)
