"""The three patches that need no field ownership: JSON patch, JSON merge patch and strategic merge patch.

Each takes a copy of the object, may change it, and returns the patched object.
"""

from collections.abc import Mapping
from typing import Any

from footplate.devcluster.errors import ApiError, bad_request
from footplate.devcluster.values import Schema, copy_json


class PatchFailed(ApiError):
    """A JSON patch that doesn't fit the object."""

    def __init__(self) -> None:
        super().__init__(422, "Invalid", "the server rejected our request due to an error in our request", {})


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = target if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902; PatchFailed where a test fails or a path doesn't exist."""
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    root = {"": target}
    for operation in operations:
        try:
            _apply_operation(root, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise PatchFailed from error
    return root[""]


def _apply_operation(root: dict[str, Any], operation: Mapping[str, Any]) -> None:
    name = operation["op"]
    parent, key = _resolve(root, operation["path"])
    if name == "test":
        if _read(parent, key) != operation["value"]:
            raise ValueError(operation["path"])
    elif name == "remove":
        del parent[key]
    elif name == "replace":
        _read(parent, key)
        parent[key] = operation["value"]
    elif name == "add":
        _add(parent, key, operation["value"])
    elif name in ("move", "copy"):
        source, source_key = _resolve(root, operation["from"])
        value = copy_json(_read(source, source_key))
        if name == "move":
            del source[source_key]
        _add(*_resolve(root, operation["path"]), value)
    else:
        raise ValueError(name)


def _resolve(root: dict[str, Any], pointer: str) -> tuple[Any, Any]:
    """The container that a JSON pointer points into, and its last step."""
    parent: Any = root
    *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")]
    for step in steps:
        parent = parent[int(step)] if isinstance(parent, list) else parent[step]
    if isinstance(parent, list):
        return parent, len(parent) if last == "-" else int(last)
    return parent, last


def _read(parent: Any, key: Any) -> Any:
    return parent[key]


def _add(parent: Any, key: Any, value: Any) -> None:
    if isinstance(parent, list):
        if key > len(parent):
            raise IndexError(key)
        parent.insert(key, value)
    else:
        parent[key] = value


def strategic_merge_patch(target: Any, patch: Mapping[str, Any], schema: Schema) -> Any:
    """A merge patch that joins associative lists by key and knows `$patch`, `$retainKeys`, `$setElementOrder`,
    `$deleteFromPrimitiveList`.
    """
    if patch.get("$patch") == "replace":
        return {name: value for name, value in patch.items() if name != "$patch"}
    result = target if isinstance(target, dict) else {}
    if "$retainKeys" in patch:
        result = {name: value for name, value in result.items() if name in patch["$retainKeys"]}
    for name, value in patch.items():
        directive, _, field = name.partition("/") if name.startswith("$") else ("", "", name)
        child = schema.get("properties", {}).get(field, {})
        if directive == "$deleteFromPrimitiveList":
            result[field] = [item for item in result.get(field, ()) if item not in value]
        elif directive == "$setElementOrder" and field not in patch and result.get(field):
            result[field] = _merge_list(result[field], [], child, value)
        elif directive:
            continue
        elif value is None:
            result.pop(field, None)
        elif isinstance(value, dict):
            result[field] = strategic_merge_patch(result.get(field), value, child)
        elif isinstance(value, list) and "x-kubernetes-list-type" in child:
            order = patch.get(f"$setElementOrder/{field}", value)
            result[field] = _merge_list(result.get(field) or [], value, child, order)
        else:
            result[field] = value
    return result


def _merge_list(live: list[Any], patch: list[Any], schema: Schema, order: list[Any]) -> list[Any]:
    keys = schema.get("x-kubernetes-list-map-keys")

    def name_of(item: Any) -> Any:
        if keys and keys[0] not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {keys[0]}")
        return item[keys[0]] if keys else item

    if keys and any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if "$patch" not in item]
    items = {name_of(item): item for item in live}
    for item in patch:
        if keys and item.get("$patch") == "delete":
            items.pop(name_of(item), None)
        else:
            name = name_of(item)
            items[name] = strategic_merge_patch(items.get(name), item, schema["items"]) if keys else item
    return [items[name] for name in _arrange(items, list(map(name_of, order)), list(map(name_of, live)))]


def _arrange(kept: Mapping[Any, Any], wanted: list[Any], before: list[Any]) -> list[Any]:
    """Patched items in the patch's order, the others where they were among them; new ones come first."""
    place = {name: index for index, name in enumerate(before)}
    patched = [name for name in wanted if name in kept]
    others = [name for name in before if name in kept and name not in patched]
    arranged = []
    while patched and others:
        source = patched if place.get(patched[0], -1) < place[others[0]] else others
        arranged.append(source.pop(0))
    return arranged + patched + others
