"""The beginning of a run: resolved, fixed, begun; or why not."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from footplate.policy.job import read_status
from footplate.policy.plan import Observed, Plan, Refusal
from footplate.policy.resolve import digest
from footplate.policy.run import run_config_name
from unit.policy.build import NOW, at, config_map, job, merged, names, plan_of, runtime, status

JSON = dict[str, Any]
REF = job({"runtimeRef": {"name": "torch"}})
FORBIDDEN = Refusal("ConfigMap", "fashion-run-1-0b9fb7b6", 403, "Forbidden", "exceeded quota")
TAKEN = Refusal(
    "ConfigMap", "fashion-run-1-0b9fb7b6", 409, "NameConflict", "ConfigMap fashion-run-1-0b9fb7b6 belongs to nobody"
)


def begin(of: JSON, **observed: Any) -> Plan:
    return plan_of(Observed(of, **observed), now=NOW)


def conditions(plan: Plan) -> dict[str, str]:
    return {c["type"]: c["status"] for c in (plan.status or {})["conditions"]}


def test_the_config_map_comes_first() -> None:
    plan = begin(job())
    assert names(plan.create) == ["ConfigMap/fashion-run-1-0b9fb7b6"]
    assert plan.status is None


def test_then_the_run_and_its_first_attempt_are_in_the_status() -> None:
    plan = begin(job(), run_config=config_map(job()))
    assert plan.status is not None
    assert (plan.status["run"], plan.status["attempt"], plan.status["phase"]) == (1, 0, "Pending")
    assert plan.status["nodes"]["summary"] == "0/2"
    assert plan.create == ()


def test_then_service_and_pods() -> None:
    first = begin(job(), run_config=config_map(job()))
    plan = begin({**job(), "status": first.status}, run_config=config_map(job()))
    assert names(plan.create) == ["Pod/fashion-1-0-0", "Pod/fashion-1-0-1", "Service/fashion-run-1-0b9fb7b6"]
    assert plan.status is None


def test_created_suspended() -> None:
    of = job({"runPolicy": {"suspend": True}})
    plan = begin(of, run_config=config_map(of))
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["attempts"]) == ("Suspended", [])


STALLS = [
    pytest.param(
        REF,
        {"runtime": runtime({"nodes": 1, "policy": {"allowed": []}})},
        "RuntimeRefuses",
        "spec.nodes = 2",
        id="the runtime refuses",
    ),
    pytest.param(REF, {"runtime": runtime({"nodes": -1})}, "InvalidSpec", "nodes = -1", id="an invalid runtime"),
    pytest.param(
        REF,
        {"runtime": {**runtime({"policy": {}}), "oversize": {"bytes": 1_000_000, "most": 262_144}}},
        "InvalidSpec",
        "takes 1000000 bytes",
        id="a runtime that is too big",
    ),
    pytest.param(job(), {"refusals": [FORBIDDEN]}, "PodsRefused", "exceeded quota", id="a quota is full"),
]


def test_a_runtime_may_come_after_its_job_before_anybody_is_called() -> None:
    """Who applies both at once, as GitOps does, gives up what is Stalled."""
    plan, seen = begin(REF), list[tuple[float, str]]()
    for after in (0, 30, 59, 60, 600):
        assert plan.status is not None
        assert plan.status["reason"] == "RuntimeNotFound"
        assert "there is no ClusterTrainingRuntime 'torch'" in plan.status["message"]
        of = {**REF, "status": plan.status}
        later = plan_of(Observed(of), now=NOW + timedelta(seconds=after))
        plan = later if later.status is not None else plan
        seen.append((after, ", ".join(conditions(plan))))
    assert seen == [
        (0, "Reconciling"), (30, "Reconciling"), (59, "Reconciling"), (60, "Stalled"), (600, "Stalled"),
    ]  # fmt: skip
    fixed = begin(of, runtime=runtime()).create
    assert [each["kind"] for each in fixed] == ["ConfigMap"]


def test_a_job_that_is_too_big_is_rejected_with_the_way_out() -> None:
    plan = begin({**job(), "oversize": {"bytes": 1_000_000, "most": 262_144}})
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Failed", "InvalidSpec")
    message = plan.status["message"]
    assert "1000000 bytes" in message
    assert "262144" in message
    assert "ConfigMap" in message


def test_a_job_for_which_there_is_no_room_waits_for_it() -> None:
    plan = begin({**job(), "oversize": {"bytes": 0, "most": 262_144}})
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"], conditions(plan)) == (
        "Pending",
        "InvalidSpec",
        {"Stalled": "True"},
    )
    assert "share of the operator's memory" in plan.status["message"]


def test_a_job_whose_status_is_too_big_to_read_is_left_alone() -> None:
    assert begin({**job(), "status": {"phase": "oversize"}}) == Plan()


@pytest.mark.parametrize(("of", "observed", "reason", "said"), STALLS)
def test_stalls_and_goes_on_by_itself(of: JSON, observed: JSON, reason: str, said: str) -> None:
    plan = begin(of, **observed)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Pending", reason)
    assert said in plan.status["message"]
    failing = {"ReplicaFailure": "True"} if reason == "PodsRefused" else {}
    assert conditions(plan) == {"Stalled": "True", **failing}
    assert plan.requeue_after == 30
    again = begin({**of, "status": plan.status}, **observed)
    wanted = (config_map(of),) if failing else ()
    assert (again.status, again.create, again.requeue_after) == (None, wanted, 30)
    fixed = begin({**job(), "status": plan.status}, run_config=config_map(job()))
    assert fixed.status is not None
    assert conditions(fixed) == {"Reconciling": "True"}


REJECTS = [
    pytest.param(job({"nodes": 0}), {}, "InvalidSpec", "nodes = 0", id="invalid"),
    pytest.param({**job(), "spec": "nonsense"}, {}, "InvalidSpec", "spec", id="no spec at all"),
    pytest.param(job(), {"refusals": [TAKEN]}, "NameConflict", "nothing of it was touched", id="name taken"),
]


@pytest.mark.parametrize(("of", "observed", "reason", "said"), REJECTS)
def test_rejected_for_good(of: JSON, observed: JSON, reason: str, said: str) -> None:
    plan = begin(of, **observed)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"], plan.status["run"]) == ("Failed", reason, 1)
    assert said in plan.status["message"]
    assert (plan.create, plan.delete) == ((), ())
    assert begin({**of, "status": plan.status}, **observed) == Plan()


def test_a_config_map_that_says_something_else_is_replaced() -> None:
    plan = begin(job({"nodes": 3}), run_config=merged(config_map(job()), {"metadata": {"uid": "u"}}))
    assert names(plan.delete) == ["ConfigMap/fashion-run-1-0b9fb7b6"]
    assert plan.delete[0].uid == "u"
    assert plan.status is None


def test_a_foreign_config_map_is_not_used() -> None:
    foreign = merged(config_map(job()), {"metadata": {"ownerReferences": []}})
    assert names(begin(job(), run_config=foreign).create) == ["ConfigMap/fashion-run-1-0b9fb7b6"]


def finished(**spec: Any) -> JSON:
    of = job({"runPolicy": {"restartNonce": "b"}, **spec})
    return {**of, "status": status(of, "Failed", completionTime=at(-5), restartNonce="a", transitions=[])}


def test_a_new_nonce_starts_a_new_run() -> None:
    of = finished()
    assert names(begin(of).create) == ["ConfigMap/fashion-run-2-0b9fb7b6"]
    plan = begin(of, run_config=config_map(of, run=2))
    assert plan.status is not None
    assert (plan.status["run"], plan.status["attempt"], plan.status["restartNonce"]) == (2, 0, "b")
    assert plan.status["restarts"]["total"] == 0
    assert "completionTime" not in plan.status


def test_a_new_run_that_stalls_is_a_new_run() -> None:
    of = finished(runtimeRef={"name": "torch"})
    plan = begin(of)
    assert plan.status is not None
    assert (plan.status["run"], plan.status["phase"]) == (2, "Pending")
    again = begin({**of, "status": plan.status})
    assert again.status is None


LOCKED = runtime({"runPolicy": {"restartNonce": "a"}, "policy": {"allowed": []}})


def test_a_nonce_that_the_runtimes_policy_locks_starts_no_run_and_is_told() -> None:
    of = finished(runtimeRef={"name": "torch"})
    begun = job({"runtimeRef": {"name": "torch"}})
    config = config_map(begun, runtime=LOCKED)
    resolved = {"configMap": "fashion-run-1-0b9fb7b6", "sha256": digest(config["data"]["job.json"])}
    artifact = {"uri": "s3://m/", "manifest": "s3://m/m", "sha256": "0" * 64, "sizeBytes": 1, "metrics": {}}
    of["status"] |= {"resolved": resolved, "artifact": artifact}
    assert run_config_name(of, read_status(of), runtime=LOCKED) == "fashion-run-1-0b9fb7b6"
    plan = begin(of, run_config=config, runtime=LOCKED)
    assert plan.status is not None
    assert (plan.status["run"], plan.status["phase"], plan.status["artifact"]) == (1, "Failed", artifact)
    assert conditions(plan)["EditsRefused"] == "True"
    assert [event.reason for event in plan.events] == ["EditRefused"]
    assert "restartNonce" in plan.events[0].message


@pytest.mark.parametrize("phase", ["Running", "Suspended", "Restarting"])
def test_a_nonce_waits_for_the_end_of_the_run(phase: str) -> None:
    of = job({"runPolicy": {"restartNonce": "b", "suspend": phase == "Suspended"}})
    plan = begin({**of, "status": status(of, phase)}, run_config=config_map(of))
    assert plan.status is None or plan.status["run"] == 1


def test_a_job_that_is_being_deleted_is_left_alone() -> None:
    assert begin(job(deletionTimestamp=at())) == Plan()


def run_to_its_end(of: JSON, nonce: str | None) -> JSON:
    """The job with this restartNonce, and after the run that it asks for, if it asks for one."""
    policy = {} if nonce is None else {"restartNonce": nonce}
    of = {**of, "spec": {**of["spec"], "runPolicy": policy}}
    due = begin(of)
    if not due.create:
        return of
    begun = begin(of, run_config=due.create[0])
    assert begun.status is not None
    return {**of, "status": {**begun.status, "phase": "Failed", "completionTime": at()}}


def runs(of: JSON, *nonces: str | None) -> list[int]:
    """The number of the run after each value."""
    numbers = []
    for nonce in nonces:
        of = run_to_its_end(of, nonce)
        numbers.append(of["status"]["run"])
    return numbers


NONCES = [
    pytest.param(["a", None], [1, 1], id="removed"),
    pytest.param(["a", ""], [1, 1], id="emptied"),
    pytest.param([None, "a", "b"], [1, 2, 3], id="new ones"),
    pytest.param(["a", "b", "a"], [1, 2, 2], id="a revert by GitOps"),
    pytest.param(["a", "b", "a", "b"], [1, 2, 2, 2], id="and its revert"),
    pytest.param(["a", "b", None, "a", "c"], [1, 2, 2, 2, 3], id="a new one after all that"),
]


@pytest.mark.parametrize(("nonces", "expected"), NONCES)
def test_only_a_nonce_that_the_job_never_had_starts_a_run(nonces: list[str | None], expected: list[int]) -> None:
    assert runs(job(), *nonces) == expected


def test_a_restored_copy_is_a_new_job() -> None:
    """A backup that brings the status back under another UID. That it needs no training is told by its storage."""
    of = run_to_its_end(run_to_its_end(job(), "a"), "b")
    copy = {**of, "metadata": {**of["metadata"], "uid": "another"}}
    assert runs(copy, "a", "b", "c") == [1, 2, 3]


def test_an_older_operators_status_knows_its_own_nonce() -> None:
    of = finished()
    assert of["status"].pop("restartNonces") == []
    assert runs(of, "a", None, "b", "a") == [1, 1, 2, 2]


def test_what_is_remembered_of_nonces_has_a_bound() -> None:
    of = job()
    for number in range(120):
        of = run_to_its_end(of, f"{number}" * 80)
    assert of["status"]["run"] == 120
    assert len(json.dumps(of["status"]["restartNonces"])) < 2_100


@pytest.mark.parametrize(
    ("said", "final"),
    [
        ('ConfigMap "fashion-run-1" is invalid: data: Too long: may not be more than 1048576 bytes', True),
        ("ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no", False),
        ('admission webhook "w" denied the request: ConfigMap "fashion-run-1" is invalid: no', False),
    ],
)
def test_of_the_config_map_too_the_schema_alone_is_final(said: str, final: bool) -> None:
    plan = begin(job(), refusals=[Refusal("ConfigMap", "fashion-run-1", 422, "Invalid", said)])
    assert plan.status is not None
    assert plan.status["reason"] == ("InvalidPod" if final else "PodsRefused")


def test_the_queue_deadline_counts_before_the_first_attempt() -> None:
    """It counts since the ConfigMap is refused: what the job waited for before, such as its runtime, isn't a queue."""
    of = job({"runPolicy": {"queueDeadlineSeconds": 20}})
    waited = {**of, "status": status(of, "Pending", attempts=[], resolved=None, startTime=at(-3600))}
    refused = replace(FORBIDDEN, since=NOW)
    plan = begin(waited, refusals=[refused])
    assert plan.status is not None
    assert (plan.status["phase"], plan.requeue_after) == ("Pending", 20)
    later = plan_of(Observed({**of, "status": plan.status}, refusals=[refused]), now=NOW + timedelta(seconds=20))
    assert later.status is not None
    assert (later.status["phase"], later.status["reason"]) == ("Failed", "QueueDeadlineExceeded")


def test_a_suspended_job_waits_in_no_queue() -> None:
    of = job({"runPolicy": {"queueDeadlineSeconds": 20, "suspend": True}})
    plan = begin(of, refusals=[replace(FORBIDDEN, since=NOW - timedelta(hours=1))])
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Pending", "PodsRefused")
