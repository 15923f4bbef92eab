"""The way from a synchronous caller to one API server: with the user's kubeconfig, and errors that say the way out.

Every request has an end: one that isn't answered within `ANSWER_SECONDS` fails.
"""

import os
import weakref
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import aiohttp

from footplate.client.errors import explained
from footplate.client.loop import EventLoop, Iteration
from footplate.errors import ApiUnavailable
from footplate.machinery.client import KubeClient
from footplate.machinery.credentials import Credentials
from footplate.machinery.metrics import Metrics
from footplate.machinery.resources import Resource
from footplate.machinery.responses import error_of
from footplate.machinery.transport import describe
from footplate.objects import Object

T = TypeVar("T")

ANSWER_SECONDS = 20.0
_TRIES = 2
_MOST_REFUSAL = 65_536


class Connection:
    """An open connection. Coroutines are run by `run` and `iterate`, and may use everything else."""

    def __init__(self, *, kubeconfig: str | None, context: str | None) -> None:
        """Raises ConfigurationError where there is no usable kubeconfig."""
        self._loop = EventLoop()
        # A kubeconfig that the user names goes before the service account of a pod that he works in.
        kubeconfig = kubeconfig or os.environ.get("KUBECONFIG")
        self._credentials = Credentials(kubeconfig=kubeconfig, context=context, agent="footplate-client")
        try:
            self._session = self._loop.run(self._open())
        except BaseException:
            self._loop.close(_nothing)
            raise
        server = self._credentials.server
        self.kube = KubeClient(
            self._session, server, metrics=Metrics(), in_flight=50, tries=_TRIES, timeout=ANSWER_SECONDS
        )
        self.close = weakref.finalize(self, self._loop.close, self._session.close)

    @property
    def namespace(self) -> str:
        """Of the kubeconfig's context."""
        return self._credentials.namespace

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._credentials.server

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns."""
        return self._loop.run(work)

    def iterate(self, batches: AsyncGenerator[Sequence[T]]) -> Iteration[T]:
        """The items of an asynchronous iteration."""
        return self._loop.iterate(batches)

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """One object."""
        with explained("get", resource, namespace=namespace, server=self.server):
            return await self.kube.get(resource, namespace, name)

    async def list(
        self, resource: Resource, *, namespace: str = "", selector: str = "", fields: str = ""
    ) -> tuple[list[dict[str, Any]], str]:
        """A whole collection, in one namespace or in all, and its resourceVersion."""
        found: list[dict[str, Any]] = []
        version = ""
        with explained("list", resource, namespace=namespace, server=self.server):
            async for page, of_page in self.kube.pages(resource, namespace=namespace, selector=selector, fields=fields):
                found += page
                version = of_page
        return found, version

    async def create(self, manifest: Object, resource: Resource, *, namespace: str, dry_run: bool = False) -> Object:
        """Creates an object; with `dry_run` the API server only judges it."""
        with explained("create", resource, namespace=namespace, server=self.server):
            return await self.kube.create(manifest, dry_run=dry_run)

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Object) -> Object:
        """The object after a merge patch."""
        with explained("patch", resource, namespace=namespace, server=self.server):
            return await self.kube.patch(resource, namespace, name, patch)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        """Deletes an object, if it is still this one."""
        with explained("delete", resource, namespace=namespace, server=self.server):
            await self.kube.delete(resource, namespace, name, uid=uid)

    async def stream(
        self,
        resource: Resource,
        path: str,
        *,
        namespace: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None,
        quiet_seconds: float | None,
    ) -> AsyncGenerator[bytes]:
        """What is at a path that isn't JSON, such as a pod's log, piece by piece.

        Args:
            resource: what its owner gives rights on.
            path: below the server's URL.
            namespace: in which the right is needed.
            query: of the URL.
            headers: beside those of every request.
            seconds: for all of it; None is for ever.
            quiet_seconds: longest pause between two pieces; None is for ever.
        """
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=ANSWER_SECONDS, sock_read=quiet_seconds)
        with explained("get", resource, namespace=namespace, server=self.server):
            try:
                async with self._session.get(
                    self.server + path, params=query, headers=headers, timeout=timeout, allow_redirects=False
                ) as response:
                    if response.status >= 300:
                        raise error_of(response, await response.content.read(_MOST_REFUSAL), verb="get")
                    async for piece in response.content.iter_any():
                        yield piece
            except (aiohttp.ClientError, TimeoutError) as error:
                said = f"no answer: {describe(error)}"
                raise ApiUnavailable(f"get {path}: {said}", said=said) from error

    async def _open(self) -> aiohttp.ClientSession:
        await self._credentials.load()
        return self._credentials.open_session()


async def _nothing() -> None:
    """Where nothing is open yet."""
