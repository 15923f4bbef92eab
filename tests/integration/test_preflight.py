"""Real supervisors with real probes, over gloo on loopback: what a gang shows before training, and who falls short if
one node is really slow.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from footplate.contract import ExitCode
from footplate_trainer.preflight import reading as readings
from footplate_trainer.preflight.devices import compute
from throttle import Throttle, runs
from trainer_pods import Done, RunningPod, descendants, free_port, pod_environment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PROBE = "footplate_trainer.preflight.probe"
COMMAND = {"command": ["echo", "trained"], "source": None}
SECONDS = 240


class Pods:
    """A gang of pods, each with a folder of its own."""

    def __init__(self, root: Path, nodes: int, preflight: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
        self._stack = ExitStack()
        port = str(free_port())
        self.folders = [root / f"node-{rank}" for rank in range(nodes)]
        self.running = []
        self.probes: dict[int, list[int]] = {}
        for rank, folder in enumerate(self.folders):
            folder.mkdir()
            environment = pod_environment(folder, spec, node_rank=rank, nodes=nodes, preflight=preflight)
            self.running.append(RunningPod(folder, environment | {"MASTER_PORT": port, "OMP_NUM_THREADS": "1"}))

    def __enter__(self) -> "Pods":
        return self

    def __exit__(self, *_: object) -> None:
        for pod in self.running:
            if pod.process.poll() is None:
                pod.kill()

    def probes_of(self, rank: int) -> Iterator[int]:
        """Those that measure: while it starts, a slow one would only be late. They are known by then, since to look for
        them takes a good part of what a device is measured for.
        """
        reading = readings.read(readings.path_of(self.folders[rank] / "run", 0))
        if reading.stage == "starting" and not self.probes.get(rank):
            self.probes[rank] = [pid for pid in descendants(self.running[rank].process.pid) if runs(pid, PROBE)]
        elif reading.stage in ("device", "network"):
            yield from self.probes[rank]

    def finish(self) -> list[Done]:
        return [pod.finish(seconds=SECONDS) for pod in self.running]


def test_a_sound_gang_trains_and_says_what_it_has_shown(tmp_path: Path) -> None:
    preflight = {"devices": True, "network": True, "timeoutSeconds": 120, "floors": {"deviceMemory": "1Mi"}}
    with Pods(tmp_path, 2, preflight, {"trainer": COMMAND}) as pods:
        done = pods.finish()
    assert [each.exit_code for each in done] == [ExitCode.OK] * 2, done[0].log + done[1].log
    for each in done:
        assert "preflight passed" in each.log
        assert "trained" in each.log
    found = [readings.read(readings.path_of(folder / "run", 0)) for folder in pods.folders]
    assert [each.stage for each in found] == ["done", "done"]
    assert found[0].gigabits_per_second == found[1].gigabits_per_second
    assert found[0].least_teraflops == min(each.teraflops or 0 for each in found) > 0


def test_a_node_that_computes_slowly_names_itself(tmp_path: Path) -> None:
    floor = compute(torch.device("cpu"), 0.5)[0] / 15
    preflight = {"devices": True, "timeoutSeconds": 120, "floors": {"teraflops": floor}}
    with Pods(tmp_path, 2, preflight, {"trainer": COMMAND}) as pods, Throttle(lambda: pods.probes_of(1)) as throttle:
        done = pods.finish()
    assert throttle.held
    assert [each.exit_code for each in done] == [ExitCode.OK, ExitCode.NODE_UNFIT], done[0].log + done[1].log
    error = done[1].verdict.error
    assert error is not None
    assert "device 0 (cpu) computes" in error.message
    assert f"the runtime's preflight.floors.teraflops is {floor:g}" in error.message
    assert "trained" not in done[1].log


@pytest.mark.slow
def test_the_slow_node_of_a_network_is_told_from_its_neighbours(tmp_path: Path) -> None:
    """A ring of four: all see a slow sum, and the neighbours of the slow one a slow link each."""
    preflight = {"network": True, "timeoutSeconds": 200, "floors": {"gigabitsPerSecond": 0.2}}
    with Pods(tmp_path, 4, preflight, {"trainer": COMMAND}) as pods, Throttle(lambda: pods.probes_of(2)) as throttle:
        done = pods.finish()
    logs = "\n".join(each.log for each in done)
    assert throttle.held
    codes = [each.exit_code for each in done]
    assert codes == [ExitCode.PEER_LOST, ExitCode.PEER_LOST, ExitCode.NODE_UNFIT, ExitCode.PEER_LOST], logs
    messages = [each.verdict.error.message for each in done if each.verdict.error is not None]
    assert "Gbit/s with node rank 1" in messages[2], logs
    assert "Gbit/s with node rank 3" in messages[2]
    assert "the runtime's preflight.floors.gigabitsPerSecond is 0.2" in messages[2]
    assert messages[0] == "node rank 2 falls short in preflight, in the network"
