"""Which pods and objects go, and when."""

from datetime import timedelta
from typing import Any

import pytest

from footplate.policy.plan import Observed, Target
from footplate.policy.reconcile import reconcile
from unit.policy.build import NOW, UID, at, job, look, names, pod, runtime, status

JSON = dict[str, Any]
OBJECTS = ["ConfigMap/fashion-run-1-0b9fb7b6", "Service/fashion-run-1-0b9fb7b6"]
ENDED = (pod(0, phase="Succeeded"), pod(1, phase="Failed"))


@pytest.mark.parametrize(
    ("keep", "phase", "deleted"),
    [
        ("onSuccess", "Succeeded", ["Pod/fashion-1-0-0", "Pod/fashion-1-0-1"]),
        ("onSuccess", "Failed", []),
        ("always", "Failed", ["Pod/fashion-1-0-0", "Pod/fashion-1-0-1"]),
        ("never", "Succeeded", []),
        ("never", "Failed", []),
    ],
)
def test_ended_pods(keep: str, phase: str, deleted: list[str]) -> None:
    plan = look(job({"runPolicy": {"cleanPods": keep}}), *ENDED, phase=phase, completionTime=at())
    assert names(plan.delete) == deleted


@pytest.mark.parametrize("keep", ["onSuccess", "always", "never"])
def test_living_and_older_pods_always_go(keep: str) -> None:
    pods = (pod(0), pod(1, deleted=-5), pod(0, attempt=7, phase="Failed"))
    plan = look(job({"runPolicy": {"cleanPods": keep}}), *pods, phase="Failed", completionTime=at())
    assert names(plan.delete) == ["Pod/fashion-1-0-0", "Pod/fashion-1-7-0"]


TTL = {"runPolicy": {"cleanPods": "never", "ttlSecondsAfterFinished": 60}}


def test_time_to_live_runs() -> None:
    plan = look(job(TTL), *ENDED, phase="Failed", completionTime=at(-20))
    assert (plan.delete, plan.requeue_after) == ((), 40)


def test_an_expired_job_is_deleted_as_a_jobs_is() -> None:
    """With what it owns, which goes by its ownerReferences; unless it has changed since, as by a new restartNonce."""
    plan = look(job(TTL, resourceVersion="7"), *ENDED, phase="Failed", completionTime=at(-60))
    assert plan.delete == (Target("TrainingJob", "team", "fashion", UID, "7"),)
    assert plan.status is None


def test_a_job_that_is_to_run_again_is_not_deleted() -> None:
    of = job({"runPolicy": {**TTL["runPolicy"], "restartNonce": "again"}})
    living = {**of, "status": status(of, "Failed", completionTime=at(-9999))}
    plan = reconcile(Observed(living, ENDED), now=NOW)
    assert (plan.delete, names(plan.create)) == ((), ["ConfigMap/fashion-run-2-0b9fb7b6"])


@pytest.mark.parametrize("phase", ["Running", "Suspended", "Restarting", "Pending"])
def test_a_job_that_is_not_finished_is_not_deleted(phase: str) -> None:
    plan = look(job(TTL), phase=phase, completionTime=at(-9999))
    assert "TrainingJob/fashion" not in names(plan.delete)


@pytest.mark.parametrize("ttl", [-1, "60", None, True, 10**12])
def test_a_time_to_live_that_is_none_deletes_nothing(ttl: Any) -> None:
    """Of a run that never had a ConfigMap nobody has checked the spec."""
    of = job({"runPolicy": {"ttlSecondsAfterFinished": ttl}})
    living = {**of, "status": status(job(), "Failed", completionTime=at(-9999))}
    assert "TrainingJob/fashion" not in names(reconcile(Observed(living), now=NOW).delete)


@pytest.mark.parametrize("theirs", [False, True])
def test_a_job_that_never_began_expires_too(theirs: bool) -> None:
    """Its spec was invalid, or somebody deleted its ConfigMap; the time to live may be its runtime's."""
    of = job({"nodes": 0} if theirs else {"nodes": 0, **TTL})
    living = {**of, "status": status(job(), "Failed", completionTime=at(-20))}
    found = runtime(TTL) if theirs else None
    plan = reconcile(Observed(living, runtime=found), now=NOW)
    assert plan.requeue_after == 40
    later = reconcile(Observed({**living, "status": plan.status}, runtime=found), now=NOW + timedelta(seconds=40))
    assert names(later.delete) == ["TrainingJob/fashion"]


KEEPS = {"runPolicy": {**TTL["runPolicy"], "ttlKeepsJob": True}}


def test_pods_go_before_the_config_map() -> None:
    plan = look(job(KEEPS), *ENDED, phase="Failed", completionTime=at(-60))
    assert names(plan.delete) == ["Pod/fashion-1-0-0", "Pod/fashion-1-0-1"]
    assert "resolved" in (plan.status or status(job()))


def test_expired_job_keeps_its_record_alone() -> None:
    """Its status names the ConfigMap until that is gone: a delete that fails is planned again."""
    plan = look(job(KEEPS), phase="Failed", completionTime=at(-60))
    assert names(plan.delete) == OBJECTS
    assert "resolved" in (plan.status or status(job()))
    gone = reconcile(Observed({**job(KEEPS), "status": status(job(KEEPS), "Failed", completionTime=at(-60))}), now=NOW)
    assert gone.status is not None
    assert "resolved" not in gone.status
    assert look({**job(KEEPS), "status": gone.status}).delete == ()


def test_crash_between_the_two_deletes_is_made_good() -> None:
    """The ConfigMap is gone, the Service and the status aren't."""
    of = job(KEEPS)
    living = {**of, "status": status(of, "Failed", completionTime=at(-60))}
    plan = reconcile(Observed(living, [pod(0)]), now=NOW)
    assert names(plan.delete) == ["Pod/fashion-1-0-0", "Service/fashion-run-1-0b9fb7b6"]
    assert plan.status is not None
    assert "resolved" not in plan.status
