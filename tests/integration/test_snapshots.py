"""What code that knows nothing of Footplate leaves in the checkpoint folder, through real supervisors' lives."""

import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from footplate.contract import ExitCode, Progress
from trainer_pods import Done, RunningPod, free_port, pod_environment

pytestmark = pytest.mark.integration

COUNT = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ["FOOTPLATE_CHECKPOINT_DIR"])
file = folder / "checkpoint" / f"count-{os.environ['FOOTPLATE_NODE_RANK']}"
count = int(file.read_text()) if file.exists() else 0
print("begins at", count, "beside", sorted(path.name for path in folder.rglob("*")), flush=True)
def save(number):
    file.parent.mkdir(exist_ok=True)
    file.with_suffix(".new").write_text(str(number))
    file.with_suffix(".new").replace(file)
def stop(*_):
    save(count + 5)
    sys.exit(0)
if os.environ.get("HANDLE"):
    signal.signal(signal.SIGTERM, stop)
save(count + 1)
print("saved", flush=True)
time.sleep(600)
"""


class Pods:
    """The pods of a test, none of which outlives it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._started: list[RunningPod] = []

    def start(self, **place: Any) -> RunningPod:
        pod = start(self._root, **place)
        self._started.append(pod)
        return pod

    def kill(self) -> None:
        for pod in self._started:
            pod.process.kill()
            pod.process.wait()


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    pods = Pods(tmp_path)
    yield pods
    pods.kill()


def start(root: Path, *, node: int = 0, nodes: int = 1, attempt: int = 0, port: int = 0, **env: str) -> RunningPod:
    spec: dict[str, Any] = {
        "trainer": {"command": [sys.executable, "-c", COUNT]},
        "checkpoint": {"uri": f"file://{root}/checkpoints"},
    }
    address = f"127.0.0.1:{port}" if port else ""
    place = root / f"{attempt}-{node}"
    environment = pod_environment(place, spec, node_rank=node, nodes=nodes, attempt=attempt, metrics_address=address)
    return RunningPod(place, {**environment, **env})


def terminate(pod: RunningPod) -> Done:
    pod.process.send_signal(signal.SIGTERM)
    return pod.finish()


def safe(port: int) -> str | None:
    """The URI of the checkpoint that the pod says is safe."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/progress", timeout=5) as answer:
            progress = Progress.model_validate_json(answer.read())
    except OSError:
        return None
    return progress.checkpoint.uri if progress.checkpoint is not None else None


def wait_for_log(pod: RunningPod, text: str) -> None:
    pod.wait_for(lambda: True if text in pod.log_path.read_text() else None, seconds=180)


def test_what_is_saved_on_sigterm_is_there_again(pods: Pods) -> None:
    pod = pods.start(HANDLE="1")
    wait_for_log(pod, "saved")
    done = terminate(pod)
    assert done.exit_code == ExitCode.STOPPED, done.log
    assert done.verdict.checkpoint is not None, done.log
    assert done.verdict.checkpoint.step is None
    wait_for_log(pods.start(attempt=1), "begins at 5")


def test_two_nodes_that_are_killed_go_on_from_what_was_safe(pods: Pods) -> None:
    ports = [free_port(), free_port()]
    for attempt, port in enumerate(ports):
        gang = [pods.start(attempt=attempt, node=node, nodes=2, port=(port, 0)[node]) for node in range(2)]
        for pod in gang:
            wait_for_log(pod, f"begins at {attempt} beside")
        uri = gang[0].wait_for(lambda port=port: safe(port), seconds=180)
        pods.kill()
        assert "/snapshots/" in uri
    assert "beside ['checkpoint', 'count-0', 'count-1']" in gang[1].log_path.read_text()
