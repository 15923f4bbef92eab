"""/livez, /readyz and /metrics on one port; /metrics for those whom `judge` admits, where there is one.

Alive: the event loop turns and no part of the machinery has died. Ready: every store is synced and has lately heard of
the API server; a standby is as ready as the leader.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from footplate.errors import ConfigurationError
from footplate.machinery.metrics import Metrics

Check = Callable[[], Mapping[str, str]]
"""What is wrong, by part; empty where all is well."""

Judge = Callable[[str], Awaitable[int]]
"""The HTTP status that a request with this `Authorization` gets; 200 lets it in."""


class Probes:
    """The HTTP server; `port` is the one it listens on once entered."""

    def __init__(
        self, *, host: str, port: int, metrics: Metrics, alive: Check, ready: Check, judge: Judge | None = None
    ) -> None:
        self._host = host
        self.port = port
        self._metrics = metrics
        self._judge = judge
        app = web.Application()
        app.add_routes(
            [
                web.get("/livez", partial(_answer, alive)),
                web.get("/readyz", partial(_answer, ready)),
                web.get("/metrics", self._serve_metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host or None, self.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigurationError(
                f"--port {self.port}: can't listen on it ({error.strerror}); name a free port, or 0 for any"
            ) from error
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        if self._judge is not None and (status := await self._judge(request.headers.get("Authorization", ""))) != 200:
            return web.Response(status=status, text=_REFUSALS[status], headers={"WWW-Authenticate": "Bearer"})
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


_REFUSALS = {
    401: "show a token of this cluster: Authorization: Bearer ...\n",
    403: "this account may not get /metrics: bind it to a ClusterRole with nonResourceURLs: [/metrics], verbs: [get]\n",
    503: "the API server was not asked, or didn't answer, who you are; try again\n",
}


async def _answer(check: Check, _: web.Request) -> web.Response:
    problems = check()
    text = "".join(f"{part}: {problem}\n" for part, problem in problems.items()) or "ok\n"
    return web.Response(text=text, status=503 if problems else 200)
