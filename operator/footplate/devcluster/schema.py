"""Structural schemas: unknown fields, defaults and validation, as kube-apiserver does them.

Objects are changed in place, so callers pass a copy of their own. What hasn't changed since the stored
version isn't judged again (Kubernetes calls it ratcheting), so an object stays writable when rules get stricter.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from footplate.devcluster.cel import Rules, check
from footplate.devcluster.errors import FieldError, bad_request, duplicate, invalid, required, unsupported
from footplate.devcluster.values import Schema, copy_json, inner_schema, item_key, list_items, parse_quantity, quote

BLOCKING = {"Required", "Unsupported", "TooLong", "TooMany", "TypeInvalid"}
UNCHECKED = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"  # noqa: E501
BAD_QUANTITY = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
LONGS = {
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "tolerationSeconds",
    "runAsUser",
    "runAsGroup",
    "fsGroup",
}
INTEGER_RANGES = {"int32": 2**31, "int64": 2**63}


def find_unknown(value: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """Remove what the schema doesn't know, and give the paths of it."""
    if isinstance(value, dict):
        properties, inner = schema.get("properties", {}), inner_schema(schema)
        keep = inner or "x-kubernetes-preserve-unknown-fields" in schema or schema.get("additionalProperties") is True
        for name in list(value):
            if name in properties or keep:
                child = properties.get(name, inner)
                if child and isinstance(value[name], dict | list):
                    yield from find_unknown(value[name], child, f"{path}.{name}" if path else name)
            else:
                del value[name]
                yield f"{path}.{name}" if path else name
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from find_unknown(item, schema["items"], f"{path}[{index}]")


def fill_defaults(value: Any, schema: Schema) -> None:
    """Set defaults, after dropping nulls where null isn't allowed."""
    if isinstance(value, dict):
        properties, inner = schema.get("properties", {}), inner_schema(schema)
        for name, child in properties.items():
            if name in value and value[name] is None and not child.get("nullable"):
                del value[name]
            if name not in value and "default" in child:
                value[name] = copy_json(child["default"])
        for name, item in value.items():
            if isinstance(item, dict | list):
                fill_defaults(item, properties.get(name, inner))
    elif isinstance(value, list) and "items" in schema:
        for item in value:
            fill_defaults(item, schema["items"])


def decode_builtin(value: Any, schema: Schema, path: str, owner: str) -> None:
    """Refuse what Go's decoder refuses in a built-in kind: a value of another JSON type (ApiError 400)."""
    if schema.get("format") == "quantity" and parse_quantity(value) is None:
        raise bad_request(BAD_QUANTITY)
    if value is None or "x-kubernetes-int-or-string" in schema:
        return
    kind = schema.get("type", "object")
    if not TYPES[kind](value):
        found, want = _type_name(value)[1], _go_type(kind, schema, path)
        raise bad_request(f"json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {want}")
    if kind == "object":
        properties, inner = schema.get("properties", {}), inner_schema(schema)
        owner = schema.get("x-go-type", owner)
        for name, item in value.items():
            child = properties.get(name, inner)
            if child:
                decode_builtin(item, child, path if inner else f"{path}.{name}" if path else name, owner)
    elif kind == "array":
        for item in value:
            decode_builtin(item, schema["items"], path, owner)


def _go_type(kind: str, schema: Schema, path: str) -> str:
    if kind == "array":
        inner = schema["items"].get("x-go-type")
        return f"[]v1.{inner}" if inner else "[]string"
    if kind == "integer":
        return "int64" if path.rpartition(".")[2] in LONGS else "int32"
    return {"boolean": "bool", "object": f"v1.{schema.get('x-go-type')}"}.get(kind, kind)


TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}


def _type_name(value: Any) -> tuple[str, str]:
    """How schema validation and Go's decoder call the type of a JSON value."""
    for name in ("object", "array", "string", "boolean", "integer", "number"):
        if TYPES[name](value):
            return name, {"boolean": "bool", "integer": "number"}.get(name, name)
    return "null", "null"


def validate(
    value: Any, old: Any, schema: Schema, *, rules: Rules | None = None, known: list[FieldError] | None = None
) -> list[FieldError]:
    """Every broken rule of a whole object, after those already `known`; `old` is the stored object, or None."""
    aside = ("metadata", "status") if "x-go-type" in schema else ("metadata",)  # nobody judges built-in status
    errors = [
        error
        for name, child in schema.get("properties", {}).items()
        if name in value and name not in aside
        for error in _check(value[name], (old or {}).get(name), child, name)
    ]
    missing = [required(name) for name in schema.get("required", ()) if name not in value]
    errors = [*(known or ()), *missing, *errors]
    if not rules:
        return errors
    if any(error.kind in BLOCKING for error in errors):
        return [*errors, invalid("<nil>", None, UNCHECKED)]
    return errors + list(check(rules, value, old))


def _check(value: Any, old: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    if value == old and type(value) is type(old):
        return
    if value is None and schema.get("nullable"):
        return
    wrong = _check_type(value, schema, path)
    if wrong:
        yield wrong
        return
    if "enum" in schema and value not in schema["enum"]:
        yield unsupported(path, value, schema["enum"])
    if isinstance(value, str):
        yield from _check_string(value, schema, path)
    elif isinstance(value, dict):
        yield from _check_object(value, old if isinstance(old, dict) else {}, schema, path)
    elif isinstance(value, list):
        yield from _check_list(value, old if isinstance(old, list) else [], schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _check_number(value, schema, path)


def _check_type(value: Any, schema: Schema, path: str) -> FieldError | None:
    if "x-kubernetes-int-or-string" in schema:
        fits, want = TYPES["integer"](value) or TYPES["string"](value), "integer,string"
    else:
        want = schema.get("type", "")
        fits = not want or TYPES[want](value)
    if fits:
        return None
    name = _type_name(value)[0]
    if isinstance(value, float) and want == "integer" and "format" in schema:
        want, name = schema["format"], "float64"
    return invalid(path, name, f"{path} in body must be of type {want}: {quote(name)}", kind="TypeInvalid")


def _check_string(value: str, schema: Schema, path: str) -> Iterator[FieldError]:
    """Only the first broken rule is told."""
    if len(value) > schema.get("maxLength", len(value)):  # characters, whatever the words say
        yield FieldError(path, "TooLong", f"Too long: may not be more than {schema['maxLength']} bytes")
    elif len(value) < schema.get("minLength", 0):
        yield invalid(path, value, f"{path} in body should be at least {schema['minLength']} chars long")
    elif "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        yield invalid(path, value, f"{path} in body should match '{schema['pattern']}'")
    elif schema.get("format") in FORMATS and not FORMATS[schema["format"]](value):
        why = f"{path} in body must be of type {schema['format']}: {quote(value)}"
        yield invalid(path, value, why, kind="TypeInvalid")


def _check_number(value: float, schema: Schema, path: str) -> Iterator[FieldError]:
    limit = INTEGER_RANGES.get(schema.get("format", ""))
    if limit and not -limit <= value < limit:
        why = f"Checked value must be of type integer with format {schema['format']} in {path}"
        yield invalid("<nil>", "", why)
    low, high = schema.get("minimum"), schema.get("maximum")
    if "multipleOf" in schema and value % schema["multipleOf"]:
        yield invalid(path, value, f"{path} in body should be a multiple of {schema['multipleOf']}")
    if low is not None and (value <= low if schema.get("exclusiveMinimum") else value < low):
        than = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid(path, value, f"{path} in body should be {than} {low}")
    if high is not None and (value >= high if schema.get("exclusiveMaximum") else value > high):
        than = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield invalid(path, value, f"{path} in body should be {than} {high}")


def _check_object(value: dict[str, Any], old: dict[str, Any], schema: Schema, path: str) -> Iterator[FieldError]:
    yield from _check_count(value, schema, path, ("minProperties", "maxProperties", "properties"))
    yield from (required(f"{path}.{name}") for name in schema.get("required", ()) if name not in value)
    properties, inner = schema.get("properties", {}), inner_schema(schema)
    for name, item in value.items():
        child = properties.get(name, inner)
        if child:
            yield from _check(item, old.get(name), child, f"{path}.{name}")


def _check_list(value: list[Any], old: list[Any], schema: Schema, path: str) -> Iterator[FieldError]:
    yield from _check_count(value, schema, path, ("minItems", "maxItems", "items"))
    keys, items = schema.get("x-kubernetes-list-map-keys", ()), schema.get("items", {})
    # Built-in kinds look for duplicates themselves.
    unique = schema.get("x-kubernetes-list-type") in ("map", "set") and "x-go-type" not in items
    before = list_items(old, keys) if keys else {}
    seen: set[str] = set()
    for index, item in enumerate(value):
        where, identity = f"{path}[{index}]", ""
        if unique:
            identity = item_key(item, keys) if keys and isinstance(item, dict) else quote(item)
            if identity in seen:
                yield duplicate(where, json.loads(identity))
            seen.add(identity)
        yield from _check(item, before.get(identity), items, where)


def _check_count(value: Any, schema: Schema, path: str, names: tuple[str, str, str]) -> Iterator[FieldError]:
    low, high, what = names
    if len(value) < schema.get(low, 0):
        yield invalid(path, len(value), f"{path} in body should have at least {schema[low]} {what}")
    if len(value) > schema.get(high, len(value)):
        text = f"Too many: {len(value)}: must have at most {schema[high]} items"
        yield FieldError(path, "TooMany", text)


@lru_cache(maxsize=512)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text.replace(r"\z", r"\Z"))


def _is_date_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None and "T" in value.upper()
    except ValueError:
        return False


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date-time": _is_date_time,
    "date": lambda value: bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value)),
    "uuid": lambda value: bool(re.fullmatch(r"(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", value)),
}
