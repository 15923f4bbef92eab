"""Pods created for one job of many nodes, beside a bare loop of POSTs and beside a Kubernetes Job of the same size."""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.bench_create import create_bare, create_by_operator, delete_pods, timed
from bench.scale.arena import LIFTED, Arena

BATCH = "/apis/batch/v1/namespaces/default/jobs"
GOALS = {8: 0.15, 256: 0.9, 1000: 2.5}
LARGEST_AT_DEFAULTS = 256
"""Pods of a Kubernetes Job at kube-controller-manager's default limits, of which 1,000 would take most of a minute."""


async def bench_creation(arena: Arena, sizes: Sequence[int], *, rounds: int) -> None:
    """One line for each size. Rounds of ours and bare ones alternate, so that both meet the same machine."""
    figures: dict[int, dict[str, Any]] = {}
    templates: dict[int, dict[str, Any]] = {}
    async with arena.operator() as operator:
        await arena.warm_up(operator)
        for size in sizes:
            ours, bare = [], []
            for number in range(rounds):
                seconds, templates[size] = await create_by_operator(arena.client, f"ours-{size}-{number}", size)
                ours.append(seconds)
                bare.append(await create_bare(arena.client, f"bare-{size}-{number}", size, templates[size]))
            median, limit = statistics.median(ours), statistics.median(bare)
            figures[size] = {"seconds": median, "goal": GOALS.get(size), "bare_seconds": limit, "ratio": median / limit}
    await _bench_kubernetes_jobs(arena, templates, figures)
    for size in sizes:
        arena.say("create", nodes=size, **figures[size])
    points = [(float(size), float(figures[size]["seconds"])) for size in sizes]
    arena.grows("create: seconds", points, against="pods of one job")


async def _bench_kubernetes_jobs(
    arena: Arena, templates: dict[int, dict[str, Any]], figures: dict[int, dict[str, Any]]
) -> None:
    if arena.plane is None:
        return
    with _job_controller(arena, *LIFTED):
        for size, template in templates.items():
            figures[size]["job_seconds"] = await _create_by_job(arena, f"lifted-{size}", size, template)
    with _job_controller(arena):
        for size, template in templates.items():
            if size <= LARGEST_AT_DEFAULTS:
                seconds = await _create_by_job(arena, f"default-{size}", size, template)
                figures[size]["job_at_default_limits_seconds"] = seconds


@contextmanager
def _job_controller(arena: Arena, *options: str) -> Iterator[None]:
    assert arena.plane is not None
    process = arena.plane.start_controllers("job-controller", *options)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def _create_by_job(arena: Arena, name: str, size: int, template: dict[str, Any]) -> float:
    """Seconds from sending an Indexed Job to its last pod; the first Job of a controller waits until that is ready."""
    await _run_job(arena, f"{name}-warm-up", 1, template)
    return await _run_job(arena, name, size, template)


async def _run_job(arena: Arena, name: str, size: int, template: dict[str, Any]) -> float:
    labels = {"footplate.dev/job": name}
    # A Job names the hosts itself, and has neither our ConfigMaps nor our Service.
    spec = {key: value for key, value in template["spec"].items() if key not in ("hostname", "subdomain")}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completionMode": "Indexed",
            "completions": size,
            "parallelism": size,
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    seconds = await timed(arena.client, name, size, arena.client.request("POST", BATCH, body))
    await arena.client.request("DELETE", f"{BATCH}/{name}", propagationPolicy="Background")
    await delete_pods(arena.client, name)
    return seconds
