"""Many namespaces with a quota each, whose jobs are more than it: what the operator's queue costs in memory and CPU."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.scale.arena import Arena, training_job
from bench.scale.stock import MIB, restart, side_by_side
from operator_process import OperatorProcess

GROUP = "/apis/footplate.dev/v1alpha1"
GPU = "nvidia.com/gpu"
OWN, OF_EACH = 8, 4
"""Accelerators of each namespace, and of each job: two run, the others wait."""

Job = tuple[str, str]


async def bench_tenants(arena: Arena, *, namespaces: int, jobs: int) -> None:
    """`jobs` in each namespace: built, seen by an operator that starts anew, at rest, and when as many as there are
    namespaces end and make room for the next.
    """
    teams = [f"team-{number:03}" for number in range(namespaces)]
    names = [(team, f"job-{number:02}") for number in range(jobs) for team in teams]
    running = namespaces * min(jobs, OWN // OF_EACH)
    await _found(arena, teams)
    with arena.player(namespaces * OWN // OF_EACH):
        async with arena.operator() as operator:
            await operator.until_ready()
            began = time.perf_counter()
            await side_by_side(lambda job: _create(arena, job), names)
            await _until(operator, Running=running, Queued=len(names) - running)
            built = {"built_seconds": time.perf_counter() - began, "built_cpu_seconds": operator.cpu_seconds()}
        anew = asdict(await restart(arena, len(names)))
        arena.say("tenants", namespaces=namespaces, jobs=len(names), **built, **anew)
        async with arena.operator() as operator:
            await operator.until_settled(len(names))
            arena.say("turns", jobs=namespaces, **await _turns(arena, operator, names, running=running))


async def _turns(arena: Arena, operator: OperatorProcess, names: Sequence[Job], *, running: int) -> dict[str, float]:
    """One job of each namespace is deleted, and the next one of its line begins."""
    first, teams = time.perf_counter(), len({team for team, _ in names})
    cpu, before = operator.cpu_seconds(), (await operator.metrics()).requests
    await side_by_side(lambda job: _delete(arena, job), names[:teams])
    await _until(operator, Running=running, Queued=len(names) - running - teams)
    used, seconds = operator.cpu_seconds() - cpu, time.perf_counter() - first
    asked = (await operator.metrics()).requests - before
    return {
        "seconds": seconds,
        "cpu_seconds": used,
        "cpu_milliseconds_per_turn": 1000 * used / teams,
        "requests_per_turn": asked / teams,
        "resident_mib": operator.resident_bytes() / MIB,
    }


async def _found(arena: Arena, teams: Sequence[str]) -> None:
    quota = {"accelerators": {GPU: OWN}, "borrowing": {}}
    spec = {"namespaceSelector": {"matchLabels": {"tenant": "yes"}}, "quota": quota}
    policy = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingPolicy", "metadata": {"name": "teams"}}
    await arena.client.request("POST", f"{GROUP}/trainingpolicies", {**policy, "spec": spec})

    async def make(team: str) -> None:
        metadata = {"name": team, "labels": {"tenant": "yes"}}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        await arena.client.request("POST", "/api/v1/namespaces", body)

    await side_by_side(make, teams)


async def _create(arena: Arena, job: Job) -> None:
    team, name = job
    body = training_job(name, nodes=1, resources={"limits": {GPU: OF_EACH}})
    await arena.client.request("POST", f"{GROUP}/namespaces/{team}/trainingjobs", body)


async def _delete(arena: Arena, job: Job) -> None:
    await arena.client.request("DELETE", f"{GROUP}/namespaces/{job[0]}/trainingjobs/{job[1]}")


async def _until(operator: OperatorProcess, **phases: int) -> None:
    """Waits until so many jobs are in these phases, as the operator counts them."""
    async with asyncio.timeout(1800):
        while True:
            metrics: Any = await operator.metrics()
            if all(metrics.total("footplate_jobs", phase=phase) == count for phase, count in phases.items()):
                return
            await asyncio.sleep(0.5)
