"""`x-kubernetes-validations`: CEL rules, evaluated by cel-python.

A rule that cel-python can't compile, or that uses a function it lacks, is logged once and passes: the
devcluster is then laxer than Kubernetes, never stricter. Unchanged values aren't judged again.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import celpy
from celpy import celtypes

from footplate.devcluster.errors import FieldError, forbidden_field, invalid, required
from footplate.devcluster.values import Schema, inner_schema, item_key, list_items, parse_quantity

log = logging.getLogger(__name__)
UNSUPPORTED = re.compile(r"unbound function|undeclared|no such overload", re.IGNORECASE)


def _is_quantity(text: Any) -> celtypes.BoolType:
    return celtypes.BoolType(parse_quantity(str(text)) is not None)


def _equal(left: Any, right: Any) -> Any:
    """Values of different types differ, as in Kubernetes; cel-python knows no such overload. Errors stay errors."""
    for value in (left, right):
        if isinstance(value, celpy.CELEvalError):
            return value
    try:
        return celtypes.BoolType(left == right)
    except TypeError:
        return celtypes.BoolType(False)


def _quantity(text: Any) -> Any:
    amount = parse_quantity(str(text))
    if amount is None:
        raise celpy.CELEvalError("quantities must match the regular expression", ValueError, (str(text),))
    return amount


# The functions of Kubernetes' own CEL libraries that cel-python lacks and rules are likely to use.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "_==_": _equal,
    "isQuantity": _is_quantity,
    "quantity": _quantity,
    "compareTo": lambda left, right: celtypes.IntType((left > right) - (left < right)),
    "sum": lambda items: celtypes.IntType(sum(items)),
    "isURL": lambda text: celtypes.BoolType(bool(re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/\s]+|/", text))),
    "lowerAscii": lambda text: celtypes.StringType(text.lower()),
    "upperAscii": lambda text: celtypes.StringType(text.upper()),
    "trim": lambda text: celtypes.StringType(text.strip()),
    "replace": lambda text, old, new: celtypes.StringType(text.replace(old, new)),
    "split": lambda text, by: celtypes.ListType(map(celtypes.StringType, text.split(by))),
    "join": lambda items, by="": celtypes.StringType(str(by).join(items)),
    "indexOf": lambda text, part: celtypes.IntType(text.find(part)),
    "substring": lambda text, start, end=None: celtypes.StringType(text[start:end]),
    "find": lambda text, pattern: celtypes.StringType(found[0] if (found := re.search(pattern, text)) else ""),
}


class AssociativeList(celtypes.ListType):  # type: ignore[misc]
    """A list with keys, whose order says nothing."""

    def __eq__(self, other: Any) -> bool:
        return len(self) == len(other) and all(any(_equal(mine, its) for its in other) for mine in self)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Rule:
    """One entry of `x-kubernetes-validations`."""

    spec: Mapping[str, Any]

    @property
    def transition(self) -> bool:
        """Whether it compares with the stored value, and so holds for updates only."""
        return "oldSelf" in self.spec["rule"]

    @cached_property
    def program(self) -> Any:
        """The compiled rule, or None where cel-python can't compile it."""
        return _compile(self.spec["rule"])

    @cached_property
    def message_program(self) -> Any:
        """The compiled `messageExpression`, or None."""
        return _compile(self.spec["messageExpression"]) if "messageExpression" in self.spec else None

    def judge(self, variables: Mapping[str, Any]) -> str | None:
        """None if the rule holds, else what to tell the user."""
        text = self.spec.get("message") or f"failed rule: {self.spec['rule'].strip()}"
        if self.program is None:
            return None
        try:
            if self.program.evaluate(variables):
                return None
            return str(self.message_program.evaluate(variables)) if self.message_program else text
        except celpy.CELEvalError as error:
            if UNSUPPORTED.search(str(error)):
                self.__dict__["program"] = None  # said once: later calls pass at once
                log.warning("CEL rule not supported here, it passes: %s (%s)", self.spec["rule"], error.args[0])
                return None
            return f"{error.args[0]} evaluating rule: {text}"


@dataclass(frozen=True)
class Rules:
    """The rules of a schema node and of what is below it; branches without rules are left out."""

    schema: Schema
    own: tuple[Rule, ...]
    properties: Mapping[str, "Rules"]
    others: "Rules | None"


def collect_rules(schema: Schema) -> Rules | None:
    """The rules of a schema as a tree, or None where there are none."""
    below = {name: collect_rules(child) for name, child in schema.get("properties", {}).items()}
    properties = {name: rules for name, rules in below.items() if rules}
    others = schema.get("items", schema.get("additionalProperties"))
    inner = collect_rules(others) if isinstance(others, Mapping) else None
    own = tuple(Rule(spec) for spec in schema.get("x-kubernetes-validations", ()))
    return Rules(schema, own, properties, inner) if own or properties or inner else None


def check(rules: Rules, value: Any, old: Any, path: str = "") -> Iterator[FieldError]:
    """The broken rules of a value; `old` is the stored one, or None on create and where it can't be matched."""
    if value is None or value == old:
        return
    variables = {"self": to_cel(value, rules.schema)} if rules.own else {}
    variables |= {"oldSelf": to_cel(old, rules.schema)} if rules.own and old is not None else {}
    for rule in rules.own:
        if not rule.transition or old is not None:
            message = rule.judge(variables)
            if message is not None:
                yield _error(rule, message, value, path)
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, item in value.items():
            is_map = "properties" not in rules.schema
            child = rules.others if is_map else rules.properties.get(name)
            if child:
                where = f"{path}[{name}]" if is_map else f"{path}.{name}".lstrip(".")
                yield from check(child, item, before.get(name), where)
    elif isinstance(value, list) and rules.others:
        keys = rules.schema.get("x-kubernetes-list-map-keys", ())
        earlier = list_items(old, keys) if keys else {}
        for index, item in enumerate(value):
            yield from check(
                rules.others, item, earlier.get(item_key(item, keys)) if keys else None, f"{path}[{index}]"
            )


def _error(rule: Rule, message: str, value: Any, path: str) -> FieldError:
    where = f"{path}{rule.spec.get('fieldPath', '')}".lstrip(".") or "<nil>"
    reason = rule.spec.get("reason", "FieldValueInvalid")
    if reason == "FieldValueForbidden":
        return forbidden_field(where, message)
    if reason == "FieldValueRequired":
        return required(where, message)
    if isinstance(value, dict | list):
        return FieldError(where, "Invalid", f"Invalid value: {message}")
    return invalid(where, value, message)


def _compile(text: str) -> Any:
    try:
        environment = celpy.Environment()
        return environment.program(environment.compile(text), functions=dict(FUNCTIONS))
    except celpy.CELParseError as error:
        log.warning("CEL rule not supported here, it passes: %s (%s)", text, str(error).partition("\n")[0])
        return None


def to_cel(value: Any, schema: Schema) -> Any:
    """JSON data as CEL values; the schema tells doubles and timestamps from what they look like."""
    if isinstance(value, dict):
        properties, inner = schema.get("properties", {}), inner_schema(schema)
        items = {celtypes.StringType(key): to_cel(item, properties.get(key, inner)) for key, item in value.items()}
        return celtypes.MapType(items)
    if isinstance(value, list):
        kind = AssociativeList if "x-kubernetes-list-map-keys" in schema else celtypes.ListType
        return kind([to_cel(item, schema.get("items", {})) for item in value])
    if isinstance(value, str):
        return celtypes.TimestampType(value) if schema.get("format") == "date-time" else celtypes.StringType(value)
    if isinstance(value, bool) or value is None:
        return None if value is None else celtypes.BoolType(value)
    is_double = isinstance(value, float) or schema.get("type") == "number" or not -(2**63) <= value < 2**63
    return celtypes.DoubleType(value) if is_double else celtypes.IntType(value)
