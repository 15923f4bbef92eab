"""Times, counts and texts as a status holds them, each with its bounds."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer

from footplate.api.types import Schema

MAX_COUNT = 2**53
MAX_YEAR = 9_000


def format_time(time: datetime) -> str:
    """A time as Kubernetes writes it: UTC, whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _in_utc(time: datetime) -> datetime:
    """The time as it is written: a year that is in bounds in its own zone may not be in UTC."""
    try:
        time = time.astimezone(UTC)
    except OverflowError:
        time = datetime.max.replace(tzinfo=UTC)
    if not 1970 <= time.year <= MAX_YEAR:
        raise ValueError(f"must lie between the years 1970 and {MAX_YEAR}")
    return time


Time = Annotated[
    AwareDatetime,
    Field(strict=False),
    AfterValidator(_in_utc),
    PlainSerializer(format_time, return_type=str, when_used="json"),
    Schema({"format": "date-time"}),
]
Text = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""A number that JSON carries exactly, wherever it passes: larger ones come back from the API server as floats."""
