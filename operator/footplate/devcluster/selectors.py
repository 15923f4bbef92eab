"""Label and field selectors."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from footplate.devcluster.errors import bad_request
from footplate.devcluster.values import look_up

Predicate = Callable[[Mapping[str, Any]], bool]
REQUIREMENT = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<gone>[\w./-]+)"
    r"|(?P<key>[\w./-]+)\s*(?:(?P<set>in|notin)\s*\((?P<values>[^)]*)\)|(?P<op>==|=|!=)\s*(?P<value>[\w./-]*))?)\s*(?:,|$)"
)


def select(labels: str, fields: str, *, selectable: tuple[str, ...] = ()) -> Predicate | None:
    """One predicate for both selectors, None where both are empty; ApiError 400 for what can't be read."""
    tests = [*_label_tests(labels), *_field_tests(fields, selectable)]
    return (lambda body: all(test(body) for test in tests)) if tests else None


def _label_tests(text: str) -> list[Predicate]:
    tests, position = [], 0
    while position < len(text):
        found = REQUIREMENT.match(text, position)
        if not found:
            word = text[position:].split()[-1]
            raise bad_request(f"unable to parse requirement: found '{word}', expected: in, notin, =, ==, !=, gt, lt")
        tests.append(_label_test(found))
        position = found.end()
    return tests


def _label_test(found: re.Match[str]) -> Predicate:
    key = found["key"] or found["gone"]
    if found["set"]:
        values = {value.strip() for value in found["values"].split(",")}
    else:
        values = {found["value"]} if found["op"] else set()
    positive = found["set"] == "in" or found["op"] in ("=", "==")
    if not values:
        return lambda body: (key in labels_of(body)) is not bool(found["absent"])
    return lambda body: (labels_of(body).get(key) in values) is positive


def labels_of(body: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of an object."""
    return body["metadata"].get("labels") or {}


def _field_tests(text: str, selectable: tuple[str, ...]) -> list[Predicate]:
    tests = []
    for part in filter(None, text.split(",")):
        path, operator, value = re.match(r"([^=!]*)(==|=|!=)?(.*)", part).groups()  # type: ignore[union-attr]
        if not operator:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        if path not in ("metadata.name", "metadata.namespace", *selectable):
            raise bad_request(f"field label not supported: {path}")
        tests.append(_field_test(path, value, positive=operator != "!="))
    return tests


def _field_test(path: str, value: str, *, positive: bool) -> Predicate:
    def test(body: Mapping[str, Any]) -> bool:
        found = look_up(body, path)
        text = str(found).lower() if isinstance(found, bool) else "" if found is None else str(found)
        return (text == value) is positive

    return test
