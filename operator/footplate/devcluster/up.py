"""The whole devcluster in one process: API server, nodes, and as child processes the S3 server and the operator.

It listens on loopback only and is not for production: whoever can read its kubeconfig can run programs as its user.
Every start begins with nothing, in the API as in the buckets: a model that outlived its job would stand in the way of
the next job of that name.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from footplate.api.crd import build_crds
from footplate.devcluster.client import ApiClient
from footplate.devcluster.container import log_path
from footplate.devcluster.faults import Faults
from footplate.devcluster.images import Images
from footplate.devcluster.node import CAPACITY, Nodes
from footplate.devcluster.process import Child, Keeper
from footplate.devcluster.s3 import S3Server
from footplate.devcluster.server import ApiServer
from footplate.errors import AlreadyExists

OPERATOR = (
    sys.executable,
    "-m",
    "footplate.cli.main",
    "operator",
    "--no-leader-election",
    "--host=127.0.0.1",
    "--port=0",
)
"""The very operator that runs in a cluster; it gets the path of the kubeconfig as one more option."""
STORAGE = "s3"
"""Secret in the namespace `default` with which jobs find the S3 server: `storage: {secretRef: {name: s3}}`."""


class DevCluster:
    """`async with DevCluster(folder) as cluster`: the API is served, with our CRDs, nodes and the operator.

    The S3 server takes two seconds longer, see `storage_ready`; its address is known to jobs before.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 2,
        capacity: Mapping[str, str] = CAPACITY,
        pretend: bool = False,
        storage: bool = True,
        operator: Sequence[str] | None = OPERATOR,
        faults: Faults | None = None,
        node_grace_seconds: float = 40.0,
        images: Images | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self.kubeconfig_path = self.folder / "kubeconfig"
        self.operator_log = self.folder / "operator.log"
        self.operator: Child | None = None
        self.s3 = S3Server(self.folder / "s3") if storage else None
        node_folder = self.folder / "node"
        self.pod_log = partial(log_path, node_folder)
        """Path of a container's log by namespace, pod and container; it outlives the pod."""
        self.api = ApiServer(faults=faults, pod_log=self.pod_log)
        self._make_nodes = partial(
            Nodes,
            folder=node_folder,
            count=nodes,
            capacity=capacity,
            pretend=pretend,
            grace_seconds=node_grace_seconds,
            images=images,
        )
        self._operator_command = operator
        self._keeper = Keeper()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in ("node", "s3"):
            shutil.rmtree(self.folder / leftover, ignore_errors=True)
        async with AsyncExitStack() as stack:
            if self.s3 is not None:
                self._storage_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._storage = asyncio.create_task(self._serve_storage(self.s3))
                stack.push_async_callback(self._stop_storage)
            await stack.enter_async_context(self.api)
            self._write_kubeconfig()
            self.client = await stack.enter_async_context(ApiClient(self.api.kubeconfig()))
            await self._create_objects()
            self.nodes = await stack.enter_async_context(self._make_nodes(self.api.kubeconfig()))
            await stack.enter_async_context(self._keeper)
            if self._operator_command is not None:
                await self.start_operator()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def storage_ready(self) -> S3Server:
        """Waits for the S3 server; raises what kept it from starting."""
        if self.s3 is None:
            raise LookupError("this devcluster was started without an S3 server")
        await asyncio.shield(self._storage_up)
        return self.s3

    async def start_operator(self) -> Child:
        """Starts the operator, for the first time or after its end."""
        command = [*(self._operator_command or OPERATOR), f"--kubeconfig={self.kubeconfig_path}"]
        self.operator = await self._keeper.start(command, env=os.environ, cwd=self.folder, log=self.operator_log)
        return self.operator

    async def _serve_storage(self, s3: S3Server) -> None:
        try:
            async with s3:
                self._storage_up.set_result(None)
                await asyncio.Event().wait()
        except Exception as error:
            self._storage_up.set_exception(error)

    async def _stop_storage(self) -> None:
        self._storage.cancel()
        await asyncio.wait({self._storage})

    async def _create_objects(self) -> None:
        for definition in build_crds():
            await self._create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        if self.s3 is not None:
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": STORAGE}}
            await self._create("/api/v1/namespaces/default/secrets", {**secret, "stringData": self.s3.environment})

    async def _create(self, path: str, body: Mapping[str, Any]) -> None:
        with suppress(AlreadyExists):  # by a try whose answer was lost
            await self.client.request("POST", path, body)

    def _write_kubeconfig(self) -> None:
        self.kubeconfig_path.touch(mode=0o600)
        self.kubeconfig_path.write_text(json.dumps(self.api.kubeconfig(), indent=2))
