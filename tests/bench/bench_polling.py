"""What running jobs cost an operator that asks each how far it is and writes that, with its curve, into the status: CPU
and memory of the operator's process. Prints a JSON line.

    python tests/bench/bench_polling.py [--jobs 1000] [--metrics 8] [--seconds 60]

Runs on the devcluster, with jobs of one pod that nobody runs: one server answers for all of them at port 9464 of the
loopback network. Training goes on, so that each answer is news, and the curve is as long as it gets. Goal: less than
0.3 of a core for 1,000 jobs. From 375 jobs on the cost is much the same: they are asked 25 times a second in all, and
each answer is written.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bench_create import child
from bench.scale.arena import LANES, Arena, open_arena
from bench.scale.witness import watching
from footplate.api.reports import ProgressStatus
from footplate.contract import MANAGED_SELECTOR, METRICS_PORT, Label, Progress
from footplate.curves import curve_of, size_of
from footplate.devcluster.client import ApiClient
from operator_process import OperatorProcess

GOAL_CORES = 0.3
STEPS_PER_SECOND = 5
BEGUN_AT = 20_000
"""Steps that lie behind: the curve is full."""
WARM_SECONDS = 25.0
"""Everybody has been asked once."""
MIB = 2**20
Json = Mapping[str, Any]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--metrics", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    asyncio.run(bench(options.jobs, metrics=options.metrics, seconds=options.seconds))


async def bench(jobs: int, *, metrics: int, seconds: float) -> None:
    """As many jobs as are asked for, made by the operator itself, and then a look at its process."""
    async with open_arena(real=False, pods=jobs, steps=(1,), rest_seconds=seconds) as arena:
        with arena.player(jobs), answers(arena, metrics):
            async with arena.operator() as operator:
                await make_running(arena, operator, jobs)
                await asyncio.sleep(WARM_SECONDS)
                cost = await measure(operator, seconds)
    arena.say(
        "polling",
        jobs=jobs,
        metrics=metrics,
        curve_bytes=size_of(said_at(BEGUN_AT, metrics).history or curve_of([])),
        **cost,
        goal=GOAL_CORES,
    )


async def make_running(arena: Arena, operator: OperatorProcess, jobs: int) -> None:
    """Sends the jobs, and waits until they run."""
    await operator.until_ready()
    names = iter([f"polled-{number:05}" for number in range(jobs)])

    async def lane() -> None:
        for name in names:
            await arena.apply(name, nodes=1)

    async with watching(arena.client) as witness:
        await asyncio.gather(*(lane() for _ in range(LANES)))
        await witness.until(lambda: witness.count("Running") == jobs)


async def measure(operator: OperatorProcess, seconds: float) -> dict[str, float]:
    """What the operator does and takes for so long."""
    before, cpu, began = await operator.metrics(), operator.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(seconds)
    used, took, after = operator.cpu_seconds() - cpu, time.perf_counter() - began, await operator.metrics()
    polls = [metrics.total("footplate_progress_polls_total", result="ok") for metrics in (before, after)]
    return {
        "polls_per_second": (polls[1] - polls[0]) / took,
        "writes_per_second": (after.writes - before.writes) / took,
        "cores": used / took,
        "resident_mib": operator.resident_bytes() / MIB,
    }


@contextmanager
def answers(arena: Arena, metrics: int) -> Iterator[None]:
    """A process that answers for all pods."""
    with child(_answer, json.loads(arena.kubeconfig.read_text()), metrics) as pipe:
        pipe.recv()
        yield


def _answer(pipe: Any, kubeconfig: Json, metrics: int) -> None:
    asyncio.run(_serve(pipe, kubeconfig, metrics))


async def _serve(pipe: Any, kubeconfig: Json, metrics: int) -> None:
    pods: dict[str, Json] = {}
    began = time.monotonic()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("sockname")[0]
        with suppress(asyncio.IncompleteReadError):  # who has waited for too long is gone
            await reader.readuntil(b"\r\n\r\n")
        step = BEGUN_AT + int((time.monotonic() - began) * STEPS_PER_SECOND)
        head = f"HTTP/1.0 200 OK\r\nDate: {formatdate(usegmt=True)}\r\n\r\n"
        writer.write(head.encode() + _document(pods[address], said_at(step, metrics)))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "0.0.0.0", METRICS_PORT, backlog=1024)
    async with ApiClient(kubeconfig) as client, server:
        pipe.send("ready")
        async for kind, data in client.follow(f"/api/v1/pods?labelSelector={MANAGED_SELECTOR}"):
            for pod in data if kind == "LIST" else [data]:
                if address := pod["status"].get("podIP"):
                    pods[address] = pod


@cache
def said_at(step: int, metrics: int) -> ProgressStatus:
    """What training says at a step, the same for all jobs."""
    names = ["loss", *(f"metric{number}" for number in range(1, metrics))]
    points = ((each, dict.fromkeys(names, 1.2345 + 1 / each)) for each in range(step % 50 + 1, step + 1, 50))
    return ProgressStatus(
        step=step,
        total_steps=1_000_000,
        percent=step / 10_000,
        eta_seconds=(1_000_000 - step) // STEPS_PER_SECOND,
        metrics=dict.fromkeys(names, 1.2345),
        history=curve_of(points),
    )


def _document(pod: Json, said: ProgressStatus) -> bytes:
    labels = pod["metadata"]["labels"]
    progress = Progress(
        uid=pod["metadata"]["ownerReferences"][0]["uid"],
        run=int(labels[Label.RUN]),
        attempt=int(labels[Label.ATTEMPT]),
        activity="training",
        progress=said,
        productive_node_seconds=float(said.step or 0) - BEGUN_AT,
    )
    return progress.model_dump_json(by_alias=True).encode()


if __name__ == "__main__":
    main()
