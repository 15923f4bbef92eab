"""The run's ConfigMap while the run lives."""

from typing import Any

import pytest

from footplate.policy.plan import Doubt, Observed, Plan, Refusal
from footplate.policy.reconcile import reconcile
from unit.policy.build import NOW, at, config_map, job, merged, names, node, plan_of, pod, status

JSON = dict[str, Any]
NODES = {"node-0": node("node-0")}


def without(of: JSON, *pods: JSON, phase: str = "Running", found: JSON | None = None, **more: Any) -> Plan:
    refusals = more.pop("refusals", ())
    living = {**of, "status": status(job(), phase, **more)}
    return plan_of(Observed(living, pods, NODES, run_config=found, refusals=refusals), now=NOW)


GANG = pod(0), pod(1)


@pytest.mark.parametrize("phase", ["Queued", "Starting", "Running"])
def test_it_is_put_back(phase: str) -> None:
    plan = without(job(), *GANG, phase=phase)
    assert (plan.create, plan.delete) == ((config_map(job()),), ())


def test_it_is_put_back_before_the_pods_that_mount_it() -> None:
    plan = without(job(), phase="Pending")
    first, *others = (each["kind"] for each in plan.create)
    assert (first, *sorted(others)) == ("ConfigMap", "Pod", "Pod", "Service")


def test_it_is_put_back_after_a_live_field_changed() -> None:
    edited = job({"runPolicy": {"suspend": True}, "scheduling": {"priorityClassName": "high"}})
    assert names(without(edited).create) == ["ConfigMap/fashion-run-1-0b9fb7b6"]


def test_it_is_asked_first_whether_the_job_is_still_there() -> None:
    """The ConfigMap of a job that was deleted unseen has gone with it."""
    living = {**job(), "status": status(job())}
    assert reconcile(Observed(living, GANG, NODES), now=NOW) == Plan(
        confirm=frozenset({Doubt("TrainingJob", "fashion")})
    )


def test_an_altered_one_goes_first_and_no_pod_is_made_beside_it() -> None:
    plan = without(job(), phase="Pending", found=merged(config_map(job()), {"data": {"job.json": "{}"}}))
    assert names(plan.delete) == ["ConfigMap/fashion-run-1-0b9fb7b6"]
    assert plan.create == ()


def refusal(code: int, reason: str) -> Refusal:
    return Refusal("ConfigMap", "fashion-run-1-0b9fb7b6", code, reason, "no")


def test_a_refusal_is_told_and_the_create_is_wanted_still() -> None:
    plan = without(job(), *GANG, refusals=[refusal(403, "Forbidden")])
    assert (plan.create, plan.delete) == ((config_map(job()),), ())
    assert plan.status is not None
    assert plan.status["conditions"][-1]["type"] == "ReplicaFailure"
    assert (plan.status["phase"], plan.status["reason"]) == ("Running", "PodsRefused")
    assert plan.status["message"] == "ConfigMap fashion-run-1-0b9fb7b6 was refused: no"
    assert [event.type for event in plan.events] == ["Warning"]


@pytest.mark.parametrize("code", [400, 403, 422])
def test_no_refusal_ends_a_run_that_has_its_pods(code: int) -> None:
    said = Refusal("ConfigMap", "fashion-run-1", code, "Invalid", 'ConfigMap "fashion-run-1" is invalid: data')
    plan = without(job(), *GANG, refusals=[said])
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
    assert plan_of(Observed({**job(), "status": begun}), now=NOW).create[0] == found


@pytest.mark.parametrize("phase", ["Suspending", "Suspended", "Restarting"])
def test_of_a_job_at_rest_the_condition_alone_tells_of_a_refusal(phase: str) -> None:
    """Nobody would take it back there once the create succeeds."""
    rests = job({"runPolicy": {"suspend": phase != "Restarting"}})
    said = {"reason": "SuspendedByUser", "message": "it rests"}
    ended = [{"attempt": 0, "startTime": at(-600), "endTime": at(-1), "reason": "UserError", "nodes": 2}]
    later = {"restartTime": at(60)} if phase == "Restarting" else {}
    pods = [] if phase != "Suspending" else [*GANG]
    plan = without(rests, *pods, phase=phase, attempts=ended, refusals=[refusal(403, "Forbidden")], **said, **later)
    assert plan.status is not None
    assert names(plan.create) == ["ConfigMap/fashion-run-1-0b9fb7b6"]
    assert (plan.status["phase"], plan.status["message"]) == (phase, "it rests")
    [failure] = [each for each in plan.status["conditions"] if each["type"] == "ReplicaFailure"]
    assert (failure["status"], failure["reason"]) == ("True", "FailedCreate")
