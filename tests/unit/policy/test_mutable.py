"""What a user may change on a living job."""

from typing import Any

import pytest

from footplate.api.trainingjob import TrainingJobSpec
from footplate.policy.mutable import with_live_fields
from footplate.policy.plan import Observed, Plan
from footplate.policy.reconcile import reconcile
from footplate.policy.resolve import digest, resolve
from unit.policy.build import NOW, config_map, job, merged, node, pod, runtime, status

JSON = dict[str, Any]


def live(created: JSON, edited: JSON, of: JSON | None = None) -> TrainingJobSpec:
    return with_live_fields(resolve(job(created), of, run=1), job(edited), of).spec


def test_live_fields_are_the_jobs() -> None:
    edit = {"suspend": True, "ttlSecondsAfterFinished": 7, "activeDeadlineSeconds": 8, "restartNonce": "x"}
    edit |= {"ttlKeepsJob": True, "maxRestarts": 9, "maxDisruptions": 10}
    spec = live({}, {"runPolicy": edit, "scheduling": {"priorityClassName": "high"}})
    assert spec.run_policy.suspend
    assert (spec.run_policy.ttl_seconds_after_finished, spec.run_policy.active_deadline_seconds) == (7, 8)
    assert (spec.run_policy.max_restarts, spec.run_policy.max_disruptions) == (9, 10)
    assert spec.run_policy.ttl_keeps_job
    assert spec.scheduling.priority_class_name == "high"


def test_a_field_that_is_taken_back_is_the_runtimes_again() -> None:
    assert not live({"runPolicy": {"suspend": True}}, {}).run_policy.suspend
    of = runtime({"runPolicy": {"activeDeadlineSeconds": 60}})
    assert live({"runPolicy": {"activeDeadlineSeconds": 5}}, {}, of).run_policy.active_deadline_seconds == 60


def test_other_fields_stay_as_they_were() -> None:
    spec = live({}, {"nodes": 5, "runPolicy": {"hangTimeoutSeconds": 99}, "trainer": {"image": "other"}})
    assert spec == live({}, {})


ELASTIC = {"nodes": 2, "elastic": {"minNodes": 1, "maxNodes": 4}}


@pytest.mark.parametrize(("nodes", "expected"), [(4, 4), (5, 2), (0, 2), ("x", 2)])
def test_nodes_of_an_elastic_job(nodes: Any, expected: int) -> None:
    assert live(ELASTIC, {**ELASTIC, "nodes": nodes}).nodes == expected


def test_an_invalid_field_doesnt_spoil_the_others() -> None:
    spec = live({}, {"runPolicy": {"activeDeadlineSeconds": -5, "suspend": True}})
    assert spec.run_policy.suspend
    assert spec.run_policy.active_deadline_seconds is None


LOW = {"scheduling": {"priorityClassName": "low"}, "runPolicy": {"activeDeadlineSeconds": 6000}}
HIGH = {"scheduling": {"priorityClassName": "high"}}


def bound(allowed: list[str] | None) -> JSON:
    return runtime({**LOW, "policy": {} if allowed is None else {"allowed": allowed}})


@pytest.mark.parametrize(("allowed", "expected"), [([], "low"), (["scheduling"], "high"), (None, "high")])
def test_a_policy_is_not_got_round_later(allowed: list[str] | None, expected: str) -> None:
    of = bound(allowed)
    edited = with_live_fields(resolve(job({}), of, run=1), job(HIGH), of)
    assert edited.spec.scheduling.priority_class_name == expected
    assert bool(edited.refused) == (expected == "low")


@pytest.mark.parametrize("now", [None, bound(None), runtime({})], ids=["gone", "opened", "emptied"])
def test_nor_when_the_runtime_has_changed(now: JSON | None) -> None:
    edited = with_live_fields(resolve(job({}), bound([]), run=1), job(HIGH), now)
    assert edited.spec.scheduling.priority_class_name == "low"
    assert [str(problem) for problem in edited.refused] == [
        "spec.scheduling.priorityClassName = \"high\": isn't the job's to change: the policy of its runtime doesn't "
        "allow it; set it back to 'low', or leave it out; until then it counts as unchanged"
    ]


def test_a_policy_that_is_stricter_by_now_counts() -> None:
    edited = with_live_fields(resolve(job({}), bound(None), run=1), job(HIGH), bound([]))
    assert (edited.spec.scheduling.priority_class_name, len(edited.refused)) == ("low", 1)


def test_what_the_runtime_says_itself_may_be_said() -> None:
    same = {"scheduling": {"priorityClassName": "low"}}
    assert with_live_fields(resolve(job({}), bound([]), run=1), job(same), bound([])).refused == []


def test_a_job_can_always_be_stopped() -> None:
    """But whoever keeps jobs suspended by a runtime isn't got round."""
    of = runtime({"runPolicy": {"suspend": False}, "policy": {"allowed": []}})
    edited = with_live_fields(resolve(job({}), of, run=1), job({"runPolicy": {"suspend": True}}), of)
    assert (edited.spec.run_policy.suspend, edited.refused) == (True, [])
    of = runtime({"runPolicy": {"suspend": True}, "policy": {"allowed": []}})
    edited = with_live_fields(resolve(job({}), of, run=1), job({"runPolicy": {"suspend": False}}), of)
    assert (edited.spec.run_policy.suspend, len(edited.refused)) == (True, 1)


def test_an_edit_that_breaks_a_rule_is_told() -> None:
    """As where a cluster has no schema that would have refused it."""
    edited = with_live_fields(resolve(job({}), None, run=1), job({"runPolicy": {"activeDeadlineSeconds": -5}}), None)
    [problem] = edited.refused
    assert str(problem).startswith("spec.runPolicy.activeDeadlineSeconds = -5: must be at least 1")


def conditions(plan: Plan) -> list[str]:
    return [c["type"] for c in (plan.status or {})["conditions"] if c["status"] == "True"]


def test_a_refused_edit_is_a_condition_and_an_event_until_it_is_taken_back() -> None:
    of, blueprint = job({"runtimeRef": {"name": "torch"}}), bound([])
    config = config_map(of, runtime=blueprint)
    living = status(job())
    living["resolved"]["sha256"] = digest(config["data"]["job.json"])

    def see(of: JSON) -> Plan:
        return reconcile(Observed(of, (pod(0), pod(1)), run_config=config, nodes={"node-0": node()}), now=NOW)

    edited = {**merged(of, {"spec": HIGH}), "status": living}
    told = see(edited)
    assert conditions(told) == ["Running", "EditsRefused"]
    [event] = [event for event in told.events if event.reason == "EditRefused"]
    assert (event.type, "spec.scheduling.priorityClassName" in event.message) == ("Warning", True)
    again = see({**edited, "status": told.status})
    assert (again.status, again.events) == (None, ())
    taken_back = see({**of, "status": told.status})
    assert conditions(taken_back) == ["Running"]
    assert taken_back.events == ()
