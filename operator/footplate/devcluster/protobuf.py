"""The few messages that kubectl sends as protobuf, whatever the server says: `create configmap`, `create secret`,
`create namespace`, `create serviceaccount`, `auth can-i`, `drain`. They become the JSON that they stand for.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from footplate.devcluster.errors import ApiError

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
# Field numbers of each message: the name in JSON, and a scalar, a map or another message.
MESSAGES: Mapping[str, Mapping[int, tuple[str, str]]] = {
    "Unknown": {1: ("typeMeta", "TypeMeta"), 2: ("raw", "raw")},
    "TypeMeta": {1: ("apiVersion", "string"), 2: ("kind", "string")},
    "ObjectMeta": {1: ("name", "string"), 2: ("generateName", "string"), 3: ("namespace", "string"),
                   11: ("labels", "map"), 12: ("annotations", "map")},
    "ConfigMap": {1: ("metadata", "ObjectMeta"), 2: ("data", "map"), 3: ("binaryData", "bytes map"),
                  4: ("immutable", "bool")},
    "Secret": {1: ("metadata", "ObjectMeta"), 2: ("data", "bytes map"), 3: ("type", "string"), 4: ("stringData", "map"),
               5: ("immutable", "bool")},
    "Namespace": {1: ("metadata", "ObjectMeta")},
    "ServiceAccount": {1: ("metadata", "ObjectMeta")},
    "SelfSubjectAccessReview": {1: ("metadata", "ObjectMeta")},
    "SelfSubjectRulesReview": {1: ("metadata", "ObjectMeta")},
    "DeleteOptions": {1: ("gracePeriodSeconds", "int"), 2: ("preconditions", "Preconditions"),
                      4: ("propagationPolicy", "string")},
    "Preconditions": {1: ("uid", "string"), 2: ("resourceVersion", "string")},
    "map": {1: ("key", "string"), 2: ("value", "string")},
    "bytes map": {1: ("key", "string"), 2: ("value", "bytes")},
}  # fmt: skip


def decode(data: bytes) -> dict[str, Any]:
    """The object in a request body; ApiError 415 for kinds that aren't in the table."""
    envelope = _message(data.removeprefix(MAGIC), "Unknown")
    kind = envelope["typeMeta"]["kind"]
    if kind not in MESSAGES:
        raise ApiError(
            415, "UnsupportedMediaType", f"devcluster can't read a {kind} as protobuf: send it as JSON or YAML"
        )
    return {**envelope["typeMeta"], **_message(envelope.get("raw", b""), kind)}


def _message(data: bytes, name: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for number, value in _fields(data):
        field, kind = MESSAGES[name].get(number, ("", ""))
        if kind.endswith("map"):
            entry = {"key": "", "value": ""} | _message(value, kind)
            result.setdefault(field, {})[entry["key"]] = entry["value"]
        elif field and value != b"":
            result[field] = _value(value, kind)
    return result


def _value(value: Any, kind: str) -> Any:
    match kind:
        case "string":
            return value.decode()
        case "bytes":
            return base64.b64encode(value).decode()
        case "raw" | "int":
            return value
        case "bool":
            return bool(value)
    return _message(value, kind)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers with their values: integers or bytes."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        if tag & 7 == 0:
            value, position = _varint(data, position)
            yield tag >> 3, value
        else:  # Kubernetes' messages hold no fixed-width fields where we look
            length, position = _varint(data, position)
            yield tag >> 3, data[position : position + length]
            position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
