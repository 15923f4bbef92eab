"""Accelerators that rest: what is known of them, when it is said, and when they are given back."""

from dataclasses import replace
from typing import Any

import pytest

from footplate.contract import Progress
from footplate.policy.plan import Plan
from unit.policy.build import NOW, UID, at, job, observe, plan_of, pod

JSON = dict[str, Any]
GPUS = {"resources": {"limits": {"nvidia.com/gpu": 4}}}
HOURS_AGO = [{"attempt": 0, "startTime": at(-8000), "createdTime": at(-7990), "runningTime": at(-7900), "nodes": 2}]


def said(idle: float | None, stepped: float | None = -7200) -> Progress:
    progress = {} if stepped is None else {"step": 9, "lastStepTime": at(stepped), "updateTime": at(stepped)}
    raw = {"uid": UID, "run": 1, "attempt": 0, "progress": progress, "deviceIdleSeconds": idle}
    return Progress.model_validate({key: value for key, value in raw.items() if value is not None})


def policy(**idle: Any) -> JSON:
    spec = {"namespaceSelector": {}, "idle": idle}
    return {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingPolicy", "metadata": {"name": "p"}, "spec": spec}


def seen(progress: Progress, *policies: JSON, spec: JSON = GPUS, **more: Any) -> Plan:
    of = job(spec)
    pods = [pod(rank) for rank in range(of["spec"]["nodes"])]
    attempts = [{**HOURS_AGO[0], "nodes": of["spec"]["nodes"]}]
    observed = observe(of, *pods, progress=progress, attempts=attempts, runningTime=at(-7900), **more)
    return plan_of(replace(observed, policies=policies), now=NOW)


def idle_since(plan: Plan) -> str | None:
    assert plan.status is not None
    since: str | None = plan.status.get("idleSince")
    return since


def test_it_is_said_once_after_an_hour() -> None:
    plan = seen(said(3600))
    assert idle_since(plan) == at(-3600)
    assert "IdleAccelerators" in [event.reason for event in plan.events]
    assert plan.status is not None
    assert plan.status["message"].endswith("no accelerator of node 0 has worked, for 1h")
    again = seen(said(3660), idleSince=at(-3600))
    assert "IdleAccelerators" not in [event.reason for event in again.events]


@pytest.mark.parametrize(
    ("progress", "spec"),
    [
        (said(3540), GPUS),
        (said(7200, stepped=-60), GPUS),
        (said(None), GPUS),
        (said(7200, stepped=None), GPUS),
        (said(7200), {}),
    ],
    ids=["not yet", "steps are made", "nobody measures", "other nodes may work", "no accelerators"],
)
def test_nothing_is_said_of(progress: Progress, spec: JSON) -> None:
    plan = seen(progress, policy(afterSeconds=3600, action="Stop"), spec=spec)
    assert idle_since(plan) is None
    assert plan.status is not None
    assert plan.status["phase"] == "Running"


def test_one_node_that_reports_no_steps_is_judged_by_its_devices() -> None:
    assert idle_since(seen(said(7200, stepped=None), spec=GPUS | {"nodes": 1})) == at(-7200)


def test_a_gang_that_works_again_isnt_idle() -> None:
    assert idle_since(seen(said(0), idleSince=at(-3600))) is None


def test_a_policy_gives_them_back() -> None:
    stop, warn = policy(afterSeconds=7000, action="Stop"), policy(afterSeconds=600)
    plan = seen(said(7200), warn, stop)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Failed", "IdleAccelerators")
    assert "a TrainingPolicy of this namespace ends such runs" in plan.status["message"]
    assert seen(said(6000), warn, stop).status["phase"] == "Running"  # type: ignore[index]


def test_a_policy_that_warns_ends_nothing() -> None:
    plan = seen(said(600, stepped=-600), policy(afterSeconds=600, action="Warn"))
    assert idle_since(plan) == at(-600)
    assert plan.status is not None
    assert plan.status["phase"] == "Running"
