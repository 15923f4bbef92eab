"""JSON schemas of the models as structural ones, which a CRD must have."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from footplate.api.patterns import PATTERN_WORDS

Json = dict[str, Any]

_KEPT = (
    "type", "format", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "minProperties", "maxProperties", "required", "nullable",
)  # fmt: skip


class Structural:
    """Turns one model's JSON schema into a structural one."""

    def __init__(self, definitions: Mapping[str, Json]) -> None:
        self.definitions = definitions

    def convert(self, node: Json, *, mutability: str | None = None) -> Json:
        """The structural schema of a node. `mutability` ends the description of each field below it, if given."""
        node = self.inline(node)
        schema: Json = {"description": node["description"]} if "description" in node else {}
        schema |= {key: node[key] for key in _KEPT if key in node}
        if "const" in node:
            schema["enum"] = [node["const"]]
        if "default" in node and "x-footplate-server-default" in node:
            schema["default"] = node["default"]
        schema |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
        if schema.get("x-kubernetes-int-or-string"):
            schema.pop("type", None)
        schema |= _format(schema)
        if words := PATTERN_WORDS.get(schema.get("pattern", "")):
            # The server's own words for a pattern are the pattern.
            rule = {"rule": f"self.matches({quote(schema['pattern'])})", "message": words}
            schema["x-kubernetes-validations"] = [*schema.get("x-kubernetes-validations", ()), rule]
        if isinstance(node.get("items"), dict):
            schema["items"] = self.convert(node["items"], mutability=mutability)
            schema.setdefault("x-kubernetes-list-type", "atomic")
        if values := values_of(node):
            schema["additionalProperties"] = self.convert(values)
        if "properties" in node:
            schema["properties"] = {
                name: self.convert(self.describe(field, mutability=mutability), mutability=mutability)
                for name, field in node["properties"].items()
            }
        return schema

    def inline(self, node: Json) -> Json:
        """The node without reference and without alternatives; its own keys win over the referenced ones."""
        while "$ref" in node or "anyOf" in node:
            rest = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
            if "$ref" in node:
                node = self.definitions[node["$ref"].rpartition("/")[2]] | rest
            else:
                node = _join([option for option in node["anyOf"] if option.get("type") != "null"]) | rest
        return node

    def describe(self, field: Json, *, mutability: str | None) -> Json:
        """The field with all that `kubectl explain` should say of it in its description."""
        node = self.inline(field)
        parts = [node["description"]]
        if (default := node.get("default")) not in (None, "", [], {}) and "$ref" not in field:
            parts.append(f"Default: {_plain(default)}.")
        if mutability:
            parts.append(node.get("x-footplate-mutable") or self.mutability(node) or mutability)
        if "examples" in node:
            parts.append(f"Example: {_plain(node['examples'][0])}")
        return node | {"description": " ".join(parts)}

    def mutability(self, node: Json) -> str | None:
        """What to say of a block some fields of which can change."""
        mutable = [name for name, field in node.get("properties", {}).items() if "x-footplate-mutable" in field]
        return f"Can change after creation: {', '.join(mutable)}." if mutable else None


def quote(text: str) -> str:
    """The text as a string of CEL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _format(schema: Json) -> Json:
    """The format of a number, which generated clients need."""
    if schema.get("type") == "number":
        return {"format": "double"}
    if schema.get("type") == "integer":
        return {"format": "int32" if max(schema.get("maximum", 2**63), -schema.get("minimum", 0)) < 2**31 else "int64"}
    return {}


def _join(options: Sequence[Json]) -> Json:
    """One schema for one option, or for an integer or a word."""
    if len(options) == 1:
        return options[0]
    number = next(option for option in options if option["type"] == "integer")
    words = [option["const"] for option in options if "const" in option]
    return number | {"x-kubernetes-int-or-string": True, "pattern": f"^({'|'.join(words)})$", "maxLength": 63}


def values_of(node: Json) -> Json | None:
    """The schema of a map's values; what its keys must be, a structural schema can't say."""
    values = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return values[0] if isinstance(values[0], dict) else None


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
