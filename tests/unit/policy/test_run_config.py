"""The run's ConfigMap while the run lives."""

from typing import Any

import pytest

from footplate.policy.plan import Observed, Plan, Refusal
from footplate.policy.reconcile import reconcile
from unit.policy.build import NOW, at, config_map, job, merged, names, pod, status

JSON = dict[str, Any]


def without(of: JSON, *pods: JSON, phase: str = "Running", found: JSON | None = None, **more: Any) -> Plan:
    refusals = more.pop("refusals", ())
    living = {**of, "status": status(job(), phase, **more)}
    return reconcile(Observed(living, pods, run_config=found, refusals=refusals), now=NOW)


@pytest.mark.parametrize("phase", ["Pending", "Running", "Suspended", "Restarting"])
def test_it_is_put_back(phase: str) -> None:
    plan = without(job(), pod(0), phase=phase)
    assert plan.create == (config_map(job()),)
    assert (plan.status, plan.delete) == (None, ())


def test_it_is_put_back_after_a_live_field_changed() -> None:
    edited = job({"runPolicy": {"suspend": True}, "scheduling": {"priorityClassName": "high"}})
    assert names(without(edited).create) == ["ConfigMap/fashion-run-1-0b9fb7b6"]


def test_an_altered_one_goes_first() -> None:
    plan = without(job(), found=merged(config_map(job()), {"data": {"job.json": "{}"}}))
    assert names(plan.delete) == ["ConfigMap/fashion-run-1-0b9fb7b6"]


def refusal(code: int, reason: str) -> Refusal:
    return Refusal("ConfigMap", "fashion-run-1-0b9fb7b6", code, reason, "no")


def test_a_refusal_is_told_and_the_create_is_wanted_still() -> None:
    plan = without(job(), refusals=[refusal(403, "Forbidden")])
    assert (plan.create, plan.delete) == ((config_map(job()),), ())
    assert plan.status is not None
    assert plan.status["conditions"][-1]["type"] == "ReplicaFailure"
    assert (plan.status["phase"], plan.status["reason"]) == ("Running", "PodsRefused")
    assert plan.status["message"] == "ConfigMap fashion-run-1-0b9fb7b6 was refused: no"
    assert [event.type for event in plan.events] == ["Warning"]


@pytest.mark.parametrize("code", [400, 403, 422])
def test_no_refusal_ends_a_run_that_has_its_pods(code: int) -> None:
    said = Refusal("ConfigMap", "fashion-run-1", code, "Invalid", 'ConfigMap "fashion-run-1" is invalid: data')
    plan = without(job(), pod(0), refusals=[said])
    assert plan.status is not None
    assert plan.status["phase"] == "Running"


@pytest.mark.parametrize(
    ("of", "refusals", "reason"),
    [
        (job({"nodes": 3}), [], "RunConfigLost"),
        (job({"nodes": 0}), [], "RunConfigLost"),
        (job(), [refusal(409, "NameConflict")], "NameConflict"),
    ],
)
def test_the_run_ends_where_it_cant_be(of: JSON, refusals: list[Refusal], reason: str) -> None:
    plan = without(of, pod(0), refusals=refusals)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Failed", reason)
    assert plan.status["attempts"][-1]["reason"] == reason
    after = reconcile(Observed({**of, "status": plan.status}, [pod(0), pod(1, phase="Failed")]), now=NOW)
    assert names(after.delete) == ["Pod/fashion-1-0-0", "Service/fashion-run-1-0b9fb7b6"]


def test_a_finished_run_doesnt_need_it() -> None:
    plan = without(job(), pod(0, phase="Failed"), phase="Failed", completionTime=at(-9))
    assert plan.create == ()
    assert names(plan.delete) == ["Service/fashion-run-1-0b9fb7b6"]


def begun_under_the_old_name() -> tuple[JSON, JSON]:
    """The status and the ConfigMap of a run from before a job's UID was in the names."""
    attempts = [
        {"attempt": 0, "startTime": at(-600), "endTime": at(-10), "reason": "UserError", "nodes": 2},
        {"attempt": 1, "startTime": at(-1), "nodes": 2},
    ]
    begun = status(job(), "Restarting", attempts=attempts)
    begun["resolved"]["configMap"] = "fashion-run-1"
    return begun, merged(config_map(job()), {"metadata": {"name": "fashion-run-1"}})


def test_a_run_keeps_the_name_that_it_began_with() -> None:
    begun, found = begun_under_the_old_name()
    service, *pods = reconcile(Observed({**job(), "status": begun}, run_config=found), now=NOW).create
    assert service["metadata"]["name"] == "fashion-run-1"
    assert len(pods) == 2
    for made in pods:
        assert made["spec"]["volumes"][0]["configMap"]["name"] == made["spec"]["subdomain"] == "fashion-run-1"
        [address] = [
            each["value"] for each in made["spec"]["containers"][0]["env"] if each["name"] == "PET_MASTER_ADDR"
        ]
        assert address == "fashion-1-1-0.fashion-run-1"


def test_it_is_put_back_under_the_name_that_it_had() -> None:
    begun, found = begun_under_the_old_name()
    assert reconcile(Observed({**job(), "status": begun}), now=NOW).create == (found,)


@pytest.mark.parametrize("phase", ["Suspending", "Suspended", "Restarting"])
def test_of_a_job_at_rest_the_condition_alone_tells_of_a_refusal(phase: str) -> None:
    """Nobody would take it back there once the create succeeds."""
    plan = without(job(), phase=phase, refusals=[refusal(403, "Forbidden")], message="suspended")
    assert plan.status is not None
    assert names(plan.create) == ["ConfigMap/fashion-run-1-0b9fb7b6"]
    assert (plan.status["phase"], plan.status["reason"], plan.status["message"]) == (phase, "Testing", "suspended")
    [failure] = [each for each in plan.status["conditions"] if each["type"] == "ReplicaFailure"]
    assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
