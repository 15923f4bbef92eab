"""Events have one storage and two faces: core/v1 (stored) and events.k8s.io/v1 (converted when read or written)."""

import re

from footplate.devcluster.errors import invalid_object, required
from footplate.devcluster.resources import Resource
from footplate.devcluster.store import Body, Version

GROUP = "events.k8s.io"
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
    return version if resource.group != GROUP else Version(_rename(version.body, CORE_FACES), version.revision)


def core_field(resource: Resource, selector: str) -> str:
    """A field selector in the names of what is stored."""
    if resource.group != GROUP:
        return selector
    return re.sub(r"\b(regarding|reportingController)\b", lambda found: FACES[found[0]], selector)


def _rename(body: Body, names: dict[str, str]) -> Body:
    return {names.get(name, name): value for name, value in body.items()}
