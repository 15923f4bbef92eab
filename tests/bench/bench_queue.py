"""A week of random arrivals in six namespaces that share 128 accelerators: the operator's line, and beside it the same
jobs in one line, first come, first served.

Prints JSON lines: utilisation (what was held, and what of it trained), mean and worst wait of each namespace in hours,
jobs taken back, and how often a quota or the pool was exceeded, which must be never. `--seeds 20` for more weeks.
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from footplate.policy.claims import Quota
from queue_world import GPU, WEEK, Report, World, arrivals, by_namespace, first_come

QUOTAS = {"vision": 48, "speech": 32, "search": 16, "ads": 16, "robots": 8, "thesis": 8}


def week(seed: int, *, load: float) -> tuple[Report, Report]:
    """The line's report, and first come, first served."""
    jobs = arrivals(seed, QUOTAS, seconds=WEEK, load=load)
    quotas = {name: Quota({GPU: own}, {GPU: None}) for name, own in QUOTAS.items()}
    return World(jobs, quotas).run(WEEK, finish=True), first_come(jobs, sum(QUOTAS.values()), seconds=WEEK)


def describe(report: Report) -> dict[str, object]:
    """Figures of one week."""
    waits = {name: dict(zip(("mean", "worst"), report.waits(name), strict=True)) for name in by_namespace(report.jobs)}
    return {
        "utilisation": round(report.utilisation(WEEK), 4),
        "goodput": round(report.goodput(WEEK), 4),
        "wait_hours": {name: {k: round(v, 2) for k, v in each.items()} for name, each in waits.items()},
        "never_started": sum(job.started is None for job in report.jobs),
        "reclaims": report.reclaims,
        "violations": len(report.violations),
        "longest_wait_within_quota_minutes": round(report.longest_right / 60, 1),
    }


def main() -> None:
    """Prints a line for each week and each rule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--load", type=float, default=0.85)
    options = parser.parse_args()
    for seed in range(options.seeds):
        began = time.perf_counter()
        line, fifo = week(seed, load=options.load)
        took = time.perf_counter() - began
        head = {"bench": "queue", "seed": seed, "load": options.load, "jobs": len(line.jobs)}
        settles = {"settles": line.settles, "seconds": round(took, 2)}
        print(json.dumps({**head, "rule": "quota", **describe(line), **settles}), flush=True)
        print(json.dumps({**head, "rule": "fifo", **describe(fifo)}), flush=True)


if __name__ == "__main__":
    main()
