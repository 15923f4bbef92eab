"""Who owns which field, and server-side apply."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate.devcluster.errors import ApiError
from footplate.devcluster.ownership import apply_configuration, record_apply, record_update
from footplate.devcluster.resources import Resource
from footplate.devcluster.values import copy_json

ITEMS = {
    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
    "items": {"type": "object", "properties": {"name": {"type": "string"}, "v": {"type": "string"}}},
}  # fmt: skip
SPEC = {"type": "object", "properties": {
    "env": ITEMS, "tags": {"type": "array", "x-kubernetes-list-type": "set"}, "args": {"type": "array"},
    "map": {"type": "object", "additionalProperties": {"type": "string"}},
    "atom": {"type": "object", "x-kubernetes-map-type": "atomic"},
}}  # fmt: skip
THING = Resource("g", "v1", "things", "Thing", custom_schema={"type": "object", "properties": {"spec": SPEC}})
Body = dict[str, Any]


def made(manager: str, **spec: Any) -> Body:
    """A thing as one manager created it."""
    body = {"metadata": {"name": "t"}, "spec": spec}
    record_update(THING, None, body, manager, "", "T1")
    return body


def applied(body: Body, manager: str, *, force: bool = False, **spec: Any) -> Body:
    """The thing after a manager applied a spec."""
    configuration = {"metadata": {"name": "t"}, "spec": spec}
    new = apply_configuration(THING, copy_json(body), configuration=configuration, manager=manager, force=force)
    record_apply(THING, body, new, manager, "", "T2", configuration=configuration)
    return new


def updated(body: Body, manager: str, **spec: Any) -> Body:
    """The thing after a manager wrote the whole spec."""
    new = {**copy_json(body), "spec": spec}
    record_update(THING, body, new, manager, "", "T3")
    return new


def owners(body: Body) -> dict[str, Any]:
    """The fields of the spec by manager."""
    return {entry["manager"]: entry["fieldsV1"]["f:spec"] for entry in body["metadata"]["managedFields"]}


FIELDS: dict[str, tuple[Any, Any]] = {
    "scalar": ({"a": 1}, {"f:a": {}}),
    "nested": ({"a": {"b": 1}}, {"f:a": {"f:b": {}}}),
    "empty object": ({"a": {}}, {"f:a": {}}),
    "atomic list": ({"args": [1, 2]}, {"f:args": {}}),
    "atomic map": ({"atom": {"a": 1}}, {"f:atom": {}}),
    "map": ({"map": {"x/y": "1"}}, {"f:map": {"f:x/y": {}}}),
    "keyed list": (
        {"env": [{"name": "a", "v": "1"}]},
        {"f:env": {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:v": {}}}},
    ),
    "set": ({"tags": ["x"]}, {"f:tags": {'v:"x"': {}}}),
}


@pytest.mark.parametrize(("spec", "fields"), FIELDS.values(), ids=FIELDS)
def test_fields(spec: Any, fields: Any) -> None:
    assert owners(made("one", **spec)) == {"one": fields}


def test_an_update_takes_what_it_changes() -> None:
    body = updated(made("one", a=1, b=1, c=1), "two", a=1, b=2, d=1)
    assert owners(body) == {"one": {"f:a": {}}, "two": {"f:b": {}, "f:d": {}}}


def test_an_update_that_changes_nothing_owns_nothing() -> None:
    body = made("one", a=1)
    assert updated(body, "two", a=1)["metadata"]["managedFields"] == body["metadata"]["managedFields"]


def test_equal_values_are_shared() -> None:
    body = applied(applied(made("one", a=1), "two", a=1), "three", a=1)
    assert owners(body) == {"one": {"f:a": {}}, "two": {"f:a": {}}, "three": {"f:a": {}}}


def test_conflicts_are_named() -> None:
    body = applied(made("one", a=1), "two", b=1)
    with pytest.raises(ApiError) as refused:
        applied(body, "three", a=2, b=2)
    assert refused.value.message == (
        'Apply failed with 2 conflicts: conflicts with "one" using g/v1:\n- .spec.a\nconflicts with "two":\n- .spec.b'
    )
    assert owners(applied(body, "three", force=True, a=2, b=2)) == {"three": {"f:a": {}, "f:b": {}}}


def test_what_is_no_longer_applied_goes_unless_shared() -> None:
    first = applied(applied(made("zero", z=1), "one", a=1, b=1), "two", b=1)
    body = applied(first, "one", c=1)
    assert body["spec"] == {"z": 1, "b": 1, "c": 1}


def test_list_items_have_owners_of_their_own() -> None:
    body = applied(made("one", env=[{"name": "a", "v": "1"}]), "two", env=[{"name": "b", "v": "2"}], tags=["x"])
    assert body["spec"]["env"] == [{"name": "a", "v": "1"}, {"name": "b", "v": "2"}]
    with pytest.raises(ApiError, match="Conflict") as refused:
        applied(body, "two", env=[{"name": "a", "v": "9"}])
    assert refused.value.message.endswith('.spec.env[name="a"].v')
    assert applied(body, "two", x=1)["spec"] == {"env": [{"name": "a", "v": "1"}], "tags": [], "x": 1}


def test_kubectl_may_take_what_it_applied_on_its_own_side() -> None:
    body = made("kubectl-client-side-apply", a=1, b=1)
    body["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": '{"spec":{"a":1}}'}
    assert applied(body, "kubectl", a=2)["spec"]["a"] == 2
    with pytest.raises(ApiError):
        applied(body, "kubectl", b=2)
    with pytest.raises(ApiError):
        applied(body, "other", a=2)


SPECS = st.fixed_dictionaries(
    {},
    optional={
        "a": st.integers(0, 2),
        "map": st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12")),
        "env": st.lists(st.sampled_from("abc"), unique=True).map(lambda names: [{"name": n, "v": n} for n in names]),
    },
)


@given(before=SPECS, spec=SPECS)
def test_applying_twice_is_applying_once(before: Body, spec: Body) -> None:
    once = applied(made("one", **before), "two", force=True, **spec)
    twice = applied(once, "two", force=True, **spec)
    assert twice == once


@given(before=SPECS, spec=SPECS)
def test_applying_nothing_after_something_leaves_what_others_own(before: Body, spec: Body) -> None:
    body = applied(applied(made("one", **before), "two", **only_new(spec, before)), "two")
    kept = {name: value for name, value in body["spec"].items() if value or name in before}
    assert {name: kept[name] for name in before} == before


def only_new(spec: Body, before: Body) -> Body:
    """What a spec has that isn't there before, so that there are no conflicts."""
    return {name: value for name, value in spec.items() if name not in before}
