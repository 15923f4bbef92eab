"""What kubectl sends as protobuf, in its wire format."""

import pytest

from footplate.devcluster.errors import ApiError
from footplate.devcluster.protobuf import decode


def field(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def envelope(kind: bytes, raw: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, b"v1") + field(2, kind)) + field(2, raw)


METADATA = field(1, field(1, b"c") + field(2, b"") + field(11, field(1, b"app") + field(2, b"x")))

MESSAGES = {
    "config map": (
        envelope(b"ConfigMap", METADATA + field(2, field(1, b"a") + field(2, b"b"))),
        {"kind": "ConfigMap", "metadata": {"name": "c", "labels": {"app": "x"}}, "data": {"a": "b"}},
    ),
    "secret": (
        envelope(
            b"Secret", field(1, field(1, b"s")) + field(2, field(1, b"k") + field(2, b"\x00\xff")) + field(3, b"")
        ),
        {"kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "AP8="}},
    ),
    "delete options": (
        envelope(b"DeleteOptions", b"\x08\xac\x02" + field(4, b"Orphan")),
        {"kind": "DeleteOptions", "gracePeriodSeconds": 300, "propagationPolicy": "Orphan"},
    ),
}


@pytest.mark.parametrize(("data", "body"), MESSAGES.values(), ids=MESSAGES)
def test_decode(data: bytes, body: dict[str, object]) -> None:
    assert decode(data) == {"apiVersion": "v1", **body}


def test_other_kinds_are_refused() -> None:
    with pytest.raises(ApiError, match="UnsupportedMediaType"):
        decode(envelope(b"ReplicaSet", b""))
