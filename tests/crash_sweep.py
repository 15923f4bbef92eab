"""A job's life on the devcluster, under an operator that is killed, or loses its connection, at one write."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import yaml

from crds import install_crds
from footplate.devcluster.client import ApiClient
from footplate.devcluster.faults import Fault, Request
from footplate.devcluster.node import Nodes
from footplate.devcluster.server import ApiServer
from job_life import NAMESPACE, NODES, Life, Operator, lived

Harm = Literal["none", "killed before", "killed after", "cut before", "answer lost"]


async def live_through(folder: Path, *, harm: Harm, write: int = 0) -> Life:
    """Lives a job's life, with the given harm done at the operator's n-th write, from 1."""
    life = Life()
    async with _cluster(folder) as (server, client, nodes, kubeconfig):
        operator = Operator(kubeconfig)

        def strike(request: Request) -> Fault | None:
            if not request.agent.startswith("footplate-operator") or "/events" in request.path:
                return None
            life.writes.append(f"{request.method} {request.path}")
            life.bodies.append(request.body)
            if len(life.writes) != write or harm == "none":
                return None
            if harm.startswith("killed"):
                operator.kill()
            return Fault(cut="before" if harm.endswith("before") else "after")

        server.faults.on_write(strike)
        async with lived(client, nodes, operator, life):
            pass
    return life


@asynccontextmanager
async def _cluster(folder: Path) -> AsyncIterator[tuple[ApiServer, ApiClient, Nodes, Path]]:
    await asyncio.to_thread(folder.mkdir)
    async with ApiServer() as server:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(server.kubeconfig()))
        async with (
            ApiClient(server.kubeconfig()) as client,
            Nodes(server.kubeconfig(), folder / "nodes", count=NODES, pretend=True) as nodes,
        ):
            await install_crds(client)
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            await client.request("POST", "/api/v1/namespaces", namespace)
            yield server, client, nodes, kubeconfig
