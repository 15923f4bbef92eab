"""The node's own small API client: dicts in, dicts out.

It serves the devcluster and any other kube-apiserver. A request that got no usable answer is repeated: it is only for
writes that may be done twice.
"""

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, NamedTuple

import aiohttp

from footplate.errors import AlreadyExists, ApiError, ApiUnavailable, Conflict, NotFound

Object = dict[str, Any]
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_ERRORS = {"NotFound": NotFound, "AlreadyExists": AlreadyExists, "Conflict": Conflict}
_PATIENCE_SECONDS = 30.0
_LONGEST_LINE = 4 << 20
"""Bytes; a watch event holds a whole object in one line."""


class Access(NamedTuple):
    """What a kubeconfig's current context says: where the API server is, whom to trust, and who asks."""

    server: str
    tls: ssl.SSLContext | bool
    token: str


def access_of(kubeconfig: Mapping[str, Any]) -> Access:
    """Reads the current context."""
    context = _named(kubeconfig, "context", kubeconfig["current-context"])
    cluster = _named(kubeconfig, "cluster", context["cluster"])
    user = _named(kubeconfig, "user", context["user"])
    return Access(cluster["server"].rstrip("/"), _tls(cluster, user), user.get("token", ""))


class ApiClient:
    """`async with ApiClient(kubeconfig) as client`; uses the kubeconfig's current context."""

    def __init__(self, kubeconfig: Mapping[str, Any]) -> None:
        self._server, self._tls, self._token = access_of(kubeconfig)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "ApiClient":
        headers = {"User-Agent": "footplate-devcluster-node"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connector = aiohttp.TCPConnector(limit=50, ssl=self._tls)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
        session = aiohttp.ClientSession(
            connector=connector, headers=headers, timeout=timeout, read_bufsize=_LONGEST_LINE
        )
        self._session = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def request(
        self, method: str, path: str, body: object = None, *, kind: str = "application/json", **query: str | int
    ) -> Object:
        """The answer's JSON; raises ApiError for a refusal, ApiUnavailable after half a minute without an answer."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while True:
            try:
                return await self._send(method, path, body, kind=kind, query=query)
            except ApiUnavailable as error:
                delay = error.retry_after or 0.2
                if asyncio.get_running_loop().time() + delay > deadline:
                    raise
                await asyncio.sleep(delay)

    async def follow(self, path: str) -> AsyncIterator[tuple[str, Any]]:
        """For ever: ("LIST", objects) at the start and after every gap, then (event type, object)."""
        while True:
            with suppress(ApiUnavailable, aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
                listing = await self.request("GET", path)
                yield "LIST", listing.get("items") or []
                async for event in self._watch(path, listing["metadata"]["resourceVersion"]):
                    yield event
            await asyncio.sleep(0.1)

    async def _send(self, method: str, path: str, body: object, *, kind: str, query: Mapping[str, Any]) -> Object:
        data = None if body is None else json.dumps(body).encode()
        url, headers = self._server + path, {"Content-Type": kind}
        try:
            async with self._session.request(method, url, data=data, headers=headers, params=query) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError) as error:
            raise ApiUnavailable(f"{method} {path}: {error!r}") from error
        if response.status == 429 or response.status >= 500:
            raise ApiUnavailable(
                f"{method} {path}: {response.status}", retry_after=float(response.headers.get("Retry-After", 0.2))
            )
        if response.status >= 400:
            reason = answer.get("reason", "")
            raise _ERRORS.get(reason, ApiError)(response.status, reason, answer.get("message", ""))
        return dict(answer)

    async def _watch(self, path: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with self._session.get(self._server + path, params=query) as response:
            if response.status != 200:
                return
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]


def _named(kubeconfig: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    entries = {entry["name"]: entry[kind] for entry in kubeconfig[f"{kind}s"]}
    return dict(entries[name])


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext | bool:
    if not cluster["server"].startswith("https:"):
        return True
    context = ssl.create_default_context()
    if authority := cluster.get("certificate-authority-data"):
        context.load_verify_locations(cadata=base64.b64decode(authority).decode())
    elif authority := cluster.get("certificate-authority"):
        context.load_verify_locations(authority)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate := user.get("client-certificate-data"):
        with tempfile.NamedTemporaryFile() as pair:  # the ssl module reads certificates from files only
            pair.write(base64.b64decode(certificate) + b"\n" + base64.b64decode(user["client-key-data"]))
            pair.flush()
            context.load_cert_chain(pair.name)
    elif certificate := user.get("client-certificate"):
        context.load_cert_chain(certificate, user["client-key"])
    return context
