"""A job over a runtime with a preflight, in the embedded cluster, one of whose nodes is really slow: the attempt ends,
the node is named, and the next one runs elsewhere.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from footplate_trainer.preflight import reading as readings
from footplate_trainer.preflight.devices import compute
from laptop import Laptop
from prometheus_server import wait_for
from throttle import Throttle, runs

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

PROBE = "footplate_trainer.preflight.probe"


class SlowNode:
    """Finds the processes that measure for pods on a node."""

    def __init__(self, laptop: Laptop, node: str) -> None:
        self._laptop = laptop
        self._node = node
        self._nodes: dict[str, str] = {}
        self._probes: dict[int, Path] = {}
        self._is_here("")  # while probes import torch: to ask takes longer than what they measure

    def __call__(self) -> Iterator[int]:
        self._probes = {pid: reading for pid, reading in self._probes.items() if runs(pid, PROBE)}
        if not self._probes:  # while they start: to look for them takes a good part of what they measure
            found = (path for path in Path("/proc").glob("[0-9]*") if runs(int(path.name), PROBE))
            self._probes = {int(path.name): _reading_of(path) for path in found if self._is_here(_pod_of(path))}
        yield from (pid for pid, path in self._probes.items() if readings.read(path).stage in ("device", "network"))

    def _is_here(self, pod: str) -> bool:
        if pod not in self._nodes:
            self._nodes |= {each["metadata"]["name"]: each["spec"].get("nodeName") for each in self._laptop.pods("shy")}
        return self._nodes.get(pod) == self._node


def _environment(path: Path) -> dict[str, str]:
    try:
        lines = (path / "environ").read_text().split("\0")
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _pod_of(path: Path) -> str:
    env = _environment(path)
    return "-".join(env.get(f"FOOTPLATE_{name}", "") for name in ("JOB", "RUN", "ATTEMPT", "NODE_RANK"))


def _reading_of(path: Path) -> Path:
    return readings.path_of(Path(_environment(path).get("FOOTPLATE_RUN_DIR", "/nowhere")), 0)


def test_a_slow_node_is_named_and_the_next_attempt_runs_elsewhere(tmp_path: Path) -> None:
    floor = compute(torch.device("cpu"), 0.5)[0] / 15
    runtime = manifest(
        "ClusterTrainingRuntime", "checked", trainer={"image": "trainer:test"},
        preflight={"devices": True, "network": True, "timeoutSeconds": 120, "floors": {"teraflops": floor}},
    )  # fmt: skip
    job = manifest(
        "TrainingJob", "shy", namespace="default", runtimeRef={"name": "checked"}, nodes=2,
        trainer={"command": ["echo", "trained"]}, resources={"requests": {"cpu": "100m"}},
    )  # fmt: skip
    with Laptop(tmp_path, nodes=3) as laptop:
        laptop.apply(runtime)
        laptop.apply(job)
        slow = first_node(laptop)
        with Throttle(SlowNode(laptop, slow)) as throttle:
            status = laptop.wait("shy", "Finished", seconds=400)
        said = laptop.footplate("why", "shy", "--namespace=default")
        events = laptop.items("events", "--namespace=default")
    assert throttle.held, laptop.home
    assert status["phase"] == "Succeeded", status
    first, second = status["attempts"]
    assert (first["reason"], first["node"], first["unfitNodes"]) == ("NodeUnfit", slow, [slow])
    assert second["reason"] == "Completed"
    assert second["attempt"] == 1
    assert status["restarts"]["infrastructure"] == 1
    assert status["restarts"]["user"] == 0
    told = [event.get("message") or event["note"] for event in events if event.get("reason") == "NodeUnfit"]
    assert any(f"node {slow} " in each and f"preflight.floors.teraflops is {floor:g}" in each for each in told), events
    assert f"NodeUnfit on node {slow}" in said


def first_node(laptop: Laptop) -> str:
    """The node that has got the pod of rank 1."""

    def look() -> str | None:
        found = [pod for pod in laptop.pods("shy") if pod["metadata"]["name"].endswith("-0-1")]
        return str(found[0]["spec"]["nodeName"]) if found and found[0]["spec"].get("nodeName") else None

    return wait_for(look, lambda: "no pod of rank 1 has a node")


def manifest(kind: str, name: str, *, namespace: str = "", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "footplate.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
