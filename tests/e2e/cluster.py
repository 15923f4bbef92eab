"""Whose cluster it is, its nodes, and pods of the suite's own on it.

Everything goes through the API server: helpers run in pods of the trainer's image, the only one besides the operator's
that the nodes must have.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from realcluster.controlplane import Cluster
from realcluster.user import Object

KUBECONFIG = "FOOTPLATE_E2E_KUBECONFIG"
OPERATOR_IMAGE = os.environ.get("FOOTPLATE_E2E_OPERATOR_IMAGE", "footplate/operator:dev")
TRAINER_IMAGE = os.environ.get("FOOTPLATE_E2E_TRAINER_IMAGE", "footplate/trainer:dev")
"""Both must be on the nodes, or be pulled by them."""

TOOLS = "footplate-e2e"
"""Namespace of what the suite itself runs."""

CHOSEN = "footplate-e2e"
"""Label of the two nodes that jobs keep to where a test counts nodes."""

PROGRAMS = Path(__file__).parent / "programs"
START_SECONDS = 100
"""For whatever is waited for once its image is there."""


def nodes_for_pods(cluster: Cluster) -> list[str]:
    """Names of the nodes that are ready and take any pod."""
    items = json.loads(cluster.kubectl("get", "nodes", "-o", "json").stdout)["items"]
    return [each["metadata"]["name"] for each in items if _takes_pods(each)]


@contextmanager
def two_nodes(cluster: Cluster, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The first two of these nodes, labelled for as long as it lasts."""
    first, second = names[:2]
    cluster.kubectl("label", "nodes", first, second, f"{CHOSEN}=yes", "--overwrite")
    try:
        yield first, second
    finally:
        cluster.kubectl("label", "nodes", first, second, f"{CHOSEN}-")


@contextmanager
def tools(cluster: Cluster) -> Iterator[Cluster]:
    """The namespace for helpers, which may be privileged."""
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    metadata = {"name": TOOLS, "labels": labels}
    cluster.kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        yield cluster
    finally:
        cluster.kubectl("delete", "namespace", TOOLS, f"--timeout={START_SECONDS}s")


@contextmanager
def helper(
    cluster: Cluster, name: str, program: str, *arguments: str, node: str = "", host: bool = False
) -> Iterator[None]:
    """A pod that runs one of our programs; with `host` it sees the node's processes and network, as root."""
    cluster.kubectl("apply", "-f", "-", stdin=_helper(name, program, arguments, node=node, host=host))
    try:
        yield
    finally:
        cluster.kubectl("delete", "pod", name, "-n", TOOLS, "--grace-period=1", "--ignore-not-found")


def run_helper(cluster: Cluster, name: str, program: str, *arguments: str, node: str) -> None:
    """Until such a program has done its work on a node; the error has what it wrote."""
    with helper(cluster, name, program, *arguments, node=node, host=True):
        ended = "--for=jsonpath={.status.phase}=Succeeded"
        done = cluster.kubectl("wait", f"pod/{name}", "-n", TOOLS, ended, f"--timeout={START_SECONDS}s", check=False)
        assert done.returncode == 0, f"{done.stderr}\n{log_of(cluster, name)}"


def log_of(cluster: Cluster, name: str, *, namespace: str = TOOLS) -> str:
    return cluster.kubectl("logs", name, "-n", namespace, check=False).stdout


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def _helper(name: str, program: str, arguments: Sequence[str], *, node: str, host: bool) -> Object:
    container: Object = {
        "name": "helper",
        "image": TRAINER_IMAGE,
        "command": ["python", "-c", (PROGRAMS / program).read_text(), *arguments],
    }
    spec: Object = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]}
    if node:
        spec |= {"nodeName": node, "tolerations": [{"operator": "Exists"}]}
    if host:
        spec |= {"hostPID": True, "hostNetwork": True}
        container["securityContext"] = {"privileged": True, "runAsUser": 0, "runAsNonRoot": False}
    metadata = {"name": name, "namespace": TOOLS, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _takes_pods(node: Object) -> bool:
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])
    return ready and not node["spec"].get("unschedulable") and not node["spec"].get("taints")
