"""What Kubernetes has kept of a job's story: its events, an hour's worth as most clusters are set up. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from footplate.client.untrusted import plain
from footplate.machinery.resources import Resource
from footplate.objects import Object, block, number, text, time

EVENTS = Resource("v1", "events")
"""The older of the two faces of the same objects: its field selectors know the UID of what they are about."""
_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that was told of a job."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str
    first: datetime
    last: datetime
    count: int
    """How often it was told, from `first` to `last`."""


def view_events(events: Sequence[Object]) -> list[JobEvent]:
    """Events as they are shown, in the order in which they were last told."""
    return sorted(map(_view, events), key=lambda event: (event.last, event.first))


def _view(event: Object) -> JobEvent:
    series = block(event, "series")
    first = (
        time(event, "eventTime") or time(event, "firstTimestamp") or time(block(event, "metadata"), "creationTimestamp")
    )
    last = time(series, "lastObservedTime") or time(event, "lastTimestamp") or first
    return JobEvent(
        type=plain(text(event, "type"), most=63),
        reason=plain(text(event, "reason"), most=128),
        message=plain(text(event, "message") or text(event, "note")),
        first=first or _NEVER,
        last=last or _NEVER,
        count=number(series, "count") or number(event, "count") or 1,
    )
