import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from footplate.machinery.client import KubeClient
from footplate.machinery.metrics import Metrics
from footplate.machinery.rights import RECHECK_SECONDS, Right, Rights, right_of
from unit.machinery.support import FakeClock, serve

RBAC = (
    'pods is forbidden: User "system:serviceaccount:a:b" cannot create resource "pods" in API group "" in the '
    'namespace "ns"'
)
FINALIZERS = (
    'pods "p" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can\'t set '
    "finalizers on: , <nil>"
)
JOBS = "/apis/footplate.dev/v1alpha1/namespaces/ns/trainingjobs"


@pytest.mark.parametrize(
    ("method", "path", "watch", "right"),
    [
        ("GET", "/api/v1/pods", False, Right("list", "pods")),
        ("GET", "/api/v1/pods", True, Right("watch", "pods")),
        ("GET", "/prefix/api/v1/namespaces/ns/pods/p", False, Right("get", "pods", "", "ns")),
        ("DELETE", "/api/v1/namespaces/ns/pods/p", False, Right("delete", "pods", "", "ns")),
        ("PATCH", f"{JOBS}/j/status", False, Right("patch", "trainingjobs/status", "footplate.dev", "ns")),
        (
            "PUT",
            "/apis/coordination.k8s.io/v1/namespaces/ns/leases/op",
            False,
            Right("update", "leases", "coordination.k8s.io", "ns", "op"),
        ),
        ("GET", "/apis", False, None),
        ("GET", "/openapi/v3", False, None),
    ],
)
def test_what_a_request_needs(method: str, path: str, watch: bool, right: Right | None) -> None:
    assert right_of(method, path, watch=watch) == right


class Server:
    """Refuses what it is told to, with these words."""

    def __init__(self) -> None:
        self.refused = ""
        self.allowed = False
        self.reviewed: list[Any] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("selfsubjectaccessreviews"):
            self.reviewed.append((await request.json())["spec"]["resourceAttributes"])
            return web.json_response({"status": {"allowed": self.allowed}})
        if self.refused:
            return web.json_response({"reason": "Forbidden", "message": self.refused}, status=403)
        return web.json_response({})


@pytest.mark.parametrize(
    ("method", "path", "said", "missing"),
    [
        ("GET", "/api/v1/pods", "no", "list pods"),
        ("POST", "/api/v1/namespaces/ns/pods", RBAC, "create pods in namespace ns"),
        (
            "POST",
            "/api/v1/namespaces/ns/pods",
            FINALIZERS,
            "update trainingjobs/finalizers (footplate.dev) in namespace ns",
        ),
        ("POST", "/api/v1/namespaces/ns/pods", 'pods "p" is forbidden: exceeded quota: q', None),
        ("POST", "/api/v1/namespaces/ns/pods", "admission webhook denied the request: User cannot", None),
    ],
)
async def test_rbacs_no_names_a_right_and_a_quotas_does_not(
    method: str, path: str, said: str, missing: str | None
) -> None:
    server, metrics = Server(), Metrics()
    server.refused = said
    rights = Rights(clock=FakeClock(), metrics=metrics)
    async with serve(server) as url, aiohttp.ClientSession(middlewares=[rights]) as session:
        for _ in range(3):
            async with session.request(method, url + path) as response:
                assert said in (await response.json())["message"], "who asked reads it, too"
        problems = rights.problems()
        if missing is None:
            assert problems == {}
            return
        assert problems["rights"].startswith(f"missing: {missing}; grant")
        [gauge] = metrics.rights_missing.collect()
        assert sum(sample.value for sample in gauge.samples) == 1
        server.refused = ""
        if "finalizers" not in missing:
            async with session.request(method, url + path):
                assert rights.problems() == {}, "it was let through"


@pytest.mark.timeout(20)
async def test_a_right_that_is_granted_is_found_without_another_try() -> None:
    server, clock = Server(), FakeClock()
    server.refused = RBAC
    rights = Rights(clock=clock, metrics=Metrics())
    async with serve(server) as url, aiohttp.ClientSession(middlewares=[rights]) as session:
        async with session.post(f"{url}/api/v1/namespaces/ns/pods"):
            pass
        async with KubeClient(aiohttp.ClientSession(), url, metrics=Metrics()) as client:
            checking = asyncio.create_task(rights.run(client))
            while not server.reviewed:
                await clock.advance(RECHECK_SECONDS)
                await asyncio.sleep(0.01)
            assert server.reviewed[0] == {"verb": "create", "resource": "pods", "namespace": "ns"}
            assert rights.problems()
            server.allowed = True
            while rights.problems():
                await clock.advance(RECHECK_SECONDS)
                await asyncio.sleep(0.01)
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)
