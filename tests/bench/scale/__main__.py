"""Scale, on a real kube-apiserver (`$KUBEBUILDER_ASSETS`), each figure beside its goal, limit or peer: JSON lines.

    make bench-scale                                          # everything, about half an hour
    PYTHONPATH=tests python -m bench.scale --only create,rest --jobs-at-rest 400
    PYTHONPATH=tests python -m bench.scale --smoke            # on the devcluster, under a minute

Nobody runs the pods: a player of one process binds them and reports their status, and what it can do is measured too.
API server, etcd, controllers, player, operator and bench share one machine. The garbage collector's and the Job
controller's clients are not limited, but where a figure says so. Each bench has a cluster of its own.
"""

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.scale.arena import PODS_PER_JOB, Arena, open_arena
from bench.scale.arrival import bench_arrivals, bench_gang_restart, bench_player
from bench.scale.creation import bench_creation
from bench.scale.growth import Growth, plot
from bench.scale.stock import bench_rest, bench_store
from bench.scale.tenants import bench_tenants

Bench = Callable[[Arena], Awaitable[None]]
SMOKE = ["--sizes=2,4", "--rounds=1", "--jobs=6", "--per-second=20", "--jobs-at-rest=8", "--jobs-in-store=16"]
SMOKE += ["--namespaces=3", "--jobs-of-each=4"]
SMOKE += ["--gang=4", "--steps=1", "--run-seconds=0.5", "--rest-seconds=1", "--devcluster"]


def main() -> None:
    """Measures, prints, plots."""
    options = parse()
    sizes = _numbers(options.sizes)
    measures = {"steps": _numbers(options.steps), "rest_seconds": options.rest_seconds}
    benches: dict[str, tuple[int, Bench]] = {
        "create": (max(sizes), partial(bench_creation, sizes=sizes, rounds=options.rounds)),
        "player": (options.jobs * PODS_PER_JOB, partial(bench_player, jobs=options.jobs)),
        "arrivals": (
            options.jobs * PODS_PER_JOB,
            partial(bench_arrivals, jobs=options.jobs, per_second=options.per_second, run_seconds=options.run_seconds),
        ),
        "gang": (2 * options.gang, partial(bench_gang_restart, nodes=options.gang)),
        "rest": (options.jobs_at_rest * PODS_PER_JOB, partial(bench_rest, jobs=options.jobs_at_rest)),
        "store": (0, partial(bench_store, jobs=options.jobs_in_store)),
        "tenants": (
            2 * options.namespaces,
            partial(bench_tenants, namespaces=options.namespaces, jobs=options.jobs_of_each),
        ),
    }
    growths: list[Growth] = []
    for name in options.only.split(",") if options.only else benches:
        pods, bench = benches[name]
        growths += asyncio.run(run(bench, real=not options.devcluster, pods=pods, **measures))
    if options.plot is not None and growths:
        plot(growths, options.plot)


async def run(bench: Bench, *, real: bool, pods: int, **measures: Any) -> list[Growth]:
    """One bench in a cluster of its own, which has room for so many pods."""
    async with open_arena(real=real, pods=pods, **measures) as arena:
        arena.say("machine", cores=os.cpu_count(), load=os.getloadavg()[0])
        await bench(arena)
        return arena.growths


def parse() -> argparse.Namespace:
    """The command line; --smoke stands for a row of small sizes, after which others may follow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", default="", help="comma-separated: create, player, arrivals, gang, rest, store, tenants"
    )
    parser.add_argument("--sizes", default="8,256,1000,5000", help="nodes of one job")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1000, help="that arrive")
    parser.add_argument("--per-second", type=float, default=10.0)
    parser.add_argument("--jobs-at-rest", type=int, default=2000, help="of eight running pods each")
    parser.add_argument("--jobs-in-store", type=int, default=10000, help="suspended ones")
    parser.add_argument("--namespaces", type=int, default=500, help="with a quota")
    parser.add_argument("--jobs-of-each", type=int, default=20, help="in each namespace")
    parser.add_argument("--gang", type=int, default=256, help="nodes of the gang that restarts")
    parser.add_argument("--steps", default="8,4,2,1", help="to an eighth of the jobs at rest, a quarter, a half, all")
    parser.add_argument("--run-seconds", type=float, default=5.0, help="that a pod of an arriving job runs")
    parser.add_argument("--rest-seconds", type=float, default=20.0)
    parser.add_argument("--devcluster", action="store_true", help="not on a real kube-apiserver")
    parser.add_argument("--plot", type=Path, help="PNG file for how cost grows")
    parser.add_argument("--smoke", action="store_true", help="small sizes on the devcluster")
    known, rest = parser.parse_known_args()
    return parser.parse_args([*SMOKE, *rest], known) if known.smoke else parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
