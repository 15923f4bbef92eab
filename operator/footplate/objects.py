"""Reads raw Kubernetes objects, and says which of them are ours.

Most of an object is a tenant's text: what hasn't the shape that Kubernetes gives it counts as absent, never as an
error. Only metadata's name, which every object of the API server has, is taken for granted.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from footplate.api.scalars import MAX_YEAR

T = TypeVar("T")

Object = Mapping[str, Any]
"""A raw Kubernetes object."""

OVERSIZE = "oversize"
"""A field of ours in an object that isn't kept whole: `bytes`, 0 where there was no room for it, and `most`."""

TOO_DEEP = 2**31 - 1
"""As `bytes`: the object is nested so deeply that nobody can say."""

Key = tuple[str, str]
"""Namespace and name; the namespace is empty for cluster-scoped kinds."""


class Kept(dict[str, Any]):
    """A raw object that a store keeps, with room for what was read of it: nobody changes it, and a new version is a new
    object, so it need be read only once.
    """

    __slots__ = ("view",)
    view: Any


def view_of(obj: Object, read: Callable[[Object], T]) -> T:
    """What is read of an object, of a `Kept` one only once; no other function may read views of its kind."""
    view: T | None = getattr(obj, "view", None)
    if view is None:
        view = read(obj)
        if isinstance(obj, Kept):
            obj.view = view
    return view


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


def key_of(obj: Object) -> Key:
    """Namespace and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def uid_of(obj: Object) -> str:
    """The object's UID, empty for a manifest that isn't created yet."""
    return text(block(obj, "metadata"), "uid")


def version_of(obj: Object) -> str:
    """The object's resourceVersion, empty where it has none."""
    return text(block(obj, "metadata"), "resourceVersion")


def is_newer(version: str, than: str) -> bool:
    """Compares resourceVersions: as integers where both are (Kubernetes promises that since 1.35), else by equality."""
    try:
        return int(version) > int(than)
    except ValueError:
        return version != than


def controller_of(obj: Object) -> Object | None:
    """The ownerReference of the object's controller, None where nothing controls it."""
    owners = blocks(block(obj, "metadata"), "ownerReferences")
    return next((owner for owner in owners if owner.get("controller") is True), None)


def is_controlled_by(obj: Object, owner: Object) -> bool:
    """The one rule of what belongs to whom: the same namespace, and a controller with the owner's UID.

    Anybody may write a UID into an object of another namespace, where its owner can't be.
    """
    return bool(uid_of(owner)) and place_of_controller(obj) == place_of(owner)


def place_of(obj: Object) -> tuple[str, str]:
    """Namespace and UID."""
    return text(block(obj, "metadata"), "namespace"), uid_of(obj)


def place_of_controller(obj: Object) -> tuple[str, str] | None:
    """Namespace and UID of the object's controller, None where nothing controls it."""
    controller = controller_of(obj)
    return None if controller is None else (text(block(obj, "metadata"), "namespace"), text(controller, "uid"))
