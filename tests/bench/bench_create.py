"""Apply → all pods created, beside a bare loop of concurrent POSTs of the same pods in the same run. Prints JSON lines.

    python tests/bench/bench_create.py [--sizes 8,256,1000] [--rounds 3]

Runs on the devcluster and, where etcd and kube-apiserver are found, on a real control plane. Nothing runs the pods. The
operator is a process of its own; the clock starts when the TrainingJob is sent and stops when a watch has seen the last
pod. Of the rounds, the median counts: these machines are noisy.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from footplate.devcluster.client import ApiClient
from footplate.devcluster.server import ApiServer

ROOT = Path(__file__).parents[2]
PODS = "/api/v1/namespaces/default/pods"
JOBS = "/apis/footplate.dev/v1alpha1/namespaces/default/trainingjobs"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
IN_FLIGHT = 50
PATIENCE_SECONDS = 120


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="8,256,1000")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    asyncio.run(bench(sizes, rounds=options.rounds))


async def bench(sizes: list[int], *, rounds: int) -> None:
    """All clusters, all sizes."""
    async with devcluster() as kubeconfig:
        await bench_cluster("devcluster", kubeconfig, sizes, rounds=rounds)
    sys.path.insert(0, str(ROOT / "tests"))
    from realcluster.controlplane import ControlPlane, find_assets

    if find_assets() is None:
        print(json.dumps({"bench": "create", "cluster": "kube-apiserver", "skipped": "no envtest binaries"}))
        return
    with ControlPlane() as control_plane:
        kubeconfig = json.loads(control_plane.kubeconfig_path.read_text())
        await bench_cluster("kube-apiserver", kubeconfig, sizes, rounds=rounds)


@asynccontextmanager
async def devcluster() -> AsyncIterator[dict[str, Any]]:
    """The devcluster's API server in a process of its own."""
    with child(serve) as pipe:
        yield await asyncio.to_thread(pipe.recv)


async def bench_cluster(name: str, kubeconfig: dict[str, Any], sizes: list[int], *, rounds: int) -> None:
    """Measures one cluster and prints a line for each size."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig))
        async with ApiClient(kubeconfig) as client:
            for crd in sorted((ROOT / "crds").glob("*.yaml")):
                await client.request("POST", CRDS, yaml.safe_load(crd.read_text()))
            with child(operate, str(path)):
                await create_by_operator(client, "warm-up", 2)
                for size in sizes:
                    await bench_size(client, name, size, rounds=rounds)


async def bench_size(client: ApiClient, cluster: str, size: int, *, rounds: int) -> None:
    """Interleaves bare rounds with the operator's, so that both meet the same machine."""
    ours, bare = [], []
    for number in range(rounds):
        name = f"bench-{size}-{number}"
        seconds, template = await create_by_operator(client, name, size)
        ours.append(seconds)
        bare.append(await create_bare(client, f"bare-{size}-{number}", size, template))
    median = statistics.median(ours), statistics.median(bare)
    print(
        json.dumps(
            {
                "bench": "create",
                "cluster": cluster,
                "nodes": size,
                "seconds": round(median[0], 3),
                "bare_seconds": round(median[1], 3),
                "ratio": round(median[0] / median[1], 2),
            }
        ),
        flush=True,
    )


async def create_by_operator(client: ApiClient, name: str, size: int) -> tuple[float, dict[str, Any]]:
    """Seconds from sending the TrainingJob to the last pod, and one of the pods; the job is deleted afterwards."""
    job = {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {"trainer": {"image": "registry.example.com/trainer:1", "command": ["true"]}, "nodes": size},
    }
    seconds = await timed(client, name, size, client.request("POST", JOBS, job))
    template = await pod_template(client, name)
    await client.request("DELETE", f"{JOBS}/{name}")
    await delete_pods(client, name)
    return seconds, template


async def create_bare(client: ApiClient, name: str, size: int, template: dict[str, Any]) -> float:
    """Seconds for the same pods by concurrent POSTs and nothing else."""
    labels = {**template["metadata"]["labels"], "footplate.dev/job": name}

    async def create_all() -> None:
        ranks = iter(range(size))

        async def lane() -> None:
            for rank in ranks:
                body = {**template, "metadata": {**template["metadata"], "labels": labels, "name": f"{name}-{rank}"}}
                await client.request("POST", PODS, body)

        await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))

    seconds = await timed(client, name, size, create_all())
    await delete_pods(client, name)
    return seconds


async def pod_template(client: ApiClient, job: str) -> dict[str, Any]:
    """A pod as the operator makes it, without its owner."""
    pod = await client.request("GET", f"{PODS}/{job}-1-0-0")
    metadata = {"namespace": "default", "labels": pod["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}


async def timed(client: ApiClient, job: str, size: int, work: Any) -> float:
    """Seconds from the start of `work` until a watch has seen `size` pods of the job."""
    seen: set[str] = set()
    watching = asyncio.Event()

    async def watch() -> None:
        async for kind, data in client.follow(f"{PODS}?labelSelector=footplate.dev/job={job}"):
            watching.set()
            seen.update(pod["metadata"]["name"] for pod in (data if kind == "LIST" else [data]))
            if len(seen) >= size:
                return

    task = asyncio.create_task(watch())
    await watching.wait()
    began = time.perf_counter()
    await work
    await asyncio.wait_for(task, PATIENCE_SECONDS)
    return time.perf_counter() - began


async def delete_pods(client: ApiClient, job: str) -> None:
    """Leaves nothing behind for the next round."""
    selector = f"footplate.dev/job={job}"
    while (await client.request("DELETE", PODS, labelSelector=selector, gracePeriodSeconds=0)).get("items"):  # noqa: ASYNC110
        await asyncio.sleep(0.1)


@contextmanager
def child(target: Any, *arguments: Any) -> Iterator[Any]:
    """Runs `target(pipe, *arguments)` in a process that ends with the block."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(there, *arguments), daemon=True)
    process.start()
    there.close()  # so that a child that ends is an EOFError here
    try:
        yield here
    finally:
        process.kill()
        process.join()


def serve(pipe: Any) -> None:
    """The devcluster's API server, until killed."""

    async def run() -> None:
        async with ApiServer() as server:
            pipe.send(server.kubeconfig())
            await asyncio.Event().wait()

    asyncio.run(run())


def operate(_: Any, kubeconfig: str) -> None:
    """The operator, until killed; its log would cost time on a terminal."""
    import logging

    from footplate.machinery.logs import configure_logging
    from footplate.operator import OperatorSettings, run_operator

    configure_logging()
    logging.disable(logging.CRITICAL)
    settings = OperatorSettings(kubeconfig=kubeconfig, host="127.0.0.1", port=0, leader_election=False)
    asyncio.run(run_operator(settings))


if __name__ == "__main__":
    main()
