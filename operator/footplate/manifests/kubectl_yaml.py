"""YAML as kubectl reads it (go-yaml 2, then JSON): neither YAML 1.1 nor 1.2. `y` is true, 1e-4 a number, 1:30 text.

What the API server gets is JSON: keys are texts, 2.0 is 2, and there is no infinity.
"""

import base64
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import yaml

PLAIN = "tag:footplate.dev,2026:plain"
MERGE = "tag:yaml.org,2002:merge"

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NO_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_JSON_EXPONENT = 1e21
"""From here on Go writes a number with an exponent, so that it isn't read as an integer."""


def read_plain(text: str) -> Any:
    """The value of a scalar without quotes and tag."""
    if text in _WORDS:
        return _WORDS[text]
    plain = text if text[:1] == "." else text.replace("_", "")
    if text[:1] in "+-.0123456789":
        if _INTEGER.fullmatch(plain) and (number := _whole(plain)) is not None:
            return number
        if _FLOAT.fullmatch(plain):
            return _as_json(float(plain), text)
    return text


def _whole(text: str) -> int | None:
    """A whole number, None where 64 bits don't hold it."""
    sign, digits = (-1 if text[0] == "-" else 1), text.lstrip("+-").lower()
    base = {"0x": 16, "0b": 2, "0o": 8}.get(digits[:2], 8 if digits[0] == "0" else 10)
    number = sign * int(digits, base)
    return number if -(2**63) <= number < 2**63 else None


def _as_json(number: float, text: str) -> Any:
    if abs(number) == float("inf"):
        return text
    return int(Decimal(repr(number))) if number.is_integer() and abs(number) < _JSON_EXPONENT else number


class Loader(yaml.SafeLoader):
    """Reads manifests as kubectl does."""

    yaml_implicit_resolvers = {}  # noqa: RUF012

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """The tag of a node that has none."""
        if kind is yaml.ScalarNode and implicit[0]:
            return MERGE if value == "<<" else PLAIN
        return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:  # type: ignore[override]
        """An object: its keys are texts."""
        self.flatten_mapping(node)
        return {name_of(key): self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_plain(self, node: yaml.ScalarNode) -> Any:
        """A scalar without quotes and tag."""
        if _NO_JSON.fullmatch(node.value):
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value} is no number that JSON, and so Kubernetes, has", node.start_mark
            )
        return read_plain(node.value)

    def construct_text(self, node: yaml.ScalarNode) -> str:
        """The scalar as it is written."""
        return str(node.value)

    def construct_binary(self, node: yaml.ScalarNode) -> str:
        """Text in base64."""
        return base64.b64decode(node.value).decode(errors="replace")


Loader.add_constructor(PLAIN, Loader.construct_plain)
Loader.add_constructor("tag:yaml.org,2002:timestamp", Loader.construct_text)
Loader.add_constructor("tag:yaml.org,2002:binary", Loader.construct_binary)


def name_of(key: yaml.Node) -> str:
    """The name that a key has in JSON.

    Raises:
        ConstructorError: it has none: the key is null, a list or an object.
    """
    if not isinstance(key, yaml.ScalarNode):
        raise yaml.constructor.ConstructorError(None, None, "a key must be text", key.start_mark)
    value = read_plain(key.value) if key.tag == PLAIN else key.value
    if value is None:
        raise yaml.constructor.ConstructorError(None, None, "a key must not be null; quote it", key.start_mark)
    return str(value).lower() if isinstance(value, bool) else str(value)


class Dumper(yaml.SafeDumper):
    """Writes what kubectl reads back as the same: texts that it would take for something else are quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        """What several objects share is written out in each."""
        return True

    def represent_text(self, text: str) -> yaml.Node:
        """A text; one of several lines keeps them."""
        style = "|" if "\n" in text else "'" if text in _WORDS or read_plain(text) != text else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, Dumper.represent_text)
Dumper.add_multi_representer(str, lambda dumper, word: dumper.represent_text(str(word)))  # an enumeration's word


def to_yaml(documents: Iterable[Any]) -> str:
    """The documents, their fields in their order."""
    return yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
