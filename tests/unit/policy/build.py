"""Builders: raw objects as the API server would show them, with what a test doesn't care about filled in."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from footplate.api.scalars import format_time
from footplate.api.status import TrainingJobStatus
from footplate.attempt_spec import run_name
from footplate.contract import CONTAINER_NAME, JobConfig
from footplate.objects import uid_of
from footplate.podspec import build_config_map
from footplate.policy.facts import parse_ranks
from footplate.policy.job import Job, gang_size, read_status
from footplate.policy.mutable import with_live_fields
from footplate.policy.plan import Observed, Plan
from footplate.policy.pods import Gang
from footplate.policy.reconcile import reconcile
from footplate.policy.resolve import digest, encode, resolve
from health.rules import unhealthy

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UID = "0b9fb7b6-0000-4000-8000-000000000001"
JSON = dict[str, Any]
FIELDS = ("nodes", "progress", "refusals", "status_written", "gang_state", "suspects")
"""Of what is observed, not of the status."""


def at(seconds: float = 0.0) -> str:
    """A timestamp so many seconds from `NOW`."""
    return format_time(NOW + timedelta(seconds=seconds))


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> JSON:
    """A deep copy of one with the other laid over it."""
    result = copy.deepcopy(dict(base))
    for key, value in over.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def job(spec: Mapping[str, Any] | None = None, *, status: JSON | None = None, **metadata: Any) -> JSON:
    """A TrainingJob of two nodes."""
    trainer = {"image": "registry.example.com/trainer:1", "recipe": "image-classification"}
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "fashion", "namespace": "team", "uid": UID, "generation": 1, **metadata},
        "spec": merged({"trainer": trainer, "nodes": 2}, spec or {}),
        **({"status": status} if status is not None else {}),
    }


REF = {"runtimeRef": {"name": "torch"}}


def bare_job(spec: Mapping[str, Any] | None = None, **metadata: Any) -> JSON:
    """A job that leaves all to its runtime."""
    raw = job(**metadata)
    return {**raw, "spec": merged({**REF, "trainer": {"recipe": "image-classification"}}, spec or {})}


def runtime(spec: Mapping[str, Any] | None = None, *, kind: str = "ClusterTrainingRuntime") -> JSON:
    """A runtime named torch."""
    return {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "torch", **({"namespace": "team"} if kind == "TrainingRuntime" else {})},
        "spec": dict(spec or {}),
    }


def node(name: str = "node-0", *, ready: str = "True", since: float = -3600, taints: Sequence[JSON] = ()) -> JSON:
    """A node that has been as it is for an hour."""
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": at(since)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"taints": list(taints)},
        "status": {"conditions": [condition]},
    }


def terminated(code: int, *, ended: float = 0, **more: Any) -> JSON:
    """State of a container that ended."""
    return {"terminated": {"exitCode": code, "finishedAt": at(ended), **more}}


def waiting(reason: str, message: str = "") -> JSON:
    """State of a container that can't start yet."""
    return {"waiting": {"reason": reason, "message": message}}


RUNNING: JSON = {"running": {"startedAt": at(-60)}}


def pod(
    rank: int = 0,
    *,
    phase: str = "Running",
    state: JSON | None = None,
    on: str | None = "node-0",
    run: int = 1,
    attempt: int = 0,
    name: str | None = None,
    owner: str = UID,
    conditions: Sequence[JSON] = (),
    deleted: float | None = None,
    grace: int = 120,
    started: float = -60,
    **status: Any,
) -> JSON:
    """A pod of the job; `deleted` is when somebody deleted it, in seconds from `NOW`."""
    if state is None:
        state = {"Running": RUNNING, "Succeeded": terminated(0), "Failed": terminated(1)}.get(phase, {})
    metadata: JSON = {
        "name": name or f"fashion-{run}-{attempt}-{rank}",
        "namespace": "team",
        "uid": f"uid-{run}-{attempt}-{rank}",
        "labels": {
            "footplate.dev/managed-by": "footplate",
            "footplate.dev/job": "fashion",
            "footplate.dev/run": str(run),
            "footplate.dev/attempt": str(attempt),
            "footplate.dev/rank": str(rank),
        },
        "ownerReferences": [{"kind": "TrainingJob", "name": "fashion", "uid": owner, "controller": True}],
    }
    if deleted is not None:
        metadata |= {"deletionTimestamp": at(deleted + grace), "deletionGracePeriodSeconds": grace}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": on} if on else {},
        "status": {
            "phase": phase,
            "startTime": at(started),
            "conditions": [*_scheduled(on, started), *conditions],
            "containerStatuses": [{"name": CONTAINER_NAME, "state": state}] if state else [],
            **status,
        },
    }


def _scheduled(on: str | None, started: float) -> list[JSON]:
    return [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(started)}] if on else []


def gang(*pods: JSON, nodes: int = 2, attempt: int = 0) -> Gang:
    """The bucketed pods of the job."""
    return Gang.of(pods, job(), run=1, attempt=attempt, nodes=nodes, now=NOW)


def config_map(of: JSON, *, runtime: JSON | None = None, run: int = 1) -> JSON:
    """The run's ConfigMap of a job."""
    config = resolve(of, runtime, run=run)
    return dict(build_config_map(config, encode(config), name=run_name("fashion", run, uid=uid_of(of))))


def status(
    of: JSON, phase: str = "Running", *, attempts: Sequence[JSON] | None = None, run: int = 1, **more: Any
) -> JSON:
    """The status of a job whose first attempt began ten minutes ago and, where it is Running, runs since five."""
    running = {"runningTime": at(-300)} if phase == "Running" else {}
    if attempts is None:
        attempts = [{"attempt": 0, "startTime": at(-600), "nodes": of["spec"]["nodes"], **running}]
    name = run_name("fashion", run, uid=uid_of(of))
    resolved = {"configMap": name, "sha256": digest(config_map(of)["data"]["job.json"])}
    if attempts and phase in ("Queued", "Starting", "Running"):
        attempts = [*attempts[:-1], {"createdTime": at(-599), **attempts[-1]}]
    raw = {
        "observedGeneration": 1,
        "phase": phase,
        "reason": "Testing",
        "message": "",
        "run": run,
        "restartNonce": "",
        "attempt": attempts[-1]["attempt"] if attempts else None,
        "resolved": resolved,
        "startTime": at(-600),
        "restarts": {},
        "attempts": list(attempts),
        **more,
    }
    return TrainingJobStatus.model_validate(raw).to_json()


def observe(of: JSON, *pods: JSON, phase: str = "Running", **more: Any) -> Observed:
    """A job in the middle of its first run; `more` are fields of the status or of what is observed."""
    fields = {name: more.pop(name) for name in FIELDS if name in more}
    fields.setdefault("nodes", {name: node(name) for name in ("node-0", "node-1", "node-2")})
    living = of if "status" in of else {**of, "status": status(of, phase, **more)}
    return Observed(living, pods, run_config=config_map(of), **fields)


def look(of: JSON, *pods: JSON, phase: str = "Running", after: float = 0.0, **more: Any) -> Plan:
    """What reconcile plans for a job in the middle of its first run, `after` so many seconds."""
    return plan_of(observe(of, *pods, phase=phase, **more), now=NOW + timedelta(seconds=after))


def situate(observed: Observed, *, after: float = 0.0) -> Job:
    """The job as the policies would see it."""
    config: JobConfig = resolve(observed.job, observed.runtime, run=1)
    read = read_status(observed.job)
    spec = with_live_fields(config, observed.job, observed.runtime).spec
    attempt = read.attempts[-1] if read.attempts else None
    number = attempt.attempt if attempt else -1
    now, nodes = NOW + timedelta(seconds=after), gang_size(spec, attempt)
    done = parse_ranks(attempt.succeeded_ranks if attempt else None, nodes=nodes)
    bucketed = Gang.of(observed.pods, observed.job, run=1, attempt=number, nodes=nodes, now=now, remembered=done)
    return Job(observed, now, read, config, spec, bucketed)


def names(objects: Iterable[Any]) -> list[str]:
    """Kinds and names of manifests or delete targets, sorted."""
    return sorted(
        f"{o['kind']}/{o['metadata']['name']}" if isinstance(o, Mapping) else f"{o.kind}/{o.name}" for o in objects
    )


def plan_of(observed: Observed, *, now: datetime) -> Plan:
    """What is done in the end where all that is observed is so, and the API server says that when it is asked."""
    plan = reconcile(observed, now=now)
    while plan.confirm:
        assert plan == Plan(confirm=plan.confirm), "done before it was confirmed"
        assert not plan.confirm <= observed.confirmed, "asked for what was confirmed"
        observed = replace(observed, confirmed=observed.confirmed | plan.confirm)
        plan = reconcile(observed, now=now)
    if plan.status is not None:
        judged = {"metadata": observed.job["metadata"], "status": plan.status}
        assert not [*unhealthy(judged)], "what generic tools make of it"
    return plan
