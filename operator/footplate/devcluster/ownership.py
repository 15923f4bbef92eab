"""Who owns which field (`metadata.managedFields`), and server-side apply.

A field is a path of FieldsV1 steps: `f:name` into an object, `k:{"name":"a"}` into an associative list,
`v:"x"` into a set; `.` at its end means the list item itself. The fields of an object are its leaves, its list
items and its empty containers; atomic lists are leaves. Each writer (manager, operation, subresource) owns a set.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from footplate.devcluster.errors import ApiError
from footplate.devcluster.resources import Resource
from footplate.devcluster.values import Schema, inner_schema, item_key, parse, quote

Path = tuple[str, ...]
Body = dict[str, Any]
# The server writes these itself, so nobody owns them.
UNOWNED = {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
           "deletionGracePeriodSeconds", "managedFields", "selfLink"}  # fmt: skip
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MISSING = object()


@dataclass(frozen=True)
class Writer:
    """One entry of managedFields, without its fields."""

    manager: str
    operation: str
    version: str
    subresource: str

    def __str__(self) -> str:
        if self.operation == "Apply":
            return f'"{self.manager}"'
        part = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f'"{self.manager}"{part} using {self.version}'


Owners = dict[Writer, set[Path]]


def _collect(value: Any, schema: Schema, path: Path, found: dict[Path, Any]) -> None:
    """Add the fields of a value, with their values, to `found`."""
    kind = schema.get("x-kubernetes-list-type")
    if isinstance(value, dict) and value and schema.get("x-kubernetes-map-type") != "atomic":
        properties, inner = schema.get("properties", {}), inner_schema(schema)
        for name, item in value.items():
            _collect(item, properties.get(name, inner), (*path, f"f:{name}"), found)
    elif isinstance(value, list) and kind == "map":
        for item in value:
            step = (*path, f"k:{item_key(item, schema['x-kubernetes-list-map-keys'])}")
            found[*step, "."] = True
            _collect(item, schema["items"], step, found)
    elif isinstance(value, list) and kind == "set":
        found |= {(*path, f"v:{quote(item)}"): item for item in value}
    else:
        found[path] = value


def owned_fields(resource: Resource, body: Body) -> dict[Path, Any]:
    """The fields of an object that somebody may own."""
    metadata = {name: item for name, item in body.get("metadata", {}).items() if name not in UNOWNED}
    found: dict[Path, Any] = {}
    _collect({**body, "metadata": metadata}, resource.schema, (), found)
    for path in (("f:metadata",), ("f:apiVersion",), ("f:kind",)):
        found.pop(path, None)
    return found


def record_update(resource: Resource, old: Body | None, body: Body, manager: str, subresource: str, now: str) -> None:
    """Give the fields that a plain write changed to its writer, and take them from all others."""
    writer = Writer(manager, "Update", resource.api_version, subresource)
    if old is None:
        paths = {path for path in owned_fields(resource, body) if not (resource.status and path[0] == "f:status")}
        _store(body, {writer: paths}, {}, now)
        return
    if "managedFields" not in body["metadata"] and "managedFields" in old["metadata"]:
        body["metadata"]["managedFields"] = old["metadata"]["managedFields"]
    if {**body, "metadata": None} == {**old, "metadata": None} and _plain(body) == _plain(old):
        return
    before, after = owned_fields(resource, old), owned_fields(resource, body)
    changed = {path for path, value in after.items() if before.get(path, MISSING) != value}
    owners, times = _load(body)
    result = {other: (paths - changed) & after.keys() for other, paths in owners.items()}
    if changed:
        result[writer] = result.get(writer, set()) | changed
        times.pop(writer, None)
    _store(body, result, times, now)


def _plain(body: Body) -> Body:
    return {name: item for name, item in body["metadata"].items() if name not in ("managedFields", "generation")}


def apply_configuration(resource: Resource, body: Body, *, configuration: Body, manager: str, force: bool) -> Body:
    """The object after a server-side apply; ApiError 409 where another writer owns a field with another value.

    Fields that the manager applied before and no longer does go, unless somebody else owns them too. What kubectl
    applied on its own side, as it noted in an annotation, is kubectl's to take.
    """
    writer = Writer(manager, "Apply", resource.api_version, "")
    wanted, present = owned_fields(resource, configuration), owned_fields(resource, body)
    before = _last_applied(resource, body) if manager == "kubectl" else set()
    owners, _ = _load(body)
    others = {other: paths for other, paths in owners.items() if other != writer}
    clashes = {
        other: lost
        for other, paths in others.items()
        if (lost := {path for path in (paths & wanted.keys()) - before if present.get(path, MISSING) != wanted[path]})
    }
    if clashes and not force:
        raise _conflict(clashes)
    abandoned = owners.get(writer, set()) - wanted.keys() - {path for paths in others.values() for path in paths}
    result: Body = _merge(_prune(body, abandoned, ()), configuration, resource.schema)
    result["metadata"] = result["metadata"] | {"managedFields": body["metadata"].get("managedFields", [])}
    return result


def _last_applied(resource: Resource, body: Body) -> set[Path]:
    text = body["metadata"].get("annotations", {}).get(LAST_APPLIED)
    return set(owned_fields(resource, parse(text))) if text else set()


def record_apply(
    resource: Resource, old: Body | None, body: Body, manager: str, subresource: str, now: str, *, configuration: Body
) -> None:
    """Note what the manager applied, and take changed fields from the others."""
    writer = Writer(manager, "Apply", resource.api_version, subresource)
    wanted, after = owned_fields(resource, configuration), owned_fields(resource, body)
    before = owned_fields(resource, old) if old else {}
    owners, times = _load(body)
    changed = {path for path in wanted if before.get(path, MISSING) != after.get(path, MISSING)}
    result = {other: (paths - changed) & after.keys() for other, paths in owners.items() if other != writer}
    mine = wanted.keys() & after.keys()
    if owners.get(writer) != mine:
        times.pop(writer, None)
    _store(body, {**result, writer: set(mine)}, times, now)


def _conflict(clashes: Owners) -> ApiError:
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {other}", "field": _show(path)}
        for other, paths in clashes.items()
        for path in sorted(paths)
    ]
    if len(causes) == 1:
        text = f"1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        groups = [
            "\n- ".join([f"conflicts with {other}:", *sorted(map(_show, paths))]) for other, paths in clashes.items()
        ]
        text = f"{len(causes)} conflicts: " + "\n".join(groups)
    return ApiError(409, "Conflict", f"Apply failed with {text}", {"causes": causes})


def _show(path: Path) -> str:
    """A path as people write it: `.spec.env[name="a"].value`."""
    shown = ""
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "f":
            shown += f".{rest}"
        elif kind == "k":
            shown += "[" + rest.strip("{}").replace('":', "=").replace(',"', ",").replace('"', "", 1) + "]"
        elif kind == "v":
            shown += f"[={rest}]"
    return shown


def _merge(target: Any, wanted: Any, schema: Schema) -> Any:
    """Live state with a configuration laid over it, list items joined by their keys."""
    if isinstance(wanted, dict) and isinstance(target, dict) and schema.get("x-kubernetes-map-type") != "atomic":
        properties, inner = schema.get("properties", {}), inner_schema(schema)
        merged = {name: _merge(target.get(name), item, properties.get(name, inner)) for name, item in wanted.items()}
        return {**target, **merged}
    kind = schema.get("x-kubernetes-list-type")
    if isinstance(wanted, list) and isinstance(target, list) and kind == "set":
        return target + [item for item in wanted if item not in target]
    if isinstance(wanted, list) and isinstance(target, list) and kind == "map":
        keys = schema["x-kubernetes-list-map-keys"]
        items = {item_key(item, keys): item for item in target}
        for item in wanted:
            identity = item_key(item, keys)
            items[identity] = _merge(items.get(identity), item, schema["items"])
        return list(items.values())
    return wanted


def _prune(value: Any, abandoned: set[Path], path: Path) -> Any:
    """The value without the abandoned fields."""
    if isinstance(value, dict):
        return {
            name: _prune(item, abandoned, (*path, f"f:{name}"))
            for name, item in value.items()
            if (*path, f"f:{name}") not in abandoned
        }
    if isinstance(value, list):
        steps = {step[len(path)] for step in abandoned if len(step) > len(path) and step[: len(path)] == path}
        result = []
        for item in value:
            step = next((each for each in steps if _is_item(each, item)), "")
            if not step or ((*path, step, ".") not in abandoned and not step.startswith("v:")):
                result.append(_prune(item, abandoned, (*path, step)) if step else item)
        return result
    return value


def _is_item(step: str, item: Any) -> bool:
    kind, _, text = step.partition(":")
    if kind == "k" and isinstance(item, dict):
        return item_key(item, list(parse(text))) == text
    return kind == "v" and quote(item) == text


def _load(body: Body) -> tuple[Owners, dict[Writer, str]]:
    """Writers with their fields and times."""
    owners: Owners = {}
    times: dict[Writer, str] = {}
    for entry in body["metadata"].get("managedFields") or ():
        if not entry:
            continue
        writer = Writer(entry["manager"], entry["operation"], entry["apiVersion"], entry.get("subresource", ""))
        owners[writer] = set(_paths(entry.get("fieldsV1", {}), ()))
        times[writer] = entry.get("time", "")
    return owners, times


def _paths(tree: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for step, below in tree.items():
        if step == "." or not below:
            yield (*path, step)
        else:
            yield from _paths(below, (*path, step))


def _store(body: Body, owners: Owners, times: Mapping[Writer, str], now: str) -> None:
    entries = []
    for writer, paths in owners.items():
        if not paths:
            continue
        entry: Body = {"manager": writer.manager, "operation": writer.operation, "apiVersion": writer.version}
        entry |= {"time": times.get(writer, now), "fieldsType": "FieldsV1", "fieldsV1": _tree(paths)}
        entries.append(entry | ({"subresource": writer.subresource} if writer.subresource else {}))
    body["metadata"]["managedFields"] = entries


def _tree(paths: set[Path]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
    return tree
