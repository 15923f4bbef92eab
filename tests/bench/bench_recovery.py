"""A pod is killed → training takes its next step, with a gang of small ranks, beside the bare cost of starting the same
processes by hand. Prints one JSON line with medians in seconds.

    python tests/bench/bench_recovery.py [--pods 2] [--processes 4] [--rounds 5]

On the devcluster with the operator as a process of its own and a real S3 server, from which each gang
restores its checkpoint. The operator's share is the time from a watch's seeing the pod's end to its seeing the last pod
of the next gang.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from footplate.devcluster.client import ApiClient
from footplate.devcluster.up import STORAGE, DevCluster

sys.path.insert(0, str(Path(__file__).parents[1]))

from trainer_pods import RunningPod, free_port, pod_environment

CORE = "/api/v1/namespaces/default"
JOBS = "/apis/footplate.dev/v1alpha1/namespaces/default/trainingjobs"
PATIENCE_SECONDS = 120
FILES = {
    "train.py": """
import time
from pathlib import Path

import torch
from footplate_trainer import checkpoint, context, prepare, report

ctx = context()
model = prepare(torch.nn.Linear(8, 8))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
state = checkpoint.restore(model=model, optimizer=optimizer)
steps = Path(ctx.hyperparameters["steps"]) / str(ctx.attempt)
steps.parent.mkdir(exist_ok=True)
while True:
    model(torch.ones(4, 8)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    state.step += 1
    report(step=state.step)
    if ctx.rank == 0 and not steps.exists():
        steps.write_text(str(time.time()))
    time.sleep(0.05)
    if checkpoint.maybe_save(state) is checkpoint.STOP:
        break
"""
}


class Gang(NamedTuple):
    """Its size."""

    pods: int
    processes: int


class Recovery(NamedTuple):
    """Seconds from the kill to the next step, and the operator's part of them."""

    until_step: float
    operator: float


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=2)
    parser.add_argument("--processes", type=int, default=4, help="ranks of each pod")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        asyncio.run(bench(Path(folder), Gang(options.pods, options.processes), rounds=options.rounds))


async def bench(folder: Path, gang: Gang, *, rounds: int) -> None:
    """Interleaves recoveries with bare starts, so that both meet the same machine."""
    recoveries: list[Recovery] = []
    bare: list[float] = []
    async with DevCluster(folder / "cluster", nodes=gang.pods) as cluster:
        s3 = await cluster.storage_ready()
        code = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}, "data": FILES}
        await cluster.client.request("POST", f"{CORE}/configmaps", code)
        for number in range(rounds):
            recoveries.append(await recover(cluster, folder / f"steps-{number}", f"bench-{number}", gang))
            bare.append(await asyncio.to_thread(start_bare, folder / f"bare-{number}", s3.environment, gang))
    until_step, operator = (statistics.median(column) for column in zip(*recoveries, strict=True))
    figures = {"killed_to_step_s": until_step, "operator_s": operator, "bare_start_s": statistics.median(bare)}
    rounded = {name: round(seconds, 3) for name, seconds in figures.items()}
    print(json.dumps({"bench": "recovery", **gang._asdict(), "rounds": rounds, **rounded}))


async def recover(cluster: DevCluster, steps: Path, name: str, gang: Gang) -> Recovery:
    """Kills the last rank's pod of a gang that has a checkpoint."""
    client = cluster.client
    await client.request("POST", JOBS, make_job(name, steps, gang))
    await status_where(client, name, lambda status: "checkpoint" in status)
    watch = asyncio.create_task(watch_pods(client, name, gang))
    await asyncio.sleep(0)
    killed = time.time()
    cluster.nodes.kill_pod("default", f"{name}-1-0-{gang.pods - 1}")
    failed, created = await asyncio.wait_for(watch, PATIENCE_SECONDS)
    first_step = await asyncio.to_thread(wait_for_step, steps / "1")
    await client.request("DELETE", f"{JOBS}/{name}")
    while (await client.request("GET", f"{CORE}/pods"))["items"]:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return Recovery(first_step - killed, created - failed)


async def watch_pods(client: ApiClient, name: str, gang: Gang) -> tuple[float, float]:
    """When the first pod was seen to have failed, and when the whole next gang was seen."""
    failed, seen = 0.0, set()
    async for kind, data in client.follow(f"{CORE}/pods?labelSelector=footplate.dev/job={name}"):
        for pod in data if kind == "LIST" else [data]:
            if pod["status"].get("phase") == "Failed":
                failed = failed or time.time()
            if pod["metadata"]["labels"]["footplate.dev/attempt"] == "1":
                seen.add(pod["metadata"]["name"])
        if len(seen) == gang.pods:
            break
    return failed, time.time()


async def status_where(client: ApiClient, name: str, holds: Any) -> None:
    """Returns when the job's status is as wanted."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for kind, data in client.follow(JOBS):
            jobs = data if kind == "LIST" else [data]
            if any(job["metadata"]["name"] == name and holds(job.get("status") or {}) for job in jobs):
                return


def start_bare(folder: Path, storage: Mapping[str, str], gang: Gang) -> float:
    """Seconds from starting the same pods' processes by hand to their first step after a checkpoint."""
    folder.mkdir()
    spec = make_job(folder.name, folder, gang)["spec"]
    for attempt in range(2):
        port = free_port()
        began = time.time()
        pods = [start_pod(folder, spec, attempt, rank, storage=storage, port=port) for rank in range(gang.pods)]
        seconds = wait_for_step(folder / str(attempt)) - began
        for pod in pods:
            pod.process.terminate()
        for pod in pods:
            pod.finish()
    return seconds


def start_pod(
    folder: Path, spec: Mapping[str, Any], attempt: int, rank: int, *, storage: Mapping[str, str], port: int
) -> RunningPod:
    """One pod's supervisor, as its container would start it."""
    root = folder / f"{attempt}-{rank}"
    environment = pod_environment(
        root,
        spec,
        job=folder.name,
        attempt=attempt,
        node_rank=rank,
        nodes=spec["nodes"],
        processes=spec["processesPerNode"],
        files=FILES,
    )
    return RunningPod(root, {**environment, **storage, "MASTER_PORT": str(port)})


def wait_for_step(path: Path) -> float:
    """When an attempt's first step was done."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            return float(text)
        time.sleep(0.02)
    raise TimeoutError(f"no step within {PATIENCE_SECONDS} s")


def make_job(name: str, steps: Path, gang: Gang) -> dict[str, Any]:
    """A job that trains until it is stopped, with a checkpoint every 20 steps."""
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "trainer": {
                "image": "footplate/trainer:dev",
                "entrypoint": "train.py",
                "source": {"configMap": {"name": "code"}},
                "hyperparameters": {"steps": str(steps)},
            },
            "nodes": gang.pods,
            "processesPerNode": gang.processes,
            "checkpoint": {"uri": f"s3://checkpoints/{name}/", "every": {"steps": 20}},
            "storage": {"secretRef": {"name": STORAGE}},
        },
    }


if __name__ == "__main__":
    main()
