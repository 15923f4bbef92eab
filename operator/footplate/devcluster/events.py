"""Events have one storage and two faces: core/v1 (stored) and events.k8s.io/v1 (converted when read or written)."""

from typing import Any

from footplate.devcluster.errors import invalid_object, required
from footplate.devcluster.resources import Resource
from footplate.devcluster.store import Body, Version

FACES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
CORE_FACES = {core: new for new, core in FACES.items()}


def to_core(body: Body) -> Body:
    """An events.k8s.io/v1 Event as it is stored; ApiError 422 without `eventTime`."""
    if not body.get("eventTime"):
        raise invalid_object("", "Event", body.get("metadata", {}).get("name", ""), [required("eventTime")])
    return _rename(body, FACES) | {"apiVersion": "v1"}


def present(resource: Resource, version: Version) -> Version:
    """A stored version as the resource shows it: itself, but for events.k8s.io."""
    if resource.group != "events.k8s.io":
        return version
    return Version(_rename(version.body, CORE_FACES), version.revision)


def _rename(body: Body, names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in body.items()}
