"""Turns pydantic's errors into what a user can act on: the field, its value, the rule, and the way out.

For manifests and for hyperparameters alike: any pydantic model will do.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from footplate.api.patterns import PATTERN_WORDS

MAX_VALUE_LENGTH = 80
MAX_NAMES = 12

_TYPE_WORDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
_BOUND_WORDS = {
    "greater_than_equal": ("ge", "must be at least", ""),
    "greater_than": ("gt", "must be greater than", ""),
    "less_than_equal": ("le", "must be at most", ""),
    "less_than": ("lt", "must be less than", ""),
    "string_too_short": ("min_length", "must have at least", " character"),
    "string_too_long": ("max_length", "must have at most", " character"),
    "too_short": ("min_length", "must have at least", " item"),
    "too_long": ("max_length", "must have at most", " item"),
}
_RULE_TYPES = ("rule", "value_error")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where, what is there (None for nothing, or a whole object), what the rule is, and the way out."""

    path: str
    value: Any
    rule: str
    way_out: str = ""
    is_missing: bool = False
    """True where a field isn't there that must be."""

    def __str__(self) -> str:
        where = self.path if self.value is None else f"{self.path} = {_show(self.value)}"
        return "; ".join(part for part in (f"{where}: {self.rule}".removeprefix(": "), self.way_out) if part)


def each_once(problems: Iterable[Problem]) -> list[Problem]:
    """These, without those that say the same: a value may be a list, so they have no hash."""
    return [*{str(problem): problem for problem in problems}.values()]


def explain(error: ValidationError, root: str = "spec", *, model: type[BaseModel] | None = None) -> list[Problem]:
    """The problems behind a validation error, in the order of the fields.

    `root` is the path of what was validated ("" for a whole object). With the `model` that it was validated against,
    a problem with an unknown field names the nearest right one, and others give an example.
    """
    return [_explain(details, root, model) for details in error.errors(include_url=False)]


def join(path: str, part: str | int) -> str:
    """The path of a field, key or item below `path`, as Kubernetes writes it: spec.inputs[0].uri, spec.labels[a/b]."""
    if isinstance(part, str) and re.fullmatch(r"\w{1,63}", part):
        return f"{path}.{part}" if path else part
    return f"{path}[" + _show(part).strip('"') + "]"


def _explain(details: ErrorDetails, root: str, model: type[BaseModel] | None) -> Problem:
    kind, context, value, loc = details["type"], details.get("ctx", {}), details["input"], list(details["loc"])
    if loc[-1:] == ["[key]"]:
        loc.pop()
    if kind == "rule" and context["field"]:
        parts = context["field"].split(".")
        loc, value = [*loc, *parts], _dig(value, parts)
    path, value = _path(root, loc), _plain_value(value)
    if kind in _RULE_TYPES:
        rule, _, way_out = str(context.get("message") or context["error"]).partition("; ")
        return Problem(path, value, rule, way_out)
    if kind == "missing":
        return Problem(path, None, "is required", _example(model, loc), is_missing=True)
    if kind == "extra_forbidden":
        return Problem(path, value, "unknown field", _right_field(str(loc[-1]), model, loc[:-1], root=root))
    if kind in ("literal_error", "enum"):
        names = re.findall(r"'([^']*)'", context["expected"])
        return Problem(path, value, f"must be {alternatives(names)}", nearest(str(value), names))
    if kind == "int_type" and isinstance(value, str) and value.isdecimal():
        return Problem(path, value, _rule(details), f"write {value} without quotes")
    return Problem(path, value, _rule(details), _example(model, loc))


def _rule(details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind in _BOUND_WORDS:
        key, words, noun = _BOUND_WORDS[kind]
        plural = "s" if noun and context[key] != 1 else ""
        return f"{words} {context[key]:,.15g}{noun}{plural}"
    if kind in _TYPE_WORDS:
        return f"must be {_TYPE_WORDS[kind]}, not {_type_of(details['input'])}"
    if kind == "string_pattern_mismatch":
        return PATTERN_WORDS.get(context["pattern"], f"must match {context['pattern']}")
    return details["msg"].removeprefix("Input should be ").join(("must be ", ""))


def _type_of(value: Any) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a fraction",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)


def _plain_value(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"//[^/@]*@", "//***@", value)  # what stands there may be a password
    if isinstance(value, int):
        return value if abs(value) < 2**63 else f"about 2^{value.bit_length()}"
    if isinstance(value, float) and math.isfinite(value):
        return value
    return None if value is None or isinstance(value, Mapping | list) else str(value)


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}…"


def _path(root: str, loc: Sequence[str | int]) -> str:
    path = root
    for part in loc:
        path = join(path, part)
    return path


def _dig(value: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def alternatives(names: Sequence[str]) -> str:
    """The names in words: a, b or c."""
    quoted = [name or '""' for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def nearest(name: str, names: Sequence[str], *, others: bool = False) -> str:
    """A way out for a wrong name: the right one that is nearest or, with `others`, the first of them all."""
    by_lower = {each.lower(): each for each in names}
    near = get_close_matches(name.lower().replace("_", ""), by_lower, n=1)
    if near:
        return f"did you mean {by_lower[near[0]]}?"
    if not others or not names:
        return ""
    more = ", …" if len(names) > MAX_NAMES else ""
    return f"the fields here are {', '.join(names[:MAX_NAMES])}{more}"


def _right_field(name: str, model: type[BaseModel] | None, loc: Sequence[str | int], *, root: str) -> str:
    """A way out for an unknown field: the nearest of those beside it, or those of its name in what these hold."""
    names = _names_at(model, loc)
    within = [f"{_path(root, [*loc, each])}.{name}" for each in names if name in _names_at(model, [*loc, each])]
    if not nearest(name, names) and within:
        return f"did you mean {alternatives(within)}?"
    return nearest(name, names, others=True)


def _example(model: type[BaseModel] | None, loc: Sequence[str | int]) -> str:
    field = next((field for name, field in _fields_at(model, loc[:-1]) if loc and name == loc[-1]), None)
    return f"for example {_show(field.examples[0])}" if field is not None and field.examples else ""


def field_names(model: type[BaseModel], *path: str) -> list[str]:
    """Fields of the object at a path, as manifests name them; none where it isn't a model."""
    return _names_at(model, path)


def field_at(model: type[BaseModel], *path: str) -> FieldInfo | None:
    """The field at a path, as manifests name it; None where there is none."""
    *parents, last = path
    return next((field for name, field in _fields_at(model, parents) if name == last), None)


def _names_at(model: type[BaseModel] | None, loc: Sequence[str | int]) -> list[str]:
    return [name for name, _ in _fields_at(model, loc)]


def _fields_at(model: type[BaseModel] | None, loc: Sequence[str | int]) -> Iterator[tuple[str, FieldInfo]]:
    """Fields of the object at `loc`, by the names that manifests have for them; none where it isn't a model."""
    annotation: Any = model
    for part in loc:
        annotation = _child(_plain(annotation), part)
    plain = _plain(annotation)
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        yield from ((field.alias or name, field) for name, field in plain.model_fields.items())


def _child(annotation: Any, part: str | int) -> Any:
    if get_origin(annotation) in (list, dict):
        return get_args(annotation)[-1]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return next((field.annotation for name, field in _fields_at(annotation, ()) if name == part), None)
    return None


def _plain(annotation: Any) -> Any:
    """The annotation without its metadata and without None."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _plain(next(each for each in get_args(annotation) if each is not type(None)))
    return annotation
