"""`pods/proxy`: a GET that the API server passes on to a pod's own server, and its answer as it comes."""

import re
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from footplate.devcluster.errors import ApiError, bad_request
from footplate.devcluster.registry import Registry
from footplate.devcluster.values import look_up

_PATH = re.compile(r"/api/v1/namespaces/([^/]+)/pods/(?:(https?):)?([^/:]+)(?::(\d{1,5}))?/proxy(/.*)?")
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5.0)


@dataclass(frozen=True)
class Proxied:
    """What a URL means: a path of a pod's server."""

    namespace: str
    pod: str
    scheme: str
    port: int
    path: str


def find_proxied(path: str) -> Proxied | None:
    """What a path names; None where it is no proxy's."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    namespace, scheme, pod, port, rest = match.groups()
    return Proxied(namespace, pod, scheme or "http", int(port or 80), rest or "/")


_KEPT = frozenset({"host", "connection", "authorization", "content-length", "transfer-encoding", "upgrade"})


def _passed(request: web.BaseRequest) -> list[tuple[str, str]]:
    """What a pod sees of a request's headers: whom the API server has let in is its own affair."""
    return [(name, value) for name, value in request.headers.items() if name.lower() not in _KEPT]


async def pass_on(request: web.BaseRequest, target: Proxied, registry: Registry) -> web.StreamResponse:
    """The pod's answer; ApiError where there is no pod, or nobody answers."""
    if request.method != "GET":
        raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    pod = registry.get(registry.resources["", "v1", "pods"], target.namespace, target.pod).body
    address = look_up(pod, "status.podIP")
    if not address:
        raise bad_request(f"pod {target.pod} has no address yet")
    url = f"{target.scheme}://{address}:{target.port}{target.path}"
    response = web.StreamResponse()
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(url, params=request.query, headers=_passed(request), allow_redirects=False) as answer,
        ):
            response.set_status(answer.status)
            response.content_type = answer.content_type
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
    except aiohttp.ClientError as error:
        if response.prepared:
            raise ConnectionError(str(error)) from error  # what has been sent can't be taken back
        raise ApiError(503, "ServiceUnavailable", f"error trying to reach service: {error}") from error
    return response
