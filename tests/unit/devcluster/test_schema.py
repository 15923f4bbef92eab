"""Unknown fields, defaults, ratcheting; test_conformance holds the texts of refusals against Kubernetes."""

from typing import Any

import pytest

from footplate.devcluster.cel import collect_rules
from footplate.devcluster.errors import ApiError
from footplate.devcluster.resources import model_schema
from footplate.devcluster.schema import decode_builtin, fill_defaults, find_unknown, validate
from footplate.devcluster.values import copy_json


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
LOOSE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

UNKNOWN: dict[str, tuple[dict[str, Any], Any, Any, list[str]]] = {
    "known": (schema(a=TEXT), {"a": "1"}, {"a": "1"}, []),
    "unknown": (schema(a=TEXT), {"a": "1", "b": 2}, {"a": "1"}, ["b"]),
    "in a list": (schema(a={"type": "array", "items": schema(b=TEXT)}), {"a": [{"c": 1}]}, {"a": [{}]}, ["a[0].c"]),
    "in a map": (
        schema(a={"type": "object", "additionalProperties": schema(b=TEXT)}),
        {"a": {"any": {"b": "", "c": 1}}},
        {"a": {"any": {"b": ""}}},
        ["a.any.c"],
    ),
    "preserved": (schema(a=LOOSE), {"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 1}}}, []),
    "known below preserved": (
        schema(a={**LOOSE, "properties": {"b": schema(c=TEXT)}}),
        {"a": {"b": {"c": "", "d": 1}, "e": 1}},
        {"a": {"b": {"c": ""}, "e": 1}},
        ["a.b.d"],
    ),
    "empty object": (schema(a={"type": "object"}), {"a": {"b": 1}}, {"a": {}}, ["a.b"]),
    "wrong type": (schema(a=schema(b=TEXT)), {"a": "x"}, {"a": "x"}, []),
}


@pytest.mark.parametrize(("node", "value", "left", "paths"), UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_fields_go(node: dict[str, Any], value: Any, left: Any, paths: list[str]) -> None:
    body = copy_json(value)
    assert list(find_unknown(body, node)) == paths
    assert body == left


DEFAULTS: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "missing": (schema(a={**NUMBER, "default": 1}), {}, {"a": 1}),
    "present": (schema(a={**NUMBER, "default": 1}), {"a": 2}, {"a": 2}),
    "null": (schema(a={**NUMBER, "default": 1}), {"a": None}, {"a": 1}),
    "null without default": (schema(a=NUMBER), {"a": None}, {}),
    "nullable": (schema(a={**NUMBER, "default": 1, "nullable": True}), {"a": None}, {"a": None}),
    "object that comes by default": (
        schema(a={**schema(b={**NUMBER, "default": 1}), "default": {}}),
        {},
        {"a": {"b": 1}},
    ),
    "object that isn't there": (schema(a=schema(b={**NUMBER, "default": 1})), {}, {}),
    "items": (
        schema(a={"type": "array", "items": schema(b={**NUMBER, "default": 1})}),
        {"a": [{}, {"b": 2}]},
        {"a": [{"b": 1}, {"b": 2}]},
    ),
}


@pytest.mark.parametrize(("node", "value", "filled"), DEFAULTS.values(), ids=DEFAULTS)
def test_defaults(node: dict[str, Any], value: Any, filled: Any) -> None:
    body = copy_json(value)
    fill_defaults(body, node)
    assert body == filled


def test_a_default_is_each_objects_own() -> None:
    node = schema(a={"type": "array", "items": TEXT, "default": []})
    first: dict[str, Any] = {}
    fill_defaults(first, node)
    first["a"].append("x")
    second: dict[str, Any] = {}
    fill_defaults(second, node)
    assert second == {"a": []}


def test_what_has_not_changed_is_not_judged_again() -> None:
    node = schema(a=schema(b={**NUMBER, "maximum": 1}, c={**NUMBER, "maximum": 1}))
    old = {"a": {"b": 5, "c": 0}}
    assert validate({"a": {"b": 5, "c": 1}}, old, node) == []
    assert [error.path for error in validate({"a": {"b": 5, "c": 6}}, old, node)] == ["a.c"]
    assert [error.path for error in validate({"a": {"b": 6, "c": 1}}, old, node)] == ["a.b"]


def test_items_of_a_keyed_list_are_recognised() -> None:
    item = schema(name=TEXT, size={**NUMBER, "maximum": 1})
    listing = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item}
    node = schema(a=listing)
    old = {"a": [{"name": "x", "size": 9}]}
    moved = {"a": [{"name": "y", "size": 1}, {"name": "x", "size": 9}]}
    assert validate(moved, old, node) == []
    assert [error.path for error in validate({"a": [{"name": "y", "size": 9}]}, old, node)] == ["a[0].size"]


def test_rules_wait_until_types_are_right() -> None:
    node = {**schema(a=NUMBER), "x-kubernetes-validations": [{"rule": "self.a > 1", "message": "too few"}]}
    rules = collect_rules(node)
    assert [error.text for error in validate({"a": 1}, None, node, rules=rules)] == ["Invalid value: too few"]
    texts = [error.text for error in validate({"a": "x"}, None, node, rules=rules)]
    assert "some validation rules were not checked" in texts[-1]


DECODED = {
    "number for text": ({"spec": {"hostname": 1}}, "number into Go struct field PodSpec.spec.hostname of type string"),
    "text for long": (
        {"spec": {"terminationGracePeriodSeconds": "5"}},
        "string into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64",
    ),
    "object for list": (
        {"spec": {"containers": {}}},
        "object into Go struct field PodSpec.spec.containers of type []v1.Container",
    ),
    "text for bool": (
        {"spec": {"enableServiceLinks": "yes"}},
        "string into Go struct field PodSpec.spec.enableServiceLinks of type bool",
    ),
    "list of texts": (
        {"spec": {"containers": [{"command": "x"}]}},
        "string into Go struct field Container.spec.containers.command of type []string",
    ),
}


@pytest.mark.parametrize(("body", "told"), DECODED.values(), ids=DECODED)
def test_built_in_kinds_are_typed(body: Any, told: str) -> None:
    with pytest.raises(ApiError) as refused:
        decode_builtin(body, model_schema("Pod", ""), "", "Pod")
    assert refused.value.message == f"json: cannot unmarshal {told}"


def test_quantities_may_be_numbers() -> None:
    limits = {"cpu": 1, "memory": "1.5Gi", "nvidia.com/gpu": "2"}
    body = {"spec": {"containers": [{"name": "a", "resources": {"limits": limits}}]}}
    decode_builtin(body, model_schema("Pod", ""), "", "Pod")
