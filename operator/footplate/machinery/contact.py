"""What a session's requests tell by the way: what time it is at the API server, whether kopf can watch, and whether it
watches in a rush.
"""

from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime

from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse

from footplate.machinery.backoff import pause_after
from footplate.machinery.clock import Clock, SystemClock

_SHORT_WATCH_SECONDS = 1.0
_FIRST_PAUSE = 0.1
_LAST_PAUSE = 10.0


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


class Pace:
    """A session's middleware. Watches of one path that follow each other too soon wait longer and longer: kopf begins
    another as soon as one has ended, and a server or proxy may end each as soon as it began.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._began: dict[str, float] = {}
        self._short: dict[str, int] = {}

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Sends the request, once it is time for it."""
        if "watch" in request.url.query:
            await self._wait(request.url.path)
        return await handler(request)

    async def _wait(self, path: str) -> None:
        since = self._clock.monotonic() - self._began.get(path, float("-inf"))
        self._short[path] = self._short.get(path, 0) + 1 if since < _SHORT_WATCH_SECONDS else 0
        if self._short[path]:
            await self._clock.sleep(pause_after(self._short[path], first=_FIRST_PAUSE, last=_LAST_PAUSE))
        self._began[path] = self._clock.monotonic()
