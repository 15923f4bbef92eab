"""The operator as a whole among hundreds of hostile objects: it lives, errs nowhere, and holds up nobody else."""

import asyncio
import json
import random
import re
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from footplate.devcluster.client import MERGE
from footplate.errors import ApiError
from fuzz.grammar import mutated
from fuzz.subjects import GRAMMAR
from integration.test_operator_machinery import JOBS, Bench, bare, bench, probe, until
from trainer_pods import free_port
from unit.policy.build import job
from unit.policy.test_fuzz import FULL_STATUS, SPEC

__all__ = ["bare", "bench"]  # fixtures

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(200)]

HOSTILE = "/apis/footplate.dev/v1alpha1/namespaces/hostile/trainingjobs"
PODS = "/api/v1/namespaces/hostile/pods"
MANIFESTS = 200
PATIENCE = 3.0
"""Seconds more than alone that another namespace's job may take to its pods, on a busy machine with two cores."""


def spec_of(rng: random.Random) -> Any:
    """Sound ones, by the grammar and nearly; no gang of thousands, which a devcluster's API would take long for."""
    spec: Any = {**job()["spec"], **dict(GRAMMAR.field(rng) for _ in range(2))}
    if rng.random() < 0.6:
        spec = mutated(rng.choice((SPEC, GRAMMAR.spec(rng))), rng)
    if isinstance(spec, dict):
        spec = {key: value for key, value in spec.items() if key != "elastic"}
        if type(spec.get("nodes")) is int:
            spec["nodes"] = min(spec["nodes"], 4)
    return spec


async def send(bench: Bench, method: str, path: str, body: Any, **options: Any) -> bool:
    """Whether the API server has taken it."""
    try:
        json.dumps(body, allow_nan=False).encode()
        await bench.client.request(method, path, body, **options)
    except (ApiError, ValueError, RecursionError, aiohttp.ClientError):
        return False
    return True


async def pour(bench: Bench) -> dict[str, int]:
    """Jobs, then statuses and pods of others' making for those that were taken; how many of each were."""
    taken = {"jobs": 0, "statuses": 0, "pods": 0}
    for number in range(MANIFESTS):
        rng = random.Random(f"hostile/{number}")
        name = f"h-{number}"
        of = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}}
        if not await send(bench, "POST", HOSTILE, {**of, "spec": spec_of(rng)}):
            continue
        taken["jobs"] += 1
        uid = (await bench.client.request("GET", f"{HOSTILE}/{name}"))["metadata"]["uid"]
        status = mutated(FULL_STATUS, rng, most=1)
        taken["statuses"] += await send(bench, "PATCH", f"{HOSTILE}/{name}/status", {"status": status}, kind=MERGE)
        owner = {"apiVersion": of["apiVersion"], "kind": of["kind"], "name": name, "uid": rng.choice((uid, "another"))}
        labels = {"footplate.dev/managed-by": "footplate", "footplate.dev/job": name, "footplate.dev/rank": "x"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{name}-1-0-9", "labels": labels, "ownerReferences": [{**owner, "controller": True}]},
            "spec": {"containers": [{"name": "trainer", "image": "x"}]},
        }
        taken["pods"] += await send(bench, "POST", PODS, pod)
    return taken


async def seconds_to_pods(bench: Bench, name: str) -> float:
    began = time.monotonic()
    await bench.apply(name)
    await bench.until_created(name)
    return time.monotonic() - began


async def test_a_namespace_of_hostile_objects_harms_nobody_but_itself(bench: Bench, tmp_path: Path) -> None:
    port = free_port()
    async with bench.operator(port=port):
        await bench.make("Namespace", "hostile")
        alone = await seconds_to_pods(bench, "first")
        pouring = asyncio.create_task(pour(bench))
        among = [await seconds_to_pods(bench, f"good-{number}") for number in range(5)]
        taken = await pouring
        among += [await seconds_to_pods(bench, f"later-{number}") for number in range(3)]
        errors: list[str] = []

        async def quiet() -> bool:
            """No key waits for a worker."""
            _, text = await probe(port, "/metrics")
            errors[:] = re.findall(r'footplate_reconciliations_total\{result="error"\} ([0-9.]+)', text)
            return "footplate_workqueue_depth 0.0" in text

        await until(quiet)
        assert (await probe(port, "/livez"))[0] == 200
    print(
        f"taken by the API server: {taken}; to the pods of others: alone {alone:.2f} s, among them {max(among):.2f} s"
    )
    assert taken["jobs"] > 30
    assert taken["statuses"] > 5
    assert errors == ["0.0"], "some look ended in an error that nobody expects"
    assert max(among) < alone + PATIENCE
    elsewhere = [write for write in bench.writes if "/namespaces/hostile/" not in write and JOBS[:-13] not in write]
    named = [write for write in elsewhere if "/namespaces/default/" not in write]
    assert named == [], "written outside of the namespaces of jobs"
    own = re.compile(r"/(h-\d+|events)|/(pods|services|configmaps)(\?|$)")
    assert [write for write in bench.writes if "/namespaces/hostile/" in write and not own.search(write)] == []
