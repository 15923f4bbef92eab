"""What a scrape of an operator costs that has thousands of jobs in its stores: CPU and size of /metrics. Prints a JSON
line for jobs in a few namespaces, and one for more namespaces than become labels.

    python tests/bench/bench_operator_metrics.py [--jobs 5000]

Goal: less than 1 MB and 200 ms, since a scrape shares the event loop with everything else that the operator does.
"""

import argparse
import json
import statistics
import time
from typing import Any

from prometheus_client import generate_latest

from footplate.api.status import Phase
from footplate.machinery.cluster import Cluster
from footplate.machinery.metrics import Metrics
from footplate.policy.measures import Measures

SCRAPES = 9
RESOURCES = ("node", "nvidia.com/gpu", "amd.com/gpu", "nvidia.com/mig-1g.10gb", "habana.ai/gaudi", "example.com/npu")
GOAL_MILLISECONDS, GOAL_BYTES = 200.0, 1_000_000


def job(number: int, *, namespaces: int) -> dict[str, Any]:
    """A job as the operator's store has it."""
    phase = list(Phase)[number % len(Phase)]
    namespace = f"team-of-a-long-enough-name-{number % namespaces:04}"
    identity = {"uid": f"u{number}", "resourceVersion": str(number + 1)}
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": f"job-{number}", "namespace": namespace, **identity},
        "spec": {},
        "status": {"phase": phase, "usage": {"productiveSeconds": 5_000 + number, "lostSeconds": 1_000}},
    }


def bench(jobs: int, *, namespaces: int) -> None:
    """A store full of jobs, and metrics of what they hold."""
    metrics, cluster = Metrics(), Cluster(lambda _: None)
    metrics.jobs.serve(cluster.jobs.objects().values)
    for number in range(jobs):
        made = job(number, namespaces=namespaces)
        cluster.jobs.observe(made)
        spent = {RESOURCES[number % len(RESOURCES)]: {"productive": 5_000.5, "lost": 1_000.25}}
        metrics.jobs.count(made["metadata"]["namespace"], Measures(spent=spent, phase=(Phase.QUEUED, 3.0)))
    took = []
    for _ in range(SCRAPES):
        began = time.process_time()
        text = generate_latest(metrics.registry)
        took.append((time.process_time() - began) * 1e3)
    line = {
        "bench": "operator_metrics",
        "jobs": jobs,
        "namespaces": namespaces,
        "milliseconds": round(statistics.median(took), 1),
        "bytes": len(text),
        "goal_milliseconds": GOAL_MILLISECONDS,
        "goal_bytes": GOAL_BYTES,
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=5_000)
    options = parser.parse_args()
    for namespaces in (20, 250):
        bench(options.jobs, namespaces=namespaces)


if __name__ == "__main__":
    main()
