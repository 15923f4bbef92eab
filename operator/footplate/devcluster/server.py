"""The Kubernetes API on loopback: requests in, faults on order, answers and watch streams out.

Not for production: everyone who knows the URL may do everything, and nothing is kept. The URL holds a secret as its
first path segment, so that neither other users of the machine nor web pages in a browser can start processes
through it. (kubectl sends bearer tokens over TLS only.)
"""

import asyncio
import contextlib
import logging
import secrets
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from footplate.devcluster import protobuf
from footplate.devcluster.discovery import AUTHORIZATION, discover, openapi_document, openapi_index
from footplate.devcluster.errors import ApiError
from footplate.devcluster.faults import Fault, Faults, Request
from footplate.devcluster.garbage import GarbageCollector
from footplate.devcluster.listing import TRUE, Listing
from footplate.devcluster.logs import PodLog, pick_container, send_log
from footplate.devcluster.proxy import find_proxied, pass_on
from footplate.devcluster.registry import Options, Registry
from footplate.devcluster.rest import Rest, Target, find_target, json_response, wants_table
from footplate.devcluster.store import Store
from footplate.devcluster.values import look_up, parse, quote
from footplate.devcluster.watch import error_line

log = logging.getLogger(__name__)
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
OPENAPI_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
MAX_BODY = 3 * 1024 * 1024
WRITES = ("POST", "PUT", "PATCH", "DELETE")


class ApiServer:
    """`async with ApiServer() as server`: an API server at `server.url` until the block ends.

    `pod_log` gives the file with a container's output; `token` is the secret in the URL, a random one by default.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *, faults: Faults | None = None,
        pod_log: PodLog | None = None, token: str | None = None,
    ) -> None:  # fmt: skip
        self.faults = faults or Faults()
        self.store = Store()
        self.registry = Registry(self.store)
        self.url = ""
        self._host, self._port = host, port
        self._pod_log = pod_log
        self._prefix = f"/{token or secrets.token_hex(16)}"
        self._listing = Listing(self.registry)
        self._rest = Rest(self.registry, self._listing)
        self._collector = GarbageCollector(self.registry)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        for name in NAMESPACES:
            namespaces = self.registry.resources["", "v1", "namespaces"]
            self.registry.create(namespaces, "", {"metadata": {"name": name}}, Options(manager="devcluster"))
        server = web.Server(self._handle, request_factory=_make_request, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self.url = f"http://{self._host}:{self._runner.addresses[0][1]}{self._prefix}"
        self._garbage = asyncio.create_task(self._collector.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._garbage.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._garbage
        self.faults.cut_watches()
        await self._runner.cleanup()

    def kubeconfig(self) -> dict[str, Any]:
        """A kubeconfig document for this server."""
        name = "devcluster"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": self.url}}],
            "users": [{"name": name, "user": {}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
            "current-context": name,
        }

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not request.path.startswith(f"{self._prefix}/"):
            return _answer_error(ApiError(401, "Unauthorized", "Unauthorized"))
        try:
            data = await request.read() if request.can_read_body else b""
        except web.HTTPRequestEntityTooLarge:
            return _answer_error(ApiError(413, "RequestEntityTooLarge", f"limit is {MAX_BODY}"))
        path, agent = request.path_qs.removeprefix(self._prefix), request.headers.get("User-Agent", "")
        number = self.faults.next_write() if request.method in WRITES else 0
        seen = Request(request.method, path, agent, data, number)
        fault = self.faults.judge(seen) or Fault()
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.status:
            return _answer_error(_ordered_error(fault))
        if fault.cut == "before":
            return _cut(request)
        try:
            response = await self._answer(request, data, seen)
        except ApiError as error:
            response = _answer_error(error)
        except ConnectionError:  # the client is gone, or a fault has cut its watch
            return _cut(request)
        except Exception as error:  # a bug here, or a body that makes no sense: both are internal errors in Kubernetes
            log.exception("%s %s", request.method, path)
            response = _answer_error(ApiError(500, "InternalError", f"Internal error occurred: {error!r}"))
        return _cut(request) if fault.cut else response

    async def _answer(self, request: web.BaseRequest, data: bytes, seen: Request) -> web.StreamResponse:
        path = request.path.removeprefix(self._prefix)
        if data and request.content_type == protobuf.CONTENT_TYPE:
            data = quote(protobuf.decode(data)).encode()
        if path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        if (proxied := find_proxied(path)) is not None:
            return await pass_on(request, proxied, self.registry)
        target = find_target(self.registry, path) if path.startswith(("/api/", "/apis/")) else None
        if target is not None:
            return await self._answer_target(target, request, data, seen)
        if path.startswith(f"/apis/{AUTHORIZATION}/v1/") and request.method == "POST":
            return json_response(_review(parse(data)), 201)
        if path == "/openapi/v2":  # an empty document, in protobuf: clients then know that there is nothing more
            return web.Response(body=b"", content_type=OPENAPI_V2)
        document = self._document(path)
        if document is None and path.startswith("/api/v1/"):
            raise ApiError(404, "NotFound", "the server could not find the requested resource", {})
        if document is None:
            return web.Response(text="404 page not found\n", status=404)
        return json_response(document)

    def _document(self, path: str) -> Any:
        resources = self.registry.resources.values()
        if path == "/openapi/v3":
            return openapi_index(resources, self._prefix)
        if path.startswith("/openapi/v3/"):
            return openapi_document(path.removeprefix("/openapi/v3/"), resources)
        return discover(path, resources)

    async def _answer_target(
        self, target: Target, request: web.BaseRequest, data: bytes, seen: Request
    ) -> web.StreamResponse:
        if request.method == "GET":
            if target.subresource == "log":
                return await self._send_log(target, request)
            if request.query.get("watch") in TRUE:
                return await self._stream(target, request, seen)
            return self._rest.get(target, request) if target.name else self._rest.get_list(target, request)
        if target.subresource == "binding":
            return self._rest.bind(target, data)
        verb = self._rest.writes.get((request.method, bool(target.name)))
        if verb is None:
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        return verb(target, request, data)

    async def _stream(self, target: Target, request: web.BaseRequest, seen: Request) -> web.StreamResponse:
        fault, as_table = self.faults.judge_watch(seen), wants_table(request)
        watch = self._listing.make_watch(
            target.resource, target.namespace, request.query, as_table=as_table, fault=fault
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)

        def close() -> None:
            if request.transport:
                request.transport.abort()

        self.faults.watch_began(seen, close)
        try:
            await watch.run(response)
        except ApiError as error:
            await response.write(error_line(error))
        finally:
            self.faults.watch_ended(close)
        return response

    async def _send_log(self, target: Target, request: web.BaseRequest) -> web.StreamResponse:
        namespace, name = target.namespace, target.name
        container = pick_container(self.registry, namespace, name, request.query.get("container", ""))
        if request.query.get("previous") in TRUE:
            why = f'previous terminated container "{container}" in pod "{name}" not found'
            raise ApiError(400, "BadRequest", why)
        if self._pod_log is None:
            raise ApiError(501, "NotImplemented", "no node runs pods here, so there are no logs")
        storage = target.resource.storage

        def ended() -> bool:
            pod = self.store.get(storage, (namespace, name))
            return pod is None or look_up(pod.body, "status.phase") in ("Succeeded", "Failed")

        path = self._pod_log(namespace, name, container)
        return await send_log(request, path, ended=ended)


def _cut(request: web.BaseRequest) -> web.StreamResponse:
    """Close the connection; the response goes nowhere."""
    if request.transport:
        request.transport.abort()
    return web.Response()


def _answer_error(error: ApiError) -> web.Response:
    response = json_response(error.status(), error.code)
    if error.details and "retryAfterSeconds" in error.details:
        response.headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    return response


def _make_request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)


def _ordered_error(fault: Fault) -> ApiError:
    reasons = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}
    details = None if fault.retry_after is None else {"retryAfterSeconds": fault.retry_after}
    return ApiError(fault.status, reasons.get(fault.status, ""), f"ordered fault {fault.status}", details)


def _review(body: dict[str, Any]) -> dict[str, Any]:
    """Everyone may do everything."""
    body = {"metadata": {}, **body}
    if body["kind"] == "SelfSubjectAccessReview":
        return body | {"status": {"allowed": True}}
    rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    anywhere = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]
    return body | {"status": {"resourceRules": rules, "nonResourceRules": anywhere, "incomplete": False}}
