"""What a user may change on a living job."""

from typing import Any

import pytest

from footplate.api.trainingjob import TrainingJobSpec
from footplate.policy.mutable import with_live_fields
from footplate.policy.resolve import resolve
from unit.policy.build import job, runtime

JSON = dict[str, Any]


def live(created: JSON, edited: JSON, of: JSON | None = None) -> TrainingJobSpec:
    return with_live_fields(resolve(job(created), of, run=1).spec, job(edited), of)


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


@pytest.mark.parametrize(("allowed", "expected"), [([], "low"), (["scheduling"], "high"), (None, "high")])
def test_a_policy_is_not_got_round_later(allowed: list[str] | None, expected: str) -> None:
    policy = {} if allowed is None else {"allowed": allowed}
    of = runtime({"scheduling": {"priorityClassName": "low"}, "policy": policy})
    spec = live({}, {"scheduling": {"priorityClassName": "high"}}, of)
    assert spec.scheduling.priority_class_name == expected
