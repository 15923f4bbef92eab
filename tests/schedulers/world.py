"""A cluster with the operator at work in one namespace, and an actor in the part of somebody's scheduler."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from crds import install_crds
from footplate.devcluster.client import MERGE, ApiClient
from footplate.errors import AlreadyExists, NotFound
from footplate.operator import OperatorSettings, run_operator
from pod_player import make_nodes
from schedulers.players import Object, Player

CRDS = Path(__file__).parent / "crds"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SECONDS = 40.0
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace"}


class World:
    """What tests do and see; `player` is the scheduler."""

    def __init__(self, kubeconfig: Path) -> None:
        self.client = ApiClient(yaml.safe_load(kubeconfig.read_text()))
        self.kubeconfig = kubeconfig
        self.namespace = f"team-{secrets.token_hex(3)}"
        self.jobs_path = f"/apis/footplate.dev/v1alpha1/namespaces/{self.namespace}/trainingjobs"
        self.pods_path = f"/api/v1/namespaces/{self.namespace}/pods"
        self._parts: list[asyncio.Task[None]] = []

    async def prepare(self, *definitions: str, nodes: int) -> None:
        """Our CRDs, those of other people's schedulers, the namespace and nodes."""
        with suppress(AlreadyExists):
            await install_crds(self.client)
        for name in definitions:
            await self.serve(name)
        await self.client.request("POST", "/api/v1/namespaces", {**NAMESPACE, "metadata": {"name": self.namespace}})
        await make_nodes(self.client, nodes)

    async def serve(self, name: str) -> None:
        """Installs the CRD of a scheduler, and waits until it is served."""
        with suppress(AlreadyExists):
            await self.client.request("POST", DEFINITIONS, _crd(name))
        await self.until(lambda: self._is_served(name), bool)

    async def withdraw(self, name: str) -> None:
        """Takes it away, where another test has left it."""
        with suppress(NotFound):
            await self.client.request("DELETE", f"{DEFINITIONS}/{_crd(name)['metadata']['name']}")
        await self.until(lambda: self._is_served(name), lambda served: not served)

    async def _is_served(self, name: str) -> bool:
        groups = (await self.client.request("GET", "/apis"))["groups"]
        return _crd(name)["spec"]["group"] in {group["name"] for group in groups}

    @asynccontextmanager
    async def at_work(self, *parts: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """The operator, and whoever else acts."""
        settings = OperatorSettings(
            kubeconfig=str(self.kubeconfig),
            host="127.0.0.1",
            port=0,
            leader_election=False,
            namespaces=(self.namespace,),
        )
        works = [run_operator(settings), *(part() for part in parts)]
        self._parts = [asyncio.ensure_future(work) for work in works]
        try:
            yield
        finally:
            for part in self._parts:
                part.cancel()
            for part in self._parts:
                with suppress(asyncio.CancelledError):
                    await part

    async def apply(self, name: str, *, nodes: int, **spec: Any) -> None:
        trainer = {"image": "registry.example.com/trainer:1", "command": ["true"]}
        policy = {"terminationGracePeriodSeconds": 5, "restartBackoffSeconds": 0, **spec.pop("runPolicy", {})}
        job = {
            "apiVersion": "footplate.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": name},
            "spec": {"trainer": trainer, "nodes": nodes, "runPolicy": policy, **spec},
        }
        await self.client.request("POST", self.jobs_path, job)

    async def edit(self, name: str, **run_policy: Any) -> None:
        await self.client.request("PATCH", f"{self.jobs_path}/{name}", {"spec": {"runPolicy": run_policy}}, kind=MERGE)

    async def delete(self, name: str) -> None:
        await self.client.request("DELETE", f"{self.jobs_path}/{name}")

    async def status(self, name: str) -> Object:
        job = await self.client.request("GET", f"{self.jobs_path}/{name}")
        return dict(job.get("status") or {})

    async def pods(self, name: str) -> list[Object]:
        query = f"labelSelector=footplate.dev/job={name}"
        return list((await self.client.request("GET", f"{self.pods_path}?{query}"))["items"])

    async def groups(self, api: str) -> list[Object]:
        path = f"/apis/{api}/namespaces/{self.namespace}/podgroups"
        return list((await self.client.request("GET", path))["items"])

    async def until(self, read: Callable[[], Awaitable[Any]], test: Callable[[Any], bool]) -> Any:
        """Reads until `test` holds; fails with what was read last, or with what ended one of the parts."""
        deadline = asyncio.get_running_loop().time() + SECONDS
        while not test(value := await read()):
            for part in self._parts:
                if part.done():
                    part.result()
            assert asyncio.get_running_loop().time() < deadline, f"after {SECONDS} s still {value}"
            await asyncio.sleep(0.05)
        return value

    async def until_status(self, name: str, test: Callable[[Object], bool]) -> Object:
        return dict(await self.until(lambda: self.status(name), test))

    async def until_phase(self, name: str, phase: str) -> Object:
        return await self.until_status(name, lambda status: status.get("phase") == phase)


def _crd(name: str) -> Object:
    return dict(yaml.safe_load((CRDS / f"{name}.yaml").read_text()))


def whole_gangs(player: Player, *, nodes: int) -> None:
    """No attempt was ever seen to run in part for good: those that ran, ran whole."""
    assert set(player.running.values()) <= {0, nodes}, player.running
