"""The patches that need no field ownership."""

from typing import Any

import pytest

from footplate.devcluster.errors import ApiError
from footplate.devcluster.patch import json_patch, merge_patch, strategic_merge_patch
from footplate.devcluster.resources import model_schema
from footplate.devcluster.values import copy_json

# The examples of RFC 7396, appendix A.
MERGES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), MERGES)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(copy_json(target), patch) == result


JSON_PATCHES: dict[str, tuple[Any, list[dict[str, Any]], Any]] = {
    "add member": ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
    "add item": ([1, 3], [{"op": "add", "path": "/1", "value": 2}], [1, 2, 3]),
    "append": ([1], [{"op": "add", "path": "/-", "value": 2}], [1, 2]),
    "remove item": ([1, 2], [{"op": "remove", "path": "/0"}], [2]),
    "replace": ({"a": 1}, [{"op": "replace", "path": "/a", "value": [2]}], {"a": [2]}),
    "move": ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
    "copy": ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
    "escapes": ({"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/a~1b"}], {"m~n": 2}),
    "test passes": ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}], {"a": 1}),
    "test fails": ({"a": 1}, [{"op": "test", "path": "/a", "value": 2}], None),
    "no such member": ({}, [{"op": "remove", "path": "/a"}], None),
    "no such item": ([1], [{"op": "add", "path": "/7", "value": 1}], None),
    "no such operation": ({}, [{"op": "frob", "path": "/a"}], None),
    "no value": ({}, [{"op": "add", "path": "/a"}], None),
}


@pytest.mark.parametrize(("target", "patch", "result"), JSON_PATCHES.values(), ids=JSON_PATCHES)
def test_json_patch(target: Any, patch: list[dict[str, Any]], result: Any) -> None:
    if result is not None:
        assert json_patch(copy_json(target), patch) == result
        return
    with pytest.raises(ApiError) as refused:
        json_patch(copy_json(target), patch)
    assert refused.value.code == 422


A, B, C = ({"name": name, "image": "x"} for name in "abc")
# Containers before, a patch of them, containers after.
STRATEGIC: dict[str, tuple[list[Any], dict[str, Any], list[Any]]] = {
    "joined by name": ([A, B], {"containers": [{"name": "b", "image": "y"}]}, [A, {"name": "b", "image": "y"}]),
    "new one first": ([A], {"containers": [C]}, [C, A]),
    "deleted": ([A, B], {"containers": [{"name": "a", "$patch": "delete"}]}, [B]),
    "replaced": ([A, B], {"containers": [{"$patch": "replace"}, C]}, [C]),
    "ordered": (
        [A, B],
        {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "tty": True}]},
        [B, {**A, "tty": True}],
    ),
    "only ordered": ([A, B], {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}, [B, A]),
    "inner list": (
        [{**A, "env": [{"name": "X", "value": "1"}]}],
        {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]},
        [{**A, "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]}],
    ),
    "atomic list": (
        [{**A, "args": ["1", "2"]}],
        {"containers": [{"name": "a", "args": ["3"]}]},
        [{**A, "args": ["3"]}],
    ),
}


@pytest.mark.parametrize(("before", "patch", "after"), STRATEGIC.values(), ids=STRATEGIC)
def test_strategic_merge_patch(before: list[Any], patch: dict[str, Any], after: list[Any]) -> None:
    pod = {"spec": {"containers": copy_json(before), "nodeName": "n"}}
    patched = strategic_merge_patch(pod, {"spec": patch}, model_schema("Pod", ""))
    assert patched == {"spec": {"containers": after, "nodeName": "n"}}


FINALIZERS = {
    "added": ({"finalizers": ["b"]}, ["b", "a"]),
    "deleted": ({"$deleteFromPrimitiveList/finalizers": ["a"]}, []),
    "null": ({"finalizers": None}, None),
}


@pytest.mark.parametrize(("patch", "after"), FINALIZERS.values(), ids=FINALIZERS)
def test_strategic_merge_patch_of_a_set(patch: dict[str, Any], after: list[str] | None) -> None:
    body = {"metadata": {"finalizers": ["a"]}}
    patched = strategic_merge_patch(body, {"metadata": patch}, model_schema("Pod", ""))
    assert patched["metadata"].get("finalizers") == after


def test_retain_keys() -> None:
    patch = {"spec": {"$retainKeys": ["nodeName"], "nodeName": "m"}}
    patched = strategic_merge_patch({"spec": {"nodeName": "n", "hostname": "h"}}, patch, model_schema("Pod", ""))
    assert patched == {"spec": {"nodeName": "m"}}
