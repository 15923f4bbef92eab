"""Clocks that jump: what an hour more or less does to each limit, and that no job fails or waits for ever for it.

The policies see the time that `SteadyTime` makes of the operator's clocks. A new leader may still see another time than
the one before it, and nodes have clocks of their own: whatever the policies read, they must come to an end.
"""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footplate.contract import ExitCode
from footplate.machinery.clock import SteadyTime
from footplate.policy.job import seconds_run
from footplate.policy.plan import Plan
from footplate.policy.start_trouble import START_GRACE
from unit.policy.build import NOW, at, job, look, observe, pod, situate, terminated, waiting
from unit.policy.fakecluster import FakeCluster

JSON = dict[str, Any]
HOUR = 3600.0
SHIFTS = pytest.mark.parametrize("shift", [-HOUR, HOUR], ids=["an hour back", "an hour forward"])
LIMITS = {"activeDeadlineSeconds": 7200, "queueDeadlineSeconds": 7200, "schedulingTimeoutSeconds": 7200}


def phase_of(plan: Plan) -> str | None:
    return plan.status.get("phase") if plan.status is not None else None


ENDED = {"attempt": 0, "startTime": at(-600), "endTime": at(), "reason": "UserError", "node": "node-1"}
WAITS = [
    pytest.param(5, 0, 5, id="as it was meant"),
    pytest.param(600, 0, 600, id="the longest"),
    pytest.param(HOUR, 0, None, id="written by a clock an hour ahead"),
    pytest.param(5, -HOUR, None, id="the clock went back"),
    pytest.param(600, HOUR, None, id="the clock went forward"),
]


@pytest.mark.parametrize(("restart", "shift", "wait"), WAITS)
def test_a_restart_never_waits_longer_than_the_longest_backoff(restart: float, shift: float, wait: float) -> None:
    plan = look(job(), phase="Restarting", attempts=[ENDED], restartTime=at(restart), after=shift)
    assert plan.requeue_after == wait
    assert (plan.status is None or plan.status["attempt"] == 0) is (wait is not None)


@SHIFTS
def test_a_running_gang_within_its_limits_goes_on(shift: float) -> None:
    plan = look(job({"runPolicy": LIMITS}), pod(0), pod(1), after=shift)
    assert phase_of(plan) in (None, "Running")
    assert plan.delete == ()
    assert plan.requeue_after is not None
    assert plan.requeue_after <= 600, "how long to wait was reckoned by a clock that may be wrong"


@SHIFTS
def test_a_gang_that_waits_goes_on_waiting(shift: float) -> None:
    half = (pod(0), pod(1, phase="Pending", on=None))
    plan = look(job({"runPolicy": LIMITS}), *half, phase="Queued", after=shift)
    assert phase_of(plan) in (None, "Queued")


@SHIFTS
def test_running_time_is_never_negative(shift: float) -> None:
    attempt = situate(observe(job())).attempt
    assert attempt is not None
    assert seconds_run(attempt, now=NOW + timedelta(seconds=shift)) == max(0, 300 + shift)
    over = look(job(), pod(0), pod(1, phase="Failed"), after=shift).status
    assert over is not None
    assert over["activeSeconds"] == max(0, 300 + shift)


@pytest.mark.parametrize(("shift", "ends"), [(-HOUR, False), (29, False), (30, True), (HOUR, True)])
def test_what_cannot_start_has_its_grace(shift: float, ends: bool) -> None:
    """And a jump uses up a minute of a run's patience at most."""
    stuck = pod(1, phase="Pending", state=waiting("ImagePullBackOff"))
    attempts = [{"attempt": 0, "startTime": at(-60), "nodes": 2}]
    trouble = {"reason": "ImagePullFailed", "since": at()}
    after = look(job(), pod(0), stuck, phase="Starting", attempts=attempts, trouble=trouble, after=shift).status
    assert after is not None
    assert after["phase"] == ("Restarting" if ends else "Starting")
    assert after["trouble"]["waitedSeconds"] <= 60 + 20
    assert timedelta(seconds=30) == START_GRACE


@SHIFTS
def test_a_cause_is_not_awaited_for_ever(shift: float) -> None:
    lost = pod(1, phase="Failed", state=terminated(76))
    assert phase_of(look(job(), pod(0), lost)) in (None, "Running"), "for three seconds it is"
    assert phase_of(look(job(), pod(0), lost, after=shift)) == "Restarting"


@pytest.mark.parametrize(("shift", "avoids"), [(-HOUR, True), (0, True), (HOUR, False)])
def test_a_node_is_avoided_but_never_forbidden(shift: float, avoids: bool) -> None:
    attempts = [ENDED, {"attempt": 1, "startTime": at()}]
    spec = look(job(), phase="Restarting", attempts=attempts, after=shift).create[-1]["spec"]
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    assert ("preferredDuringSchedulingIgnoredDuringExecution" in affinity) is avoids
    assert "requiredDuringSchedulingIgnoredDuringExecution" not in affinity


steps = st.lists(st.tuples(st.integers(0, 20), st.integers(-7200, 7200)), min_size=1, max_size=20)
"""Seconds that go by, and how far ahead the wall clock is then."""
mishaps = st.lists(st.sampled_from(["none", "rank fails", "image is late"]), min_size=20, max_size=20)
bounded = settings(max_examples=50, derandomize=True, deadline=None)


def live(cluster: FakeCluster, mishap: str) -> None:
    """A little of a job's life, in which nothing goes wrong for good."""
    for rank, each in enumerate(cluster.live_pods()):
        if each.node is None:
            cluster.schedule(each, f"node-{rank}")
        elif mishap == "image is late" and not each.running:
            cluster.set_state(each, "Pending", {"waiting": {"reason": "ErrImagePull", "message": "soon"}})
        elif each.terminating:
            cluster.end(each, 75)
        else:
            cluster.start(each)
    running = [each for each in cluster.live_pods() if each.running and not each.terminating]
    if mishap == "rank fails" and running:
        cluster.end(running[0], 1)


def come_to_an_end(cluster: FakeCluster, *, looks: int = 40) -> None:
    """Time goes by, and pods do their work, until the run is over: never later than the longest backoff."""
    for _ in range(looks):
        cluster.settle()
        if cluster.finished:
            return
        live(cluster, "none")
        cluster.settle()
        for each in cluster.live_pods():
            if each.running and cluster.phase == "Running":
                cluster.end(each, 0)
        cluster.tick(30)


@bounded
@given(steps=steps, mishaps=mishaps)
def test_no_limit_is_used_up_by_a_jump(steps: list[tuple[int, int]], mishaps: list[str]) -> None:
    """Limits of ten minutes hold for a life of seven, however the wall clock jumps meanwhile."""
    limits = {"activeDeadlineSeconds": 600, "queueDeadlineSeconds": 600, "maxRestarts": 99}
    cluster = FakeCluster(job({"nodes": 2, "runPolicy": {**limits, "restartBackoffSeconds": 0}}))
    steady, monotonic = SteadyTime(NOW, 0.0), 0.0
    late = 0
    for (elapsed, ahead), mishap in zip(steps, mishaps, strict=False):
        monotonic += elapsed
        late = late + elapsed if mishap == "image is late" else 0
        cluster.now = steady.read(NOW + timedelta(seconds=monotonic + ahead), monotonic)
        live(cluster, mishap if late < 25 else "none")
        cluster.settle()
        assert cluster.phase != "Failed", cluster.status
    come_to_an_end(cluster)
    assert cluster.phase == "Succeeded", cluster.status


@bounded
@given(steps=steps, mishaps=mishaps)
def test_whatever_the_policies_read_the_job_comes_to_an_end(steps: list[tuple[int, int]], mishaps: list[str]) -> None:
    """As where operators with wrong clocks take turns: no failure for it, and no job that waits for ever."""
    policy = {"maxRestarts": 99, "restartBackoffSeconds": 600}
    cluster, elapsed = FakeCluster(job({"nodes": 2, "runPolicy": policy})), 0
    for (seconds, ahead), mishap in zip(steps, mishaps, strict=False):
        elapsed += seconds
        cluster.now = NOW + timedelta(seconds=elapsed + ahead)
        live(cluster, "none" if mishap == "image is late" else mishap)
        cluster.settle()
        assert cluster.phase != "Failed", cluster.status
    cluster.now = NOW + timedelta(seconds=elapsed)
    come_to_an_end(cluster)
    assert cluster.phase == "Succeeded", cluster.status


AHEAD = pytest.mark.parametrize("ended", [-1, 2], ids=["node's clock behind", "node's clock ahead"])


@AHEAD
@pytest.mark.parametrize("code", [0, 137])
def test_a_kubelets_word_is_awaited_whatever_its_clock_says(code: int, ended: float) -> None:
    stopped = pod(0, state=terminated(code, ended=ended))
    assert phase_of(look(job({"nodes": 1, "runPolicy": {"maxRestarts": 0}}), stopped)) in (None, "Running")
    said = pod(0, phase="Failed", state=terminated(code, ended=ended), reason="Evicted", message="low on memory")
    plan = look(job({"nodes": 1}), said, after=1)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Restarting", "Evicted")


@AHEAD
def test_the_cause_is_awaited_whatever_a_nodes_clock_says(ended: float) -> None:
    follower = pod(1, phase="Failed", state=terminated(int(ExitCode.PEER_LOST), ended=ended), on="node-1")
    assert phase_of(look(job(), pod(0), follower)) in (None, "Running")
