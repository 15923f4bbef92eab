"""Where the API server is and how we prove who we are, from a service account or a kubeconfig.

`kubernetes.aio` reads the configuration (token files, client certificates, exec plugins, OIDC); every session made here
carries the current proof on each request. A 401, or a server certificate that isn't trusted, loads everything anew and
tries the request once more, so rotated tokens, renewed certificates and authorities and edited kubeconfigs need no
restart. Who is refused all the same has lost his connection: that is tried again by whoever asked, and may end.
"""

import asyncio
import logging
import os
import socket
import ssl
import struct
from pathlib import Path
from types import SimpleNamespace

import aiohttp
from aiohttp import AddrInfoType, ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse

from footplate import __version__
from footplate.errors import ConfigurationError
from footplate.machinery.kubernetes_config import Configuration, load_incluster_config, load_kube_config

log = logging.getLogger(__name__)

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_READ_BUFFER = 2**20
_SECONDS_BETWEEN_RENEWALS = 5.0


class Unauthorized(aiohttp.ClientConnectionError):
    """401, with the newest credentials that there are."""


class Credentials:
    """The way to one API server. `server` has no trailing slash."""

    def __init__(
        self, *, kubeconfig: str | None = None, context: str | None = None, agent: str = "footplate-operator"
    ) -> None:
        """`agent`: what the API server's logs are to call us."""
        self._kubeconfig = kubeconfig
        self._context = context
        self._agent = agent
        self._namespace = ""
        self._configuration = Configuration()
        self._tls = ssl.create_default_context()
        self._renewing = asyncio.Lock()
        self._loads = 0
        self._renewed_at = -_SECONDS_BETWEEN_RENEWALS

    @property
    def server(self) -> str:
        """Base URL of the API server."""
        return str(self._configuration.host).rstrip("/")

    @property
    def namespace(self) -> str:
        """That of the kubeconfig's context, or of the service account."""
        return self._namespace or "default"

    async def load(self) -> None:
        """Reads the configuration, and again when called again; ConfigurationError says what is wrong with it."""
        configuration = Configuration()
        try:
            await self._load_into(configuration)
            self._tls = _build_tls(configuration)
        except Exception as error:  # the loader raises whatever a malformed file makes it stumble over
            raise ConfigurationError(
                f"no usable way to a Kubernetes API server: {error}; run inside a cluster with a service account, "
                "or name a kubeconfig with --kubeconfig or $KUBECONFIG"
            ) from error
        self._configuration = configuration
        self._loads += 1

    async def _load_into(self, configuration: Configuration) -> None:
        if self._kubeconfig is None and self._context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
            load_incluster_config(client_configuration=configuration)
            self._namespace = _own_namespace()
            return
        loader = await load_kube_config(
            config_file=_present(self._kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"),
            context=self._context,
            client_configuration=configuration,
            persist_config=False,
        )
        self._namespace = str(loader.current_context["context"].get("namespace") or "")

    def open_session(self, *middlewares: ClientMiddlewareType, fenced: bool = False) -> aiohttp.ClientSession:
        """A session whose requests are authorised, after they went through `middlewares`; whoever opens it closes it.

        Its requests raise `Unauthorized` and never answer 401. `fenced`: what was given up is never sent any more.
        """
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ssl=self._tls, keepalive_timeout=60, socket_factory=_open_abrupt if fenced else None
            ),
            trace_configs=[last_look()] if fenced else [],
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=[*middlewares, self._authorize],
            proxy=self._configuration.proxy,
            headers={"User-Agent": f"{self._agent}/{__version__}"},
            read_bufsize=_READ_BUFFER,
        )

    async def _authorize(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        loads = self._loads
        proof = await self._prove(request)
        try:
            return await _accepted(request, handler)
        except (Unauthorized, aiohttp.ClientSSLError):
            if not await self._renew(proof, loads):
                raise
        await self._prove(request)
        return await _accepted(request, handler)

    async def _prove(self, request: ClientRequest) -> str | None:
        request.server_hostname = self._configuration.tls_server_name
        # Pooled connections belong to their context: those that showed an old client certificate aren't used again.
        request._ssl = self._tls
        proof = await self._proof()
        if proof is not None:
            request.headers["Authorization"] = proof
        return proof

    async def _proof(self) -> str | None:
        """The Authorization header's value; a service account's token is read again from its file every minute."""
        header: str | None = await self._configuration.get_api_key_with_prefix("BearerToken")
        return header.strip() if header else None

    async def _renew(self, refused: str | None, loads: int) -> bool:
        """Whether there may be something newer to show than what was refused after so many loads."""
        async with self._renewing:
            if loads != self._loads or await self._proof() != refused:
                return True
            now = asyncio.get_running_loop().time()
            if now - self._renewed_at < _SECONDS_BETWEEN_RENEWALS:
                return False
            self._renewed_at = now
            try:
                await self.load()
            except ConfigurationError as error:
                log.warning("credentials_not_renewed: %s", error)
                return False
            return True


def last_look() -> aiohttp.TraceConfig:
    """Asks the request's `trace_request_ctx`, where it has one, in the moment before its bytes go out: a process may be
    frozen for any time between its decision to write and that.
    """

    async def look(session: object, context: SimpleNamespace, params: object) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx()

    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(look)
    return trace


def _open_abrupt(address: AddrInfoType) -> socket.socket:
    """A socket that is reset when it is closed. A kernel that couldn't deliver what was written goes on trying after a
    proper close: a write would come through long after it was given up, when the network is back.
    """
    family, kind, protocol, _, _ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return opened


def _present(files: str) -> str:
    """One file, or several as in $KUBECONFIG. Where none is there, the loader would only say that it misses a key."""
    if not any(Path(each).expanduser().exists() for each in files.split(os.pathsep)):
        raise FileNotFoundError(f"there is no file {files}")
    return files


def _own_namespace() -> str:
    """The service account's; empty where the pod isn't told."""
    return _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.exists() else ""


def _build_tls(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    # Python 3.13 refuses CAs without a key identifier, which many clusters have and kubectl accepts.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _accepted(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    response = await handler(request)
    if response.status != 401:
        return response
    response.close()
    raise Unauthorized(f"401 Unauthorized: {request.url.host} refuses these credentials")
