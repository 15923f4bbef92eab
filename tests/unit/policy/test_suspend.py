"""Into suspension, in it, and out of it."""

from typing import Any

import pytest

from unit.policy.build import at, job, look, names, node, pod, terminated
from unit.policy.fakecluster import FakeCluster

JSON = dict[str, Any]
SUSPEND = job({"runPolicy": {"suspend": True}})
ENDED = [{"attempt": 0, "startTime": at(-600), "endTime": at(-9), "reason": "SuspendedByUser"}]
DELETED = (pod(0, deleted=-9), pod(1, deleted=-9))


def stopped(rank: int) -> JSON:
    return pod(rank, phase="Failed", deleted=-9)


@pytest.mark.parametrize("phase", ["Pending", "Queued", "Starting", "Running"])
def test_a_living_gang_is_stopped(phase: str) -> None:
    plan = look(SUSPEND, pod(0), pod(1), phase=phase)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["attempts"][-1]["endTime"]) == ("Suspending", at())
    assert plan.delete == (), "only once the status says so"
    after = look({**SUSPEND, "status": plan.status}, pod(0), pod(1))
    assert names(after.delete) == ["Pod/fashion-1-0-0", "Pod/fashion-1-0-1"]


def test_a_gang_whose_run_config_is_taken_away_is_stopped_too() -> None:
    cluster = FakeCluster()
    cluster.settle()
    cluster.schedule(cluster.live_pods()[0], "node-0")
    cluster.lose_run_config()
    cluster.edit("runPolicy", suspend=True)
    cluster.settle()
    assert cluster.phase == "Suspending"
    assert [pod.terminating for pod in cluster.live_pods()] == [True]


def test_without_living_pods_it_is_suspended_at_once() -> None:
    for phase in ("Pending", "Queued", "Restarting"):
        plan = look(SUSPEND, phase=phase)
        assert plan.status is not None
        assert plan.status["phase"] == "Suspended"


def test_suspend_during_backoff() -> None:
    failed = [{"attempt": 0, "startTime": at(-600), "endTime": at(-9), "reason": "UserError"}]
    plan = look(SUSPEND, pod(0, phase="Failed"), phase="Restarting", attempts=failed, restartTime=at(60))
    assert plan.status is not None
    assert plan.status["phase"] == "Suspended"
    assert "restartTime" not in plan.status
    assert plan.status["attempts"][-1]["reason"] == "UserError"


def test_suspending_waits_for_the_pods_and_no_longer_than_their_grace() -> None:
    plan = look(SUSPEND, *DELETED, phase="Suspending", attempts=ENDED)
    assert plan.status is None or plan.status["phase"] == "Suspending"
    assert (plan.delete, plan.requeue_after) == ((), 116)
    overdue = look(SUSPEND, *DELETED, phase="Suspending", attempts=ENDED, after=117)
    assert overdue.status is not None
    assert overdue.status["phase"] == "Suspended"


def test_nobody_says_that_a_checkpoint_is_being_saved() -> None:
    plan = look(SUSPEND, pod(0), pod(1), phase="Running")
    assert plan.status is not None
    assert plan.status["message"].startswith("the ranks are asked to stop")


def test_suspended_names_the_snapshot() -> None:
    snapshot = {"uri": "s3://bucket/snapshots/1/", "time": at(-12)}
    plan = look(SUSPEND, stopped(0), stopped(1), phase="Suspending", attempts=ENDED, checkpoint=snapshot)
    assert plan.status is not None
    assert "to go on from what was saved at 2" in plan.status["message"]


def test_suspended_names_the_checkpoint() -> None:
    checkpoint = {"uri": "s3://bucket/step-1200/", "step": 1200}
    plan = look(SUSPEND, stopped(0), stopped(1), phase="Suspending", attempts=ENDED, checkpoint=checkpoint)
    assert plan.status is not None
    assert "from step 1,200" in plan.status["message"]
    assert "nodes" not in plan.status


def test_a_change_of_mind_on_the_way_is_heard_at_its_end() -> None:
    assert look(job(), *DELETED, phase="Suspending", attempts=ENDED).create == ()
    plan = look(job(), phase="Suspended", attempts=ENDED)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"], plan.status["attempt"]) == ("Pending", "Resumed", 1)


def test_suspended_stays_so() -> None:
    plan = look(SUSPEND, phase="Suspended", attempts=ENDED)
    assert (plan.create, plan.delete, plan.requeue_after) == ((), (), None)


def test_success_on_the_way_into_suspension_is_success() -> None:
    done = (pod(0, phase="Succeeded"), pod(1, phase="Succeeded"))
    plan = look(SUSPEND, *done, phase="Suspending", attempts=ENDED)
    assert plan.status is not None
    assert plan.status["phase"] == "Succeeded"


def test_created_suspended_starts_when_it_is_told_to() -> None:
    plan = look(job(), phase="Suspended", attempts=[])
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["attempt"]) == ("Pending", 0)


def ended(
    rank: int, code: int = 0, *, seconds: float, phase: str = "Succeeded", message: str = "", **more: Any
) -> JSON:
    return pod(rank, phase=phase, state=terminated(code, ended=seconds, message=message), **more)


VERDICT = '{"outcome": "succeeded", "exitCode": 0}'
ON_THE_WAY = [
    pytest.param([ended(0, seconds=-30), ended(1, seconds=-30)], "Succeeded", id="all ended just before"),
    pytest.param(
        [ended(r, seconds=-5, deleted=-9, message=VERDICT) for r in (0, 1)], "Succeeded", id="finished meanwhile"
    ),
    pytest.param([ended(r, seconds=-5, deleted=-9) for r in (0, 1)], "Suspended", id="ended with 0 because told to"),
    pytest.param(
        [ended(0, seconds=-30), ended(1, 75, seconds=-5, phase="Failed", deleted=-9)], "Suspended", id="one of two"
    ),
    pytest.param([ended(0, seconds=-30), ended(1, seconds=-5, deleted=-9)], "Suspended", id="one was told to"),
    pytest.param(
        [ended(0, 137, seconds=-5, phase="Failed", deleted=-9), ended(1, seconds=-5, deleted=-9, message=VERDICT)],
        "Suspended", id="one was killed for it",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("pods", "phase"), ON_THE_WAY)
def test_what_a_stop_is_and_what_an_end(pods: list[JSON], phase: str) -> None:
    plan = look(SUSPEND, *pods, phase="Suspending", attempts=ENDED)
    assert plan.status is not None
    assert plan.status["phase"] == phase


def test_a_bare_command_that_ends_with_0_on_request_goes_on_later() -> None:
    cluster = FakeCluster(job({"nodes": 1, "runPolicy": {"maxRestarts": 0, "cleanPods": "never"}}))
    cluster.settle()
    for each in cluster.live_pods():
        cluster.schedule(each, "node-0")
        cluster.start(each)
    cluster.settle()
    cluster.edit("runPolicy", suspend=True)
    cluster.settle()
    for each in cluster.live_pods():
        cluster.end(each, 0)
    cluster.settle()
    assert cluster.phase == "Suspended"
    cluster.edit("runPolicy", suspend=False)
    cluster.settle()
    assert [each.name for each in cluster.live_pods()] == ["fashion-1-1-0"]


def test_nobody_waits_for_who_is_on_a_lost_node() -> None:
    nodes = {"node-0": node(), "node-1": node("node-1", ready="Unknown", since=-30)}
    pods = (pod(0, phase="Failed", deleted=-9), pod(1, on="node-1", deleted=-9))
    plan = look(SUSPEND, *pods, phase="Suspending", attempts=ENDED, nodes=nodes)
    assert plan.status is not None
    assert plan.status["phase"] == "Suspended"
