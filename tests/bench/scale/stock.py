"""A stock of jobs that is simply there: what an operator pays to start with it, to sit beside it, and to see it go.

The stock grows in steps, and at each step an operator starts anew: so its cost is known as a function of jobs and pods.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.scale.arena import LANES, PODS_PER_JOB, Arena
from bench.scale.witness import Witness, watching

MIB = 2**20
SUSPENDED = {"runPolicy": {"suspend": True}}


@dataclass(frozen=True)
class Restart:
    """An operator that started with all of the stock there, and then had nothing to do."""

    ready_seconds: float
    settled_seconds: float
    start_cpu_seconds: float
    resident_mib: float
    writes: int
    rest_cores: float
    rest_requests_per_second: float


async def bench_rest(arena: Arena, jobs: int) -> None:
    """Running jobs of eight pods each: growth, restart, rest; then one half is deleted beside an operator, and the
    other half without one.
    """
    await _bench_stock(arena, "rest", jobs, pods_per_job=PODS_PER_JOB, spec={}, phase="Running")
    with arena.player(jobs * PODS_PER_JOB):
        async with watching(arena.client) as witness:
            await _bench_deletion(arena, witness, _names("rest", jobs))


async def bench_store(arena: Arena, jobs: int) -> None:
    """Suspended jobs without any pod: what the mere number of jobs costs."""
    await _bench_stock(arena, "store", jobs, pods_per_job=0, spec=SUSPENDED, phase="Suspended")
    await side_by_side(arena.delete, _names("store", jobs))
    await arena.until_empty("services", "configmaps")


async def _bench_stock(
    arena: Arena, bench: str, jobs: int, *, pods_per_job: int, spec: Mapping[str, Any], phase: str
) -> None:
    empty = asdict(await restart(arena, 0))
    points: list[tuple[int, dict[str, float]]] = []
    names = _names(bench, jobs)
    done = 0
    for wanted in [jobs // step for step in arena.steps]:
        building = await _build(arena, names[done:wanted], pods_per_job=pods_per_job, spec=spec, phase=phase)
        done = wanted
        anew = asdict(await restart(arena, done))
        points.append((done, anew))
        arena.say(bench, jobs=done, pods=done * pods_per_job, **building, **anew)
    for what in ("start_cpu_seconds", "resident_mib"):
        sizes = [(float(size), figures[what]) for size, figures in points]
        arena.grows(f"{bench}: {what}", sizes, against="jobs", empty=empty[what])


async def _build(
    arena: Arena, names: Sequence[str], *, pods_per_job: int, spec: Mapping[str, Any], phase: str
) -> dict[str, float]:
    """Makes more of the stock, as fast as everybody can."""
    with arena.player(len(names) * pods_per_job):
        async with watching(arena.client) as witness, arena.operator() as operator:
            await operator.until_ready()
            cpu, began = operator.cpu_seconds(), time.perf_counter()
            before = witness.count(phase)
            await side_by_side(lambda name: arena.apply(name, **spec), names)
            await witness.until(lambda: witness.count(phase) == before + len(names))
            seconds = time.perf_counter() - began
            used = operator.cpu_seconds() - cpu
    return {"built_per_second": len(names) / seconds, "built_cpu_seconds_per_job": used / len(names)}


async def restart(arena: Arena, jobs: int) -> Restart:
    """An operator starts with so many jobs there, and has nothing to do then."""
    async with arena.operator() as operator:
        ready = await operator.until_ready()
        settled = await operator.until_settled(jobs)
        start_cpu = operator.cpu_seconds()
        before, began = await operator.metrics(), time.perf_counter()
        cpu = operator.cpu_seconds()
        await asyncio.sleep(arena.rest_seconds)
        seconds = time.perf_counter() - began
        after = await operator.metrics()
        return Restart(
            ready_seconds=ready,
            settled_seconds=settled,
            start_cpu_seconds=start_cpu,
            resident_mib=operator.resident_bytes() / MIB,
            writes=int(after.writes),
            rest_cores=(operator.cpu_seconds() - cpu) / seconds,
            rest_requests_per_second=(after.requests - before.requests) / seconds,
        )


async def _bench_deletion(arena: Arena, witness: Witness, names: Sequence[str]) -> None:
    half = len(names) // 2
    async with arena.operator() as operator:
        await operator.until_settled(len(names))
        cpu = operator.cpu_seconds()
        with_operator = await _delete(arena, witness, names[:half])
        used, metrics = operator.cpu_seconds() - cpu, await operator.metrics()
    without = await _delete(arena, witness, names[half:])
    arena.say(
        "delete",
        jobs=half,
        pods=half * PODS_PER_JOB,
        seconds=with_operator,
        seconds_without_operator=without,
        operator_cpu_seconds=used,
        operator_writes=int(metrics.writes),
    )


async def _delete(arena: Arena, witness: Witness, names: Sequence[str]) -> float:
    """Seconds from the first DELETE until the garbage collector and the player have taken away the last pod."""
    left = len(witness.pods) - len(names) * PODS_PER_JOB
    began = time.perf_counter()
    await side_by_side(arena.delete, names)
    return await witness.until(lambda: len(witness.pods) == left) - began


async def side_by_side(do: Any, names: Sequence[Any]) -> None:
    """Does something for each of them, several at a time."""
    rest = iter(names)

    async def lane() -> None:
        for name in rest:
            await do(name)

    await asyncio.gather(*(lane() for _ in range(LANES)))


def _names(bench: str, jobs: int) -> list[str]:
    return [f"{bench}-{number:05}" for number in range(jobs)]
