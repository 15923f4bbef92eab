"""A site as a platform team runs it, on a real control plane: the chart, the operator, nodes, and S3.

The operator is a process of its own. It runs with the arguments of the chart's Deployment and with the rights of the
chart's ServiceAccount. Nodes and S3 server live in a thread, so that tests are plain and use kubectl as users do.
"""

import asyncio
import json
import os
import sys
import threading
import urllib.request
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, TypeVar

from obstore.store import S3Store

from footplate.devcluster.node import Nodes
from footplate.devcluster.process import Child, Keeper
from footplate.devcluster.s3 import S3Server
from realcluster.audit import Asked
from realcluster.chart import CHART, NAMESPACE, RELEASE, open_helm
from realcluster.controlplane import ControlPlane
from realcluster.user import User
from trainer_pods import free_port

VALUES = {"crds": {"install": False}}
"""Of the chart: the CRDs are kubectl's here."""

T = TypeVar("T")


class Site(User):
    """`with Site(plane, folder) as site`: installed, with nodes and storage, and the operator at work."""

    def __init__(self, plane: ControlPlane, folder: Path, *, values: Mapping[str, Any] = VALUES) -> None:
        super().__init__(plane)
        self.plane = plane
        self._values = values
        self.operator_log = folder / "operator.log"
        self._folder = folder
        self._operator: Child | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "Site":
        with ExitStack() as stack:
            self.install()
            self.kubeconfig_of_operator = self.plane.log_in(RELEASE, namespace=NAMESPACE, folder=self._folder)
            self._loop = asyncio.new_event_loop()
            stack.callback(self._loop.close)
            thread = threading.Thread(target=self._loop.run_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(self._loop.call_soon_threadsafe, self._loop.stop)
            servers = AsyncExitStack()
            stack.callback(lambda: self._run(servers.aclose()))
            self._run(self._start_servers(servers))
            self.create_team(self._s3.environment)
            self.start_operator()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def install(self) -> None:
        """helm install."""
        with open_helm(self.plane) as helm:
            helm.install(CHART, RELEASE, dict(self._values), create_namespace=True)

    def start_operator(self) -> None:
        """Starts the operator as the chart's Deployment does, but for where it listens and how it finds the API."""
        deployment = self.get("deployment", RELEASE, namespace=NAMESPACE)
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        self._port = free_port()
        here = [f"--kubeconfig={self.kubeconfig_of_operator}", "--host=127.0.0.1", f"--port={self._port}"]
        command = [sys.executable, "-m", "footplate.cli.main", "operator", *container["args"], *here]
        env = {**os.environ, "POD_NAME": "operator", "POD_NAMESPACE": NAMESPACE}
        self._operator = self._run(self._keeper.start(command, env=env, cwd=self._folder, log=self.operator_log))

    def kill_operator(self) -> None:
        """Ends it without a warning: its lease stays held."""
        assert self._operator is not None
        self._operator.signal_all(9)
        self._run(self._operator.wait())

    def reconfigure(self, **values: Any) -> None:
        self.stop_operator()
        with open_helm(self.plane) as helm:
            helm.upgrade(CHART, RELEASE, {**self._values, **values})
        self.start_operator()

    def uninstall(self) -> None:
        self.stop_operator()
        with open_helm(self.plane) as helm:
            helm.uninstall(RELEASE)

    def operator_asked(self) -> list[Asked]:
        """All that the operator has asked the API server for."""
        return self.plane.asked_by(RELEASE, namespace=NAMESPACE)

    @property
    def operator_address(self) -> str:
        """Of its probes and metrics."""
        return f"http://127.0.0.1:{self._port}"

    def metrics_of_operator(self) -> str:
        with urllib.request.urlopen(f"{self.operator_address}/metrics", timeout=10) as answer:
            return bytes(answer.read()).decode()

    def store(self, bucket: str) -> S3Store:
        return self._s3.store(bucket)

    def tail(self) -> str:
        return self.operator_log.read_text()[-4000:]

    async def _start_servers(self, servers: AsyncExitStack) -> None:
        kubeconfig = json.loads(self.plane.kubeconfig_path.read_text())
        self._keeper = await servers.enter_async_context(Keeper())
        self._s3 = await servers.enter_async_context(S3Server(self._folder / "s3"))
        await servers.enter_async_context(Nodes(kubeconfig, self._folder / "nodes"))

    def stop_operator(self) -> None:
        """Ends it as a kubelet does, with time to give its lease back."""
        assert self._operator is not None
        self._run(self._operator.stop(grace=20))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
