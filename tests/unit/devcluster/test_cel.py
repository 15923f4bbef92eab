"""CEL rules: when they are asked, what they see, and what happens to those that can't be evaluated here."""

import logging
from typing import Any

import pytest

from footplate.devcluster.cel import check, collect_rules


def judge(rule: str, value: Any, old: Any = None, *, node: dict[str, Any] | None = None, **spec: Any) -> list[str]:
    """What a rule on the field `f` says of its value."""
    field = {**(node or {}), "x-kubernetes-validations": [{"rule": rule, **spec}]}
    rules = collect_rules({"type": "object", "properties": {"f": field}})
    assert rules is not None
    before = None if old is None else {"f": old}
    return [str(error) for error in check(rules, {"f": value}, before)]


NUMBER = {"type": "number"}
HOLDS: dict[str, tuple[str, Any]] = {
    "comparison": ("self < 3", 2),
    "matches": ("self.matches('^(s3|gs)://')", "s3://b"),
    "starts": ("!self.startsWith('FOOTPLATE_')", "A"),
    "has": ("[has(self.a), has(self.b)].exists_one(x, x)", {"a": 1}),
    "filter": ("self.filter(x, x > 1).size() == 1", [1, 2]),
    "all keys": ("self.all(key, !key.startsWith('x/'))", {"y/a": "1"}),
    "quantity": ("isQuantity(self)", "1.5Gi"),
    "split": ("self.split('/').size() == 2", "a/b"),
    "lower": ("self.lowerAscii() == 'ab'", "AB"),
    "in": ("self in ['latest', 'never']", "never"),
}


@pytest.mark.parametrize(("rule", "value"), HOLDS.values(), ids=HOLDS)
def test_rules_that_hold(rule: str, value: Any) -> None:
    assert judge(rule, value) == []
    assert len(judge(f"!({rule})", value)) == 1


def test_a_number_field_is_a_double() -> None:
    assert judge("self < 1.5", 1, node=NUMBER) == []


TOLD: dict[str, tuple[dict[str, Any], str]] = {
    "message": ({"message": "no"}, "f: Invalid value: 1: no"),
    "no message": ({}, "f: Invalid value: 1: failed rule: self > 1"),
    "expression": ({"messageExpression": "'got ' + string(self)"}, "f: Invalid value: 1: got 1"),
    "reason": ({"message": "no", "reason": "FieldValueForbidden"}, "f: Forbidden: no"),
    "required": ({"message": "no", "reason": "FieldValueRequired"}, "f: Required value: no"),
    "path": ({"message": "no", "fieldPath": ".g"}, "f.g: Invalid value: 1: no"),
}


@pytest.mark.parametrize(("spec", "told"), TOLD.values(), ids=TOLD)
def test_what_a_broken_rule_says(spec: dict[str, Any], told: str) -> None:
    assert judge("self > 1", 1, **spec) == [told]


def test_transition_rules_are_for_updates() -> None:
    rule = "self == oldSelf"
    assert judge(rule, 1) == []
    assert judge(rule, 1, 1) == []
    assert judge(rule, 2, 1, message="field is immutable") == ["f: Invalid value: 2: field is immutable"]


def test_what_has_not_changed_is_not_judged_again() -> None:
    assert judge("self > 1", 0, 0) == []
    assert len(judge("self > 1", 0, 5)) == 1


def test_old_items_are_found_by_their_keys() -> None:
    item = {"type": "object", "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "less"}]}
    listing = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"], "items": item}
    rules = collect_rules({"type": "object", "properties": {"l": listing}})
    assert rules is not None
    old = {"l": [{"n": "a", "v": 1}, {"n": "b", "v": 5}]}
    new = {"l": [{"n": "b", "v": 4}, {"n": "a", "v": 2}, {"n": "c", "v": 0}]}
    assert [error.path for error in check(rules, new, old)] == ["l[0]"]


@pytest.mark.parametrize("rule", ["self.?a.orValue(1) == 1", "quantity(self).isLessThan(quantity('1'))"])
def test_a_rule_that_is_not_understood_passes_and_is_logged_once(rule: str, caplog: pytest.LogCaptureFixture) -> None:
    node = {"type": "object", "properties": {"f": {"x-kubernetes-validations": [{"rule": rule}]}}}
    rules = collect_rules(node)
    assert rules is not None
    with caplog.at_level(logging.WARNING):
        for value in ("1", "2"):
            assert list(check(rules, {"f": value}, None)) == []
    assert len(caplog.records) == 1


def test_schemas_without_rules_have_none() -> None:
    assert collect_rules({"type": "object", "properties": {"a": {"type": "array", "items": {}}}}) is None
