"""What stands between an operator and its API server: it slows requests, refuses them, cuts them off or answers them
itself, as a test orders, and remembers what was written.

    async with Gateway(kubeconfig) as gateway:
        start_operator(gateway.kubeconfig(folder / "kubeconfig", token=token))
        gateway.faults.add(Fault(delay=1))
        ...
        assert rewritten(gateway.writes) == []

The devcluster's API server does such things by itself; this is for a real one, which won't.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from footplate.devcluster.client import access_of
from footplate.devcluster.faults import Fault, Faults, Request

_OF_THE_CONNECTION = {"host", "connection", "content-length", "transfer-encoding", "content-encoding", "date"}
_READS = {"GET", "HEAD"}


@dataclass(frozen=True)
class Write:
    """A write that the API server was sent, from when to when. `code` is 0 where it gave no answer."""

    at: float
    ended: float
    method: str
    path: str
    body: Mapping[str, Any]
    code: int
    answer: Mapping[str, Any]


class Gateway:
    """Plain HTTP on loopback before the API server of a kubeconfig. Faults are ordered as of the devcluster; `answer`
    may give a request an answer of the test's own.
    """

    def __init__(self, kubeconfig: Mapping[str, Any]) -> None:
        self._upstream, self._tls, _ = access_of(kubeconfig)
        self._stack = AsyncExitStack()
        self.faults = Faults()
        self.answer: Callable[[Request], web.StreamResponse | None] = lambda request: None
        self.flowing = asyncio.Event()
        """Clear: what watches bring is held back until it is set again, and nobody is told."""
        self.flowing.set()
        self.requests: list[Request] = []
        self.writes: list[Write] = []

    async def __aenter__(self) -> "Gateway":
        async with AsyncExitStack() as stack:
            connector = aiohttp.TCPConnector(limit=0, ssl=self._tls)
            timeout = aiohttp.ClientTimeout(total=None)
            session = aiohttp.ClientSession(connector=connector, timeout=timeout)
            self._session = await stack.enter_async_context(session)
            # Whoever hangs up takes his request back, as far as it wasn't passed on.
            runner = web.ServerRunner(web.Server(self._serve, handler_cancellation=True), shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def kubeconfig(self, path: Path, **user: str) -> Path:
        """Writes a kubeconfig that leads through the gateway, as this user."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "gateway", "cluster": {"server": self.url}}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "gateway", "context": {"cluster": "gateway", "user": "user"}}],
            "current-context": "gateway",
        }
        path.write_text(json.dumps(config))
        return path

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        sequence = 0 if request.method in _READS else self.faults.next_write()
        seen = Request(request.method, request.path_qs, request.headers.get("User-Agent", ""), body, sequence)
        self.requests.append(seen)
        fault = self.faults.judge(seen) or Fault()
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if (answer := self.answer(seen)) is not None:
            return answer
        if fault.status:
            return _refusal(fault)
        if fault.cut == "before":
            return _cut(request)
        try:
            return await (self._stream if "watch=" in request.path_qs else self._pass)(request, seen, fault)
        except aiohttp.ClientError:
            return _cut(request)

    async def _pass(self, request: web.BaseRequest, seen: Request, fault: Fault) -> web.StreamResponse:
        at, code, data = time.monotonic(), 0, b"{}"
        try:
            async with self._send(request, seen) as answer:
                data = await answer.read()
                code = answer.status
        finally:
            if seen.sequence:
                told = json.loads(data) if code else {}
                self.writes.append(
                    Write(at, time.monotonic(), seen.method, seen.path, json.loads(seen.body or b"{}"), code, told)
                )
        if fault.cut == "after":
            return _cut(request)
        return web.Response(status=code, headers=_passed_on(answer.headers), body=data)

    async def _stream(self, request: web.BaseRequest, seen: Request, fault: Fault) -> web.StreamResponse:
        async with self._send(request, seen) as answer:
            response = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers))
            await response.prepare(request)

            def close() -> None:
                _cut(request)

            self.faults.watch_began(seen, close)
            try:
                with suppress(ConnectionError):
                    async for chunk in answer.content.iter_any():
                        await self.flowing.wait()
                        await response.write(chunk)
            except aiohttp.ClientError:
                close()  # as the server broke off; a proper end would be another answer
            finally:
                self.faults.watch_ended(close)
        return response

    def _send(self, request: web.BaseRequest, seen: Request) -> Any:
        headers = _passed_on(request.headers)
        return self._session.request(seen.method, self._upstream + seen.path, headers=headers, data=seen.body or None)


def rewritten(writes: list[Write]) -> list[str]:
    """Writes that were done twice: a name created again, or a status patch that changed nothing."""
    made = [each for each in writes if each.method == "POST" and each.code == 201 and "/events" not in each.path]
    named = [each for each in made if each.answer["metadata"].get("name")]  # a review of rights is no object
    names = [f"{each.path} {each.answer['metadata']['name']}" for each in named]
    again = [name for name in names if names.count(name) > 1]
    return again + [f"{each.method} {each.path} {each.body}" for each in writes if _changed_nothing(each)]


def _changed_nothing(write: Write) -> bool:
    if write.method != "PATCH" or not write.path.endswith("/status") or write.code != 200:
        return False
    return bool(write.body["metadata"]["resourceVersion"] == write.answer["metadata"]["resourceVersion"])


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION}


def _refusal(fault: Fault) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": fault.status, "message": "as ordered"}
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return web.json_response(body, status=fault.status, headers=headers)


def _cut(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
