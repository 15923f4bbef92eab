"""Which fields of a TrainingJob's spec can't change, as CEL rules that compare it with what it was."""

import json
from collections.abc import Iterator
from typing import Any

from footplate.api.quantities import QUANTITY_PATTERN, same
from footplate.api.structural import Json, Structural, quote, values_of
from footplate.api.trainingjob import NODES_WORDS


def immutability_rules(schemas: Structural, spec: Json, path: tuple[str, ...] = ()) -> Iterator[Json]:
    """One transition rule for each field that is no block of others, and isn't marked mutable.

    Equal is equal: quantities by their amount, and absent as good as empty, or as the default where no runtime may
    have another.
    """
    for name, field in spec["properties"].items():
        node, here = schemas.inline(field), (*path, name)
        if node.get("x-footplate-mutable") == NODES_WORDS:
            yield _immutable(here, f"has(self.elastic) || ({_unchanged(here, node)})", " where elastic isn't set")
        elif "x-footplate-mutable" in node:
            continue
        elif "properties" in node and not _is_opaque(schemas, node):
            yield from immutability_rules(schemas, node, here)
        elif _has_defaults(schemas, node):
            yield _immutable(here, _unchanged_items(schemas, here, node))
        else:
            yield _immutable(here, _unchanged(here, node))


def _has_defaults(schemas: Structural, node: Json) -> bool:
    """Whether it is a list with keys of objects whose fields have defaults. None of those stands in the schema:
    what the API server fills into a list is a difference to whoever compares lists as a whole, such as Argo CD.
    """
    fields = schemas.inline(node["items"]).get("properties", {}) if "x-kubernetes-list-map-keys" in node else {}
    return any(schemas.inline(field).get("default") not in (None, "", [], {}) for field in fields.values())


def _unchanged_items(schemas: Structural, path: tuple[str, ...], node: Json) -> str:
    """CEL: each item says what it said, in whichever order."""
    items, field = schemas.inline(node["items"]), ".".join(path)
    had, has = (_has(root, path) for root in ("oldSelf", "self"))
    old, new = f"oldSelf.{field}", f"self.{field}"
    fields = {name: schemas.inline(each) for name, each in items["properties"].items()}
    alike = " && ".join(_alike(name, each, required=name in items["required"]) for name, each in fields.items())
    # The cost is reckoned by the lists' bounds, which a conditional would hide.
    as_many = f"({has} ? {new}.size() : 0) == ({had} ? {old}.size() : 0)"
    every = f"(!{has} || !{had} || {new}.all(i, {old}.exists(o, {alike})))"
    return f"({has} == {had} || !has(self.runtimeRef)) && {as_many} && {every}"


def _is_opaque(schemas: Structural, block: Json) -> bool:
    """True where a field of the block is free-form: CEL can't name it, and compares the block as a whole alone."""
    values = [values_of(schemas.inline(field)) or {} for field in block["properties"].values()]
    return any("x-kubernetes-preserve-unknown-fields" in each for each in values)


def _immutable(path: tuple[str, ...], rule: str, where: str = "") -> Json:
    name = ".".join(path)
    message = f"field is immutable: {name} can't change after creation{where}; delete the job first, or create one of "
    return {"rule": rule, "message": f"{message}another name", "fieldPath": f".{name}"}


def _unchanged(path: tuple[str, ...], node: Json) -> str:
    """CEL: the field says what it said."""
    field = ".".join(path)
    old, new = f"oldSelf.{field}", f"self.{field}"
    had, has = (_has(root, path) for root in ("oldSelf", "self"))
    values = values_of(node)
    if values and values.get("pattern") == QUANTITY_PATTERN:
        none = "{}"
        old, new = f"({had} ? {old} : {none})", f"({has} ? {new} : {none})"
        return f"{old}.size() == {new}.size() && {new}.all(k, k in {old} && {same(f'{new}[k]', f'{old}[k]')})"
    empty = {"array": "[]"} if "properties" in node else {"array": "[]", "object": "{}"}
    default = empty.get(node.get("type", "")) or _literal(node.get("default"))
    if default is None:
        return f"{has} == {had} && (!{has} || {new} == {old})"
    old, new = f"({had} ? {old} : {default})", f"({has} ? {new} : {default})"
    equal = same(new, old) if node.get("pattern") == QUANTITY_PATTERN else f"{new} == {old}"
    return f"({has} == {had} || !has(self.runtimeRef)) && {equal}"


def _alike(name: str, node: Json, *, required: bool) -> str:
    """CEL: items `i` and `o` of a list agree in a field."""
    default = _literal(node.get("default"))
    if required:
        return f"i.{name} == o.{name}"
    if default is not None:
        return f"(has(i.{name}) ? i.{name} : {default}) == (has(o.{name}) ? o.{name} : {default})"
    return f"has(i.{name}) == has(o.{name}) && (!has(i.{name}) || i.{name} == o.{name})"


def _has(root: str, path: tuple[str, ...]) -> str:
    return "(" + " && ".join(f"has({root}.{'.'.join(path[:depth])})" for depth in range(1, len(path) + 1)) + ")"


def _literal(value: Any) -> str | None:
    """A scalar in CEL; None where there is none."""
    if isinstance(value, str):
        return quote(value)
    return json.dumps(value) if isinstance(value, bool | int) else None
