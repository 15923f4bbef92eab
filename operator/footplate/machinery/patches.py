"""JSON merge patches (RFC 7386): what to send so that a document becomes another one."""

from collections.abc import Mapping
from typing import Any


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The smallest patch from `old` to `new`; empty where they are the same.

    A null can't be written by a merge patch, so null and absent are the same here. Lists are replaced whole.
    """
    patch: dict[str, Any] = {key: None for key in old if old[key] is not None and new.get(key) is None}
    for key, value in new.items():
        if value is None:
            continue
        before = old.get(key)
        if not isinstance(value, Mapping):
            if value != before:
                patch[key] = value
        elif not isinstance(before, Mapping):
            patch[key] = _without_nulls(value)
        elif nested := merge_patch(before, value):
            patch[key] = nested
    return patch


def _without_nulls(block: Mapping[str, Any]) -> dict[str, Any]:
    return merge_patch({}, block)
