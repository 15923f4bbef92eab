"""A site as a platform team runs it, on a real control plane: the chart, the operator, nodes, and S3.

The operator is a process of its own. It runs with the arguments of the chart's Deployment and with the rights of the
chart's ServiceAccount. Nodes and S3 server live in a thread, so that tests are plain and use kubectl as users do.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, TypeVar

import obstore

from footplate.devcluster.node import Nodes
from footplate.devcluster.process import Child, Keeper
from footplate.devcluster.s3 import S3Server
from realcluster.audit import Asked
from realcluster.chart import CHART, NAMESPACE, RELEASE, open_helm
from realcluster.controlplane import ControlPlane
from trainer_pods import free_port

EXAMPLES = CHART.parents[1] / "examples"
TEAM = "team"
"""The namespace of the tests' jobs; the Secret `s3` in it leads to the S3 server."""

VALUES = {"crds": {"install": False}}
"""Of the chart: the CRDs are kubectl's here."""

Object = dict[str, Any]
T = TypeVar("T")


class Site:
    """`with Site(plane, folder) as site`: installed, with nodes and storage, and the operator at work."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self.operator_log = folder / "operator.log"
        self._folder = folder
        self._operator: Child | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "Site":
        with ExitStack() as stack:
            with open_helm(self.plane) as helm:
                helm.install(CHART, RELEASE, VALUES, create_namespace=True)
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
            self._create_team()
            self.start_operator()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_operator(self) -> None:
        """Starts the operator as the chart's Deployment does, but for where it listens and how it finds the API."""
        deployment = self.get("deployment", RELEASE, namespace=NAMESPACE)
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        here = [f"--kubeconfig={self.kubeconfig_of_operator}", "--host=127.0.0.1", f"--port={free_port()}"]
        command = [sys.executable, "-m", "footplate.cli.main", "operator", *container["args"], *here]
        env = {**os.environ, "POD_NAME": "operator", "POD_NAMESPACE": NAMESPACE}
        self._operator = self._run(self._keeper.start(command, env=env, cwd=self._folder, log=self.operator_log))

    def kill_operator(self) -> None:
        """Ends it without a warning: its lease stays held."""
        assert self._operator is not None
        self._operator.signal_all(9)
        self._run(self._operator.wait())

    def reconfigure(self, **values: Any) -> None:
        """helm upgrade to other values, with a new operator after it."""
        assert self._operator is not None
        self._run(self._operator.stop(grace=20))
        with open_helm(self.plane) as helm:
            helm.upgrade(CHART, RELEASE, {**VALUES, **values})
        self.start_operator()

    def operator_asked(self) -> list[Asked]:
        """All that the operator has asked the API server for."""
        return self.plane.asked_by(RELEASE, namespace=NAMESPACE)

    def kubectl(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """kubectl in the team's namespace; a namespace among the arguments takes precedence."""
        return self.plane.kubectl("--namespace", TEAM, *arguments, **options)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """kubectl apply."""
        for each in objects:
            self.kubectl("apply", "-f", "-", stdin=each)

    def get(self, kind: str, name: str, *, namespace: str = TEAM) -> Object:
        """One object."""
        return dict(json.loads(self.plane.kubectl("get", kind, name, "-n", namespace, "-o", "json").stdout))

    def names(self, kind: str, job: str) -> list[str]:
        """Names of what the operator made for a job."""
        found = self.kubectl("get", kind, "-l", f"footplate.dev/job={job}", "-o", "name").stdout
        return [name.partition("/")[2] for name in found.split()]

    def wait(self, job: str, condition: str, *, seconds: int = 120) -> Object:
        """The job's status once a condition holds; the error tells what is known if it never does."""
        done = self.kubectl("wait", f"tj/{job}", f"--for={condition}", f"--timeout={seconds}s", check=False)
        status = self.get("tj", job).get("status") or {}
        assert done.returncode == 0, f"{done.stderr}\n{json.dumps(status, indent=1)}\n{self._tail()}"
        return dict(status)

    def until(self, look: Callable[[], T], holds: Callable[[T], object], *, seconds: float = 60) -> T:
        """What `look` sees once it holds; the error shows what it saw last."""
        deadline = time.monotonic() + seconds
        while not holds(seen := look()):
            assert time.monotonic() < deadline, f"after {seconds} s still {seen}\n{self._tail()}"
            time.sleep(0.1)
        return seen

    def upload(self, folder: Path, bucket: str, prefix: str) -> None:
        """Puts a folder's files below a prefix."""
        for path in folder.iterdir():
            obstore.put(self._s3.store(bucket), f"{prefix}{path.name}", path)

    def objects(self, bucket: str, prefix: str) -> list[str]:
        """Names of what is there below a prefix."""
        return [each["path"] for page in obstore.list(self._s3.store(bucket), prefix) for each in page]

    def read(self, uri: str) -> bytes:
        """One object's bytes."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bytes(obstore.get(self._s3.store(bucket), key).bytes())

    async def _start_servers(self, servers: AsyncExitStack) -> None:
        kubeconfig = json.loads(self.plane.kubeconfig_path.read_text())
        self._keeper = await servers.enter_async_context(Keeper())
        self._s3 = await servers.enter_async_context(S3Server(self._folder / "s3"))
        await servers.enter_async_context(Nodes(kubeconfig, self._folder / "nodes"))

    def _create_team(self) -> None:
        self.plane.kubectl("create", "namespace", TEAM)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}}
        self.apply({**secret, "stringData": self._s3.environment})

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _tail(self) -> str:
        return self.operator_log.read_text()[-4000:]
