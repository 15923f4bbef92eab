"""What one look at a large gang costs: the CPU of `reconcile` alone, of one that runs as it should and of one that has
just changed. Prints JSON lines.

    python tests/bench/bench_look.py [PODS]

Goal: at most 30 ms for 10,000 pods, since a look shares the event loop with everything else that the operator does.
"""

import json
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from footplate.api.scalars import format_time
from footplate.contract import CONTAINER_NAME
from footplate.machinery.slim import slim_node, slim_pod
from footplate.policy.plan import Observed
from footplate.policy.reconcile import reconcile

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LOOKS = 9
PODS_PER_NODE = 8
GOAL_MS_PER_10_000 = 30.0
Json = dict[str, Any]


def job(nodes: int) -> Json:
    """A TrainingJob as a user writes it."""
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "large", "namespace": "team", "uid": "job-uid", "generation": 1},
        "spec": {"trainer": {"image": "registry.example.com/trainer:1", "command": ["train"]}, "nodes": nodes},
    }


def node(name: str) -> Json:
    """A node that is ready."""
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": format_time(NOW - timedelta(hours=1))}
    return {"metadata": {"name": name, "resourceVersion": "1"}, "spec": {}, "status": {"conditions": [ready]}}


def running(manifest: Mapping[str, Any], rank: int) -> Json:
    """A created pod that a node has made run, as the store keeps it."""
    started = format_time(NOW - timedelta(minutes=1))
    condition = {"status": "True", "lastTransitionTime": started}
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        **manifest,
        "metadata": {**manifest["metadata"], "uid": f"pod-{rank}", "resourceVersion": str(rank + 1)},
        "spec": {**manifest["spec"], "nodeName": f"node-{rank // PODS_PER_NODE}"},
        "status": {
            "phase": "Running",
            "startTime": started,
            "podIP": "10.0.0.1",
            "conditions": [{"type": kind, **condition} for kind in kinds],
            "containerStatuses": [{"name": CONTAINER_NAME, "state": {"running": {"startedAt": started}}}],
        },
    }


def advance(observed: Observed) -> Observed:
    """The same job once its plan was carried out."""
    plan = reconcile(observed, now=NOW)
    made = {manifest["kind"]: manifest for manifest in plan.create}
    status = plan.status if plan.status is not None else observed.job.get("status")
    job = {**observed.job, **({"status": json.loads(json.dumps(status))} if status else {})}
    pods = [slim_pod(running(pod, rank)) for rank, pod in enumerate(p for p in plan.create if p["kind"] == "Pod")]
    config = made.get("ConfigMap", observed.run_config)
    return replace(observed, job=job, run_config=config, pods=pods or observed.pods)


def large_gang(pods: int) -> Observed:
    """A job whose gang runs, and whose status says so."""
    nodes = {name: slim_node(node(name)) for name in (f"node-{number}" for number in range(pods // PODS_PER_NODE + 1))}
    observed = Observed(job(pods), nodes=nodes)
    for _ in range(5):
        observed = advance(observed)
    return observed


def milliseconds(observed: Observed) -> float:
    """Median CPU of a look."""
    looks = []
    for _ in range(LOOKS):
        began = time.process_time()
        reconcile(observed, now=NOW)
        looks.append((time.process_time() - began) * 1e3)
    return statistics.median(looks)


def first_look(observed: Observed) -> float:
    """CPU of a look at pods that have never been looked at, as after a start of the operator."""
    fresh = replace(observed, pods=[slim_pod(pod) for pod in observed.pods])
    began = time.process_time()
    reconcile(fresh, now=NOW)
    return (time.process_time() - began) * 1e3


def main() -> None:
    """Prints what looks at gangs of several sizes cost."""
    for pods in [int(size) for size in sys.argv[1:]] or [8, 1_000, 10_000]:
        observed = large_gang(pods)
        first = statistics.median(first_look(observed) for _ in range(3))
        for case, cost in (("first", first), ("again", milliseconds(observed))):
            goal = GOAL_MS_PER_10_000 if case == "again" and pods == 10_000 else None
            line = {"bench": "look", "case": case, "pods": pods, "milliseconds": round(cost, 2), "goal": goal}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
