"""How the API server's answers are read: within a bound, as lines, or as one of our errors."""

from collections.abc import AsyncIterator

import aiohttp
import orjson

from footplate.errors import AlreadyExists, ApiError, ApiUnavailable, Conflict, Gone, NotFound, Refused

_LONGEST_RETRY_AFTER = 60.0
_MESSAGE_LENGTH = 1024


class TooLong(ValueError):
    """An answer of more bytes than somebody wants to hold."""


async def read_within(response: aiohttp.ClientResponse, *, most: int | None) -> bytes:
    """The whole body; `TooLong` where that is more than `most` bytes."""
    if most is None:
        return await response.read()
    chunks, length = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        length += len(chunk)
        if length > most:
            raise TooLong(f"more than {most} bytes")
    return b"".join(chunks)


def error_of(response: aiohttp.ClientResponse, answer: bytes, *, verb: str) -> ApiError | ApiUnavailable:
    """What an answer of 400 or more means."""
    status = response.status
    reason, message = _read_status(answer)
    reason = reason or response.reason or ""
    if status == 429 or status >= 500:
        said = f"{status} {reason}: {message}"
        text = f"{verb} {response.url.path}: {said}"
        return ApiUnavailable(text, status=status, retry_after=_retry_after(response), said=said)
    if status == 409:
        return (AlreadyExists if reason == "AlreadyExists" else Conflict)(status, reason, message)
    return {404: NotFound, 410: Gone}.get(status, Refused)(status, reason, message)


def _read_status(answer: bytes) -> tuple[str, str]:
    """Reason and message of a Kubernetes Status; a proxy's HTML or nothing at all is cut to a message."""
    try:
        document = orjson.loads(answer)
        return str(document.get("reason") or ""), str(document.get("message") or "")[:_MESSAGE_LENGTH]
    except (orjson.JSONDecodeError, AttributeError):
        return "", answer[:_MESSAGE_LENGTH].decode(errors="replace")


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds asked for; a date, which the header may also hold, is left to our own backoff."""
    try:
        return min(float(response.headers["Retry-After"]), _LONGEST_RETRY_AFTER)
    except (KeyError, ValueError):
        return None


async def lines_of(stream: aiohttp.StreamReader) -> AsyncIterator[list[bytes]]:
    """Whole lines, all that each read brought at once: a line costs no turn of the event loop of its own."""
    rest: list[bytes] = []
    async for chunk in stream.iter_any():
        head, newline, tail = chunk.rpartition(b"\n")
        if not newline:
            rest.append(tail)
            continue
        yield b"".join((*rest, head)).split(b"\n")
        rest = [tail]
