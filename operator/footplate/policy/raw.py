"""Reads raw Kubernetes objects. Most of them is a tenant's text: what hasn't the shape that Kubernetes gives it counts
as absent, never as an error.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from footplate.api.status import MAX_YEAR


def block(raw: object, *path: str) -> Mapping[str, Any]:
    """The object at a path of fields; empty where there is none."""
    for field in path:
        raw = raw.get(field) if isinstance(raw, dict) else None
    return raw if isinstance(raw, dict) else {}


def blocks(raw: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    """The objects in a list; empty where there is no list."""
    items = raw.get(field)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def text(raw: Mapping[str, Any], field: str) -> str:
    """A text; empty where there is none."""
    value = raw.get(field)
    return value if isinstance(value, str) else ""


def number(raw: Mapping[str, Any], field: str) -> int | None:
    """A whole number that fits into 32 bits, None where there is none."""
    value = raw.get(field)
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31
    return value if whole else None


def time(raw: Mapping[str, Any], field: str) -> datetime | None:
    """A timestamp, None where there is none that arithmetic survives."""
    try:
        parsed = datetime.fromisoformat(text(raw, field))
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None and 1970 < parsed.year < MAX_YEAR else None
