"""Which pods and objects go, and when."""

from typing import Any

import pytest

from footplate.policy.plan import Observed
from footplate.policy.reconcile import reconcile
from unit.policy.build import NOW, at, job, look, names, pod, status, waiting
from unit.policy.fakecluster import FakeCluster

JSON = dict[str, Any]
OBJECTS = ["ConfigMap/fashion-run-1", "Service/fashion-run-1"]
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


def test_pods_go_before_the_config_map() -> None:
    plan = look(job(TTL), *ENDED, phase="Failed", completionTime=at(-60))
    assert names(plan.delete) == ["Pod/fashion-1-0-0", "Pod/fashion-1-0-1"]
    assert "resolved" in (plan.status or status(job()))


def test_expired_job_keeps_its_record_alone() -> None:
    """Its status names the ConfigMap until that is gone: a delete that fails is planned again."""
    plan = look(job(TTL), phase="Failed", completionTime=at(-60))
    assert names(plan.delete) == OBJECTS
    assert "resolved" in (plan.status or status(job()))
    gone = reconcile(Observed({**job(TTL), "status": status(job(TTL), "Failed", completionTime=at(-60))}), now=NOW)
    assert gone.status is not None
    assert "resolved" not in gone.status
    assert look({**job(TTL), "status": gone.status}).delete == ()


def test_crash_between_the_two_deletes_is_made_good() -> None:
    """The ConfigMap is gone, the Service and the status aren't."""
    of = job(TTL)
    living = {**of, "status": status(of, "Failed", completionTime=at(-60))}
    plan = reconcile(Observed(living, [pod(0)]), now=NOW)
    assert names(plan.delete) == ["Pod/fashion-1-0-0", "Service/fashion-run-1"]
    assert plan.status is not None
    assert "resolved" not in plan.status


@pytest.mark.parametrize(
    "reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"]
)
def test_a_gang_that_cannot_start_gives_its_nodes_back(reason: str) -> None:
    """An image that isn't there, or a Secret: half a minute for somebody to put it right, then nobody holds a GPU."""
    cluster = FakeCluster(job({"resources": {"limits": {"nvidia.com/gpu": 8}}}))
    cluster.settle()
    for each in cluster.live_pods():
        cluster.schedule(each, "node-0")
    starts, stuck = cluster.live_pods()
    cluster.start(starts)
    cluster.set_state(stuck, "Pending", waiting(reason))
    cluster.settle()
    cluster.tick(29)
    cluster.settle()
    assert (cluster.phase, len(cluster.live_pods())) == ("Starting", 2)
    assert cluster.plan().requeue_after == 1
    cluster.tick(1)
    cluster.settle()
    assert cluster.phase == "Failed"
    assert [each.terminating for each in cluster.live_pods()] == [True, True]
