"""The trainer's container decides, and intent outranks its exit code."""

from datetime import timedelta
from typing import Any

import pytest

from footplate.machinery.slim import slim_pod
from footplate.policy.pod import LAST_WORD, Pod
from unit.policy.build import NOW, RUNNING, at, job, look, names, pod, terminated, waiting
from unit.policy.fakecluster import FakeCluster

JSON = dict[str, Any]
VERDICT = '{"outcome": "succeeded", "exitCode": 0}'
DISRUPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "TerminationByKubelet",
    "lastTransitionTime": at(-9),
}
SIDECAR: JSON = {"name": "istio-proxy", "state": {"running": {}}}


def beside(raw: JSON, *others: JSON, init: list[JSON] | None = None) -> JSON:
    """The pod with containers that a webhook has put before the trainer's."""
    status = {**raw["status"], "containerStatuses": [*others, *raw["status"]["containerStatuses"]]}
    return {**raw, "status": {**status, **({"initContainerStatuses": init} if init is not None else {})}}


def ended(code: int = 0, *, seconds_ago: float = 30, phase: str = "Succeeded", **more: Any) -> JSON:
    message = {"message": more.pop("message")} if "message" in more else {}
    return pod(0, phase=phase, state=terminated(code, ended=-seconds_ago, **message), **more)


DONE = [
    pytest.param(ended(), True, id="ended by itself"),
    pytest.param(ended(deleted=-9), True, id="ended before somebody deleted it"),
    pytest.param(ended(seconds_ago=10, deleted=-9), False, id="perhaps before: clocks differ"),
    pytest.param(ended(seconds_ago=5, deleted=-9), False, id="ended because it was deleted"),
    pytest.param(ended(seconds_ago=5, deleted=-9, message=VERDICT), True, id="deleted, but its model is verified"),
    pytest.param(ended(seconds_ago=5, conditions=[DISRUPTED]), False, id="evicted"),
    pytest.param(ended(seconds_ago=30, conditions=[DISRUPTED]), True, id="evicted after its end"),
    pytest.param(ended(conditions=[{**DISRUPTED, "lastTransitionTime": None}]), False, id="evicted, nobody knows when"),
    pytest.param(ended(phase="Failed", reason="Evicted"), False, id="thrown out by its kubelet"),
    pytest.param(ended(phase="Failed", reason="Terminated"), False, id="its node shuts down"),
    pytest.param(ended(phase="Failed", reason="DeadlineExceeded"), False, id="a deadline that others set"),
    pytest.param(ended(phase="Failed"), True, id="a sidecar failed, it didn't"),
    pytest.param(ended(phase="Running"), True, id="a sidecar runs on"),
    pytest.param(ended(phase="Running", seconds_ago=2), False, id="its kubelet may yet say why"),
    pytest.param(ended(phase="Running", seconds_ago=2, message=VERDICT), True, id="a verdict needs no confirmation"),
    pytest.param(ended(phase="Running", seconds_ago=-3600), True, id="its node's clock is an hour ahead"),
    pytest.param(ended(1, phase="Failed", message=VERDICT), False, id="a verdict that its exit code belies"),
    pytest.param(pod(0, phase="Succeeded", state={}), True, id="no container status, the phase alone"),
    pytest.param(pod(0, phase="Failed", state={}), False, id="no container status, and failed"),
    pytest.param(pod(0), False, id="runs"),
]


@pytest.mark.parametrize(("raw", "done"), DONE)
def test_who_is_done(raw: JSON, done: bool) -> None:
    assert Pod.of(raw).succeeded(NOW) is done
    assert Pod.of(slim_pod(raw)).succeeded(NOW) is done, "of what the store keeps, the same"


SHAPES = [
    pytest.param(beside(ended(phase="Running"), SIDECAR), id="the sidecar comes first"),
    pytest.param(pod(0, containerStatuses=[{"name": "main", "state": terminated(0, ended=-30)}]), id="renamed"),
    pytest.param(
        beside(ended(phase="Running"), SIDECAR, init=[{"name": "proxy", "ready": True, "state": {"running": {}}}]),
        id="a native sidecar",
    ),
    pytest.param(
        ended(phase="Running", ephemeralContainerStatuses=[{"name": "debug", "state": {"running": {}}}]), id="debugged"
    ),
    pytest.param(
        pod(
            0,
            containerStatuses=[
                {"name": "trainer", "restartCount": 1, "state": RUNNING, "lastState": terminated(0, ended=-30)}
            ],
        ),
        id="started anew by a changed restartPolicy",
    ),
]


@pytest.mark.parametrize("raw", SHAPES)
def test_whatever_stands_beside_it(raw: JSON) -> None:
    view = Pod.of(slim_pod(raw))
    assert (view.ended, view.running, view.succeeded(NOW), view.outlives_trainer(NOW)) == (True, False, True, True)


@pytest.mark.parametrize("value", [None, [], "x", [None], [{}], {"name": "trainer"}], ids=repr)
def test_container_statuses_of_any_shape(value: Any) -> None:
    raw = pod(0, containerStatuses=value, initContainerStatuses=value)
    view = Pod(raw)
    assert (view.running, view.ended, view.held_up_by, view.waits_for) == (False, False, "", "")


def test_a_sidecar_that_cannot_start_is_no_matter_of_a_trainer_that_runs() -> None:
    raw = {**pod(0), "status": {**pod(0)["status"], "phase": "Pending"}}
    raw = beside(raw, {"name": "istio-proxy", "state": waiting("ImagePullBackOff", "not found")})
    assert Pod(raw).running
    plan = look(job(), raw, pod(1), phase="Starting")
    assert plan.status is not None
    assert plan.status["phase"] == "Running"


HOLDING = [
    pytest.param(
        {"state": waiting("ImagePullBackOff", "no such image")}, "istio-init: ImagePullBackOff: no such image"
    ),
    pytest.param({"state": waiting("CrashLoopBackOff", "back-off 10s")}, "istio-init: CrashLoopBackOff: back-off 10s"),
]


@pytest.mark.parametrize(("init", "said"), HOLDING)
def test_what_keeps_a_trainer_from_starting_is_named(init: JSON, said: str) -> None:
    raw = pod(
        0, phase="Pending", state=waiting("PodInitializing"), initContainerStatuses=[{"name": "istio-init", **init}]
    )
    plan = look(job(), raw, pod(1), phase="Starting")
    assert plan.status is not None
    assert said in plan.status["message"]


def test_an_init_container_that_hangs_is_named() -> None:
    init = [{"name": "vault-agent", "ready": False, "state": {"running": {}}}]
    raw = pod(0, phase="Pending", state=waiting("PodInitializing"), started=-91, initContainerStatuses=init)
    plan = look(job(), raw, pod(1), phase="Starting")
    assert plan.status is not None
    assert "its init container vault-agent has not ended yet" in plan.status["message"]


def sidecar_job(policy: JSON | None = None) -> FakeCluster:
    """A gang that runs with a sidecar beside each trainer."""
    cluster = FakeCluster(job({"runPolicy": policy or {}}), sidecars=True)
    cluster.settle()
    for each in cluster.live_pods():
        cluster.schedule(each, "node-0")
        cluster.start(each)
    cluster.settle()
    assert cluster.phase == "Running"
    return cluster


def test_who_is_done_frees_its_devices_once_the_status_has_it() -> None:
    cluster = sidecar_job({"cleanPods": "never"})
    done, works = cluster.live_pods()
    cluster.end(done, 0, message=VERDICT)
    first = cluster.plan()
    assert (first.delete, first.status and first.status["attempts"][-1]["succeededRanks"]) == ((), "0")
    cluster.settle()
    assert not any(each.terminating for each in cluster.pods()), "its phase may follow"
    cluster.tick(LAST_WORD.total_seconds())
    plan = cluster.plan()
    assert names(plan.delete) == [f"Pod/{done.name}"]
    assert [event.reason for event in plan.events] == ["SidecarRunsOn"]
    assert "exit code 0, but its container istio-proxy runs on" in plan.events[0].message
    cluster.settle()
    cluster.vanish(done)
    cluster.settle()
    assert cluster.phase == "Running"
    cluster.end(works, 0, message=VERDICT)
    cluster.settle()
    assert cluster.phase == "Succeeded"


def test_a_bare_command_is_done_too_when_its_sidecar_runs_on() -> None:
    cluster = sidecar_job()
    for each in cluster.live_pods():
        cluster.end(each, 0)
    cluster.settle()
    assert cluster.phase == "Running"
    cluster.tick(LAST_WORD.total_seconds())
    cluster.settle()
    assert cluster.phase == "Succeeded"


@pytest.mark.parametrize("code", [0, 1])
def test_how_a_sidecar_ends_is_no_matter(code: int) -> None:
    cluster = sidecar_job()
    for each in cluster.live_pods():
        cluster.end(each, 0)
    for each in cluster.pods():
        cluster.end_sidecar(each, code)
    cluster.settle()
    assert cluster.phase == "Succeeded"


def test_a_failed_runs_logs_stay_until_it_is_known_that_a_sidecar_holds_the_node() -> None:
    cluster = sidecar_job({"maxRestarts": 0})
    failed, other = cluster.live_pods()
    cluster.end(failed, 1)
    cluster.settle()
    assert cluster.phase == "Failed"
    assert [each.name for each in cluster.pods() if each.terminating] == [other.name]
    assert cluster.plan().requeue_after == LAST_WORD.total_seconds()
    cluster.tick(LAST_WORD.total_seconds())
    assert names(cluster.plan().delete) == [f"Pod/{failed.name}"]


def test_a_failed_runs_pod_whose_phase_follows_keeps_its_log() -> None:
    """A real kubelet: the container has ended, the phase is Running for a second."""
    cluster = FakeCluster(job({"nodes": 1, "runPolicy": {"maxRestarts": 0}}))
    cluster.settle()
    (only,) = cluster.live_pods()
    cluster.schedule(only, "node-0")
    cluster.start(only)
    cluster.settle()
    cluster.set_state(only, "Running", terminated(1))
    cluster.settle()
    assert (cluster.phase, [each.terminating for each in cluster.pods()]) == ("Failed", [False])
    cluster.set_state(only, "Failed", terminated(1))
    cluster.tick(60)
    cluster.settle()
    assert [each.terminating for each in cluster.pods()] == [False]


def test_a_view_is_kept_with_what_a_store_keeps() -> None:
    kept = slim_pod(pod(0))
    assert Pod.of(kept) is Pod.of(kept)
    assert Pod.of(pod(0)) is not Pod.of(pod(0))
    assert Pod.of(slim_pod(ended(phase="Running", seconds_ago=2))).succeeded(NOW + timedelta(seconds=30))
