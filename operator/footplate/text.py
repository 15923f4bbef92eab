"""A tenant's text made fit for logs, events and status: one sanitizer, used by every part of the operator.

Bounds are in bytes of UTF-8, as the API server's are: a text of 1,024 characters may be 4,096 bytes long.
"""

import re
from typing import Any

MAX_BYTES = 1024
"""What the API server takes of an event's note, and what a status message holds."""

MAX_TERMINATION_BYTES = 4096
"""Of a container's termination message Kubernetes keeps so many."""

_ELLIPSIS = "…"
_HARMFUL = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff"
)
"""Control characters but tab and newline, other line ends, marks that turn the direction of writing, and what isn't
a character at all.
"""
_CONTROL = re.compile(f"[{_HARMFUL}]")
_BREAKS = re.compile(r"\s*[\n\x0b\x0c\r\x85\u2028\u2029]+\s*")


def clean(text: str, *, most: int = MAX_BYTES, tail: bool = False) -> str:
    """A text in one line: line breaks become ` | `, so that nobody forges a line of `kubectl describe` or of a log.

    Args:
        text: anything.
        most: bytes of the result.
        tail: True keeps the end of a text that is too long, else its beginning stays.
    """
    part = _part(text, most=most, tail=tail)
    return _cut(_CONTROL.sub("", _BREAKS.sub(" | ", part.strip()).replace("\t", " ")), most=most, tail=tail)


def clean_lines(text: str, *, most: int = MAX_BYTES, tail: bool = False) -> str:
    """A text that keeps its lines, such as a traceback."""
    part = _part(text, most=most, tail=tail)
    return _cut(_CONTROL.sub("", part.replace("\r\n", "\n")), most=most, tail=tail)


def clean_json(value: Any) -> Any:
    """JSON with every text in it made harmless; how long each may be is the models' business. Lines stay."""
    if isinstance(value, dict):
        return {clean_json(key): clean_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean_json(item) if isinstance(item, dict | list | str) else item for item in value]
    return _CONTROL.sub("", value) if isinstance(value, str) else value


def _part(text: str, *, most: int, tail: bool) -> str:
    """Bounds the work: what is removed may be most of a text, but not of one that is honest."""
    return text[-8 * most :] if tail else text[: 8 * most]


def _cut(text: str, *, most: int, tail: bool) -> str:
    raw = text.encode()
    if len(raw) <= most:
        return text
    room = max(0, most - len(_ELLIPSIS.encode()))
    if tail:
        return _ELLIPSIS + raw[len(raw) - room :].decode(errors="ignore")
    return raw[:room].decode(errors="ignore") + _ELLIPSIS
