"""Server-sent events: what is live on a page comes as the same fragment that the page was made of."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

LOOK_SECONDS = 1.0
"""A page is looked at so often; it is sent when it has changed."""
QUIET_SECONDS = 15.0
"""After so long a comment is sent, which finds out whether anybody still listens."""
Parts = Mapping[str, str]
"""By name of the event: the text to send. The event without a name is the fragment that replaces the old one."""


def encode(text: str, *, event: str = "") -> str:
    """One event; lines of the text stay lines."""
    head = f"event: {event}\n" if event else ""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return head + "".join(f"data: {line}\n" for line in lines) + "\n"


def to_json(value: Any) -> str:
    """What a script reads of an event."""
    return json.dumps(value, separators=(",", ":"))


def stream(request: Request, look: Callable[[], Awaitable[Parts]]) -> StreamingResponse:
    """An answer that sends each part of what `look` sees when it has changed, until nobody listens."""

    async def events() -> AsyncIterator[str]:
        sent: dict[str, str] = {}
        quiet = 0.0
        while not await request.is_disconnected():
            parts = await look()
            new = {event: text for event, text in parts.items() if sent.get(event) != text}
            for event, text in new.items():
                yield encode(text, event=event)
            sent.update(new)
            quiet = 0.0 if new else quiet + LOOK_SECONDS
            if quiet >= QUIET_SECONDS:
                quiet = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(LOOK_SECONDS)

    return event_response(events())


def event_response(events: AsyncIterator[str]) -> StreamingResponse:
    """An answer of events that no cache keeps."""
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
