"""Many jobs, one after the other: how long each takes to its pods, to Running and to its end; and a gang's restart."""

import asyncio
import math
import statistics
import time
from collections.abc import Iterable

from bench.bench_create import PODS
from bench.scale.arena import PODS_PER_JOB, Arena
from bench.scale.witness import Witness, watching
from footplate.devcluster.client import STRATEGIC

GOAL_SECONDS = 5.0


async def bench_arrivals(arena: Arena, jobs: int, *, per_second: float, run_seconds: float) -> None:
    """Jobs of eight pods arrive evenly; each pod runs for a while and succeeds."""
    with arena.player(jobs * PODS_PER_JOB, seconds=run_seconds):
        async with watching(arena.client) as witness, arena.operator() as operator:
            await arena.warm_up(operator)
            cpu, began = operator.cpu_seconds(), time.perf_counter()
            sent = await _send(arena, jobs, per_second=per_second)
            arrived = time.perf_counter() - began
            done = await witness.until(lambda: witness.count("Succeeded") == jobs) - began
            metrics = await operator.metrics()
            arena.say(
                "arrivals",
                jobs=jobs,
                pods=jobs * PODS_PER_JOB,
                asked_per_second=per_second,
                sent_per_second=jobs / arrived,
                pods_p99_goal=GOAL_SECONDS,
                **_percentiles("pods", witness, sent, f"pods:{PODS_PER_JOB}"),
                **_percentiles("running", witness, sent, "Running", "Succeeded"),
                **_percentiles("succeeded", witness, sent, "Succeeded"),
                pod_run_seconds=run_seconds,
                total_seconds=done,
                cores=(operator.cpu_seconds() - cpu) / done,
                requests_per_second=metrics.requests / done,
            )
            await _clear(arena, sent)


async def bench_player(arena: Arena, jobs: int) -> None:
    """What limits `Running` above: pods that the player alone binds and reports running in a second."""
    pods = jobs * PODS_PER_JOB
    names = [f"played-{number:05}" for number in range(jobs)]
    async with watching(arena.client) as witness:
        async with arena.operator() as operator:
            await operator.until_ready()
            await asyncio.gather(*(arena.apply(name) for name in names))
            await witness.until(lambda: len(witness.pods) == pods)
        began = time.perf_counter()
        with arena.player(pods):
            await _until_running(arena, pods)
            arena.say("player", pods=pods, pods_per_second=pods / (time.perf_counter() - began))
            await _clear(arena, names)


async def bench_gang_restart(arena: Arena, nodes: int) -> None:
    """A rank of a running gang fails: seconds until the next attempt's pods are all there, and until they all run."""
    with arena.player(2 * nodes):
        async with watching(arena.client) as witness, arena.operator() as operator:
            await arena.warm_up(operator)
            began = time.perf_counter()
            await arena.apply("gang", nodes=nodes, runPolicy={"restartBackoffSeconds": 0})
            created = await witness.until(lambda: witness.count_created("gang", attempt=0) == nodes) - began
            await witness.until(lambda: "Running" in witness.reached["gang"])
            failed = time.perf_counter()
            await _fail(arena, f"gang-1-0-{nodes // 2}")
            restarted = await witness.until(lambda: witness.count_created("gang", attempt=1) == nodes) - failed
            gone = await witness.until(lambda: witness.there("gang") == nodes) - failed
            running = await witness.until(lambda: "Running:1" in witness.reached["gang"]) - failed
            arena.say(
                "gang restart",
                nodes=nodes,
                first_pods_seconds=created,
                next_pods_seconds=restarted,
                old_pods_gone_seconds=gone,
                running_seconds=running,
            )
            await _clear(arena, ["gang"])


async def _send(arena: Arena, jobs: int, *, per_second: float) -> dict[str, float]:
    """When each was sent. A job that is late doesn't hold up the next: nobody waits for the answer."""
    sent: dict[str, float] = {}
    began = time.perf_counter()
    async with asyncio.TaskGroup() as sending:
        for number in range(jobs):
            await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
            name = f"arrival-{number:05}"
            sent[name] = time.perf_counter()
            sending.create_task(arena.apply(name))
    return sent


def _percentiles(what: str, witness: Witness, sent: dict[str, float], *reached: str) -> dict[str, float]:
    """To the first of several: pods of a job that run one after the other take it past Running."""
    reached_at = {job: min(witness.reached[job].get(each, math.inf) for each in reached) for job in sent}
    seconds = [reached_at[job] - time_sent for job, time_sent in sent.items()]
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {f"{what}_p50": cuts[49], f"{what}_p99": cuts[98]}


async def _until_running(arena: Arena, pods: int) -> None:
    pending = "status.phase!=Running"
    while (await arena.client.request("GET", PODS, fieldSelector=pending, limit=1))["items"]:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def _fail(arena: Arena, pod: str) -> None:
    ended = {"exitCode": 1, "reason": "Error"}
    status = {"phase": "Failed", "containerStatuses": [{"name": "trainer", "state": {"terminated": ended}}]}
    await arena.client.request("PATCH", f"{PODS}/{pod}/status", {"status": status}, kind=STRATEGIC)


async def _clear(arena: Arena, names: Iterable[str]) -> None:
    await asyncio.gather(*map(arena.delete, names))
    await arena.until_empty("pods", "services", "configmaps")
