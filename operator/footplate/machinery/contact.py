"""What a session's answers tell by the way: what time it is at the API server, and whether kopf can watch."""

from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime

from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse

from footplate.machinery.clock import Clock, SystemClock


def tell_time(clock: SystemClock) -> ClientMiddlewareType:
    """A session's middleware: the clock hears every answer's date."""

    async def hear(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        response = await handler(request)
        with suppress(KeyError, ValueError, TypeError):  # no date, none that can be read, or of no zone
            clock.hear(parsedate_to_datetime(response.headers["Date"]))
        return response

    return hear


class Contact:
    """A session's middleware. A path that is asked for again and again fails from its first failure in a row on."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._failing: dict[str, tuple[float, str]] = {}

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Sends the request, and notes what comes of it."""
        path = request.url.path
        try:
            response = await handler(request)
        except Exception as error:
            self._note(path, f"{type(error).__name__} {error}".strip())
            raise
        if response.status >= 400:
            self._note(path, f"{response.status} {response.reason or ''}".strip())
        else:
            self._failing.pop(path, None)
        return response

    def failing_for(self, seconds: float) -> Mapping[str, str]:
        """What was last said of each path that fails for longer than this."""
        now = self._clock.monotonic()
        return {path: problem for path, (since, problem) in self._failing.items() if now - since > seconds}

    def _note(self, path: str, problem: str) -> None:
        since, _ = self._failing.get(path, (self._clock.monotonic(), ""))
        self._failing[path] = since, problem
