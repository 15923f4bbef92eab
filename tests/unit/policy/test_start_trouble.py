"""Pods that can't start: what is waited for and how long, what is final, and who pays."""

from typing import Any

import pytest

from footplate.policy.plan import Plan
from unit.policy.build import at, job, look, pod, terminated, waiting
from unit.policy.fakecluster import FakeCluster

JSON = dict[str, Any]
TROUBLES = [
    ("ErrImagePull", "unexpected EOF", "ImagePullFailed"),
    ("ImagePullBackOff", "manifest unknown", "ImagePullFailed"),
    ("ErrImageNeverPull", "", "ImagePullFailed"),
    ("RegistryUnavailable", "503 Service Unavailable", "ImagePullFailed"),
    ("ImageInspectError", "", "ImagePullFailed"),
    ("SignatureValidationFailed", "", "ImagePullFailed"),
    ("CreateContainerConfigError", 'secret "s3" not found', "ContainerConfigError"),
    ("CreateContainerError", "context deadline exceeded", "ContainerConfigError"),
    ("RunContainerError", "nvidia-container-cli: initialization error", "ContainerConfigError"),
    ("SomethingThatNoKubeletSaysYet", "", "ContainerConfigError"),
]
FINAL = [
    ("InvalidImageName", 'couldn\'t parse image name "a b"', "correct trainer.image"),
    ("CreateContainerConfigError", "container has runAsNonRoot and image will run as root", "a numeric USER"),
]
ALL = [(reason, said) for reason, said, _ in (*TROUBLES, *FINAL)]
NO_PROGRAM = 'failed to create containerd task: exec: "torchrunn": executable file not found in $PATH: unknown'
GPUS = {"resources": {"limits": {"nvidia.com/gpu": 8}}}


def begun(*, ran: bool = False, **policy: Any) -> FakeCluster:
    """A gang of two: one pod runs, the other has a node. `ran`: an attempt before it has run, and was taken away."""
    cluster = FakeCluster(job({**GPUS, "runPolicy": policy}))
    cluster.settle()
    place(cluster)
    if ran:
        for each in cluster.live_pods():
            cluster.start(each)
        cluster.settle()
        cluster.vanish(cluster.live_pods()[0])
        again(cluster)
    return cluster


def place(cluster: FakeCluster) -> None:
    for each in cluster.live_pods():
        if each.node is None:
            cluster.schedule(each, "node-0")
    cluster.settle()


def again(cluster: FakeCluster) -> None:
    """The old pods go, and the next attempt's get their nodes."""
    cluster.settle()
    for each in cluster.live_pods():
        if each.terminating:
            cluster.vanish(each)
    for _ in range(700):
        cluster.settle()
        if cluster.finished or cluster.phase == "Suspended" or held(cluster):
            break
        cluster.tick(1)
    place(cluster)


def get_stuck(cluster: FakeCluster, reason: str = "ErrImagePull", message: str = "503") -> None:
    starts, stuck = (each for each in cluster.live_pods() if not each.terminating)
    cluster.start(starts)
    cluster.set_state(stuck, "Pending", waiting(reason, message))
    cluster.settle()


def held(cluster: FakeCluster) -> int:
    return sum(not each.terminating for each in cluster.live_pods())


@pytest.mark.parametrize(("reason", "said", "expected"), TROUBLES, ids=[each[0] for each in TROUBLES])
def test_the_nodes_are_given_back_and_the_job_tries_again(reason: str, said: str, expected: str) -> None:
    cluster = begun()
    get_stuck(cluster, reason, said)
    assert (cluster.phase, cluster.status["trouble"]["reason"]) == ("Starting", expected)
    assert cluster.plan().requeue_after == 30
    cluster.tick(29)
    cluster.settle()
    assert (cluster.phase, held(cluster)) == ("Starting", 2)
    cluster.tick(1)
    cluster.settle()
    assert (cluster.phase, cluster.status["reason"], held(cluster)) == ("Restarting", expected, 0)
    assert cluster.status["restarts"]["total"] == 0
    assert "it is waited for up to 300 s (runPolicy.schedulingTimeoutSeconds)" in cluster.status["message"]
    again(cluster)
    for each in cluster.live_pods():
        cluster.start(each)
    cluster.settle()
    assert (cluster.phase, "trouble" in cluster.status) == ("Running", False)


def test_it_counts_from_the_first_trouble_and_not_from_the_pods_start() -> None:
    """A long pull that is interrupted near its end."""
    cluster = begun()
    cluster.tick(360)
    get_stuck(cluster, "ErrImagePull", "unexpected EOF")
    assert cluster.phase == "Starting"
    cluster.tick(20)
    for each in cluster.live_pods():
        cluster.start(each)
    cluster.settle()
    assert cluster.phase == "Running"


@pytest.mark.parametrize("patience", [5, 60, 300, 3600])
def test_a_run_that_has_never_run_fails_when_its_patience_is_over(patience: int) -> None:
    cluster = begun(schedulingTimeoutSeconds=patience)
    began = cluster.now
    for _ in range(100):
        get_stuck(cluster, "ImagePullBackOff", "manifest unknown")
        cluster.tick(min(30, patience))
        again(cluster)
        if cluster.finished:
            break
    assert (cluster.phase, cluster.status["reason"]) == ("Failed", "ImagePullFailed")
    assert cluster.status["failure"]["class"] == "Permanent"
    assert cluster.status["restarts"]["total"] == 0
    assert f"waited for {patience} s, runPolicy.schedulingTimeoutSeconds" in cluster.status["message"]
    assert "push the image" in cluster.status["message"]
    assert "set runPolicy.restartNonce" in cluster.status["message"]
    assert patience <= (cluster.now - began).total_seconds() <= patience + 60


def test_a_registry_that_is_away_for_a_minute_ends_nothing() -> None:
    cluster = begun()
    began = cluster.now
    while (cluster.now - began).total_seconds() < 60:
        get_stuck(cluster, "ErrImagePull", "503 Service Unavailable")
        cluster.tick(30)
        again(cluster)
    for each in cluster.live_pods():
        cluster.start(each)
    cluster.settle()
    assert cluster.phase == "Running"


def test_waiting_for_nodes_is_not_waiting_for_the_image() -> None:
    """An hour in the queue between two troubles uses up no patience."""
    cluster = begun()
    get_stuck(cluster)
    cluster.tick(30)
    cluster.settle()
    cluster.tick(3600)
    again(cluster)
    get_stuck(cluster)
    cluster.tick(30)
    cluster.settle()
    assert cluster.phase == "Restarting"


def test_a_hiccup_that_is_over_shortens_no_later_grace() -> None:
    began = [{"attempt": 0, "startTime": at(-600), "createdTime": at(-599), "nodes": 2}]
    once = {"reason": "ImagePullFailed", "since": at(-29), "waitedSeconds": 5}

    def see(state: JSON, trouble: JSON, after: float) -> Plan:
        starts = pod(1, phase="Pending", state=state, on="node-1", started=-400)
        return look(job(), pod(0), starts, phase="Starting", attempts=began, trouble=trouble, after=after)

    going_on = see(waiting("ContainerCreating"), once, 0)
    assert going_on.requeue_after == 1
    over = see(waiting("ContainerCreating"), once, 1)
    assert over.status is not None
    assert over.status["trouble"] == {"reason": "ImagePullFailed", "waitedSeconds": 35}
    anew = see(waiting("ErrImagePull", "429 Too Many Requests"), over.status["trouble"], 2)
    assert anew.status is not None
    assert (anew.status["phase"], anew.status["trouble"]["since"]) == ("Starting", at(2))
    assert anew.status["trouble"]["waitedSeconds"] == 35


@pytest.mark.parametrize(("reason", "said", "way_out"), FINAL, ids=[each[0] for each in FINAL])
def test_what_neither_time_nor_place_can_change_is_final_at_once(reason: str, said: str, way_out: str) -> None:
    cluster = begun()
    get_stuck(cluster, reason, said)
    assert (cluster.phase, cluster.status["failure"]["class"]) == ("Failed", "Permanent")
    assert way_out in cluster.status["message"]
    assert held(cluster) == 0


@pytest.mark.parametrize(("reason", "said"), ALL, ids=[f"{each[0]}-{n}" for n, each in enumerate(ALL)])
def test_a_run_that_has_run_can_run(reason: str, said: str) -> None:
    cluster = begun(ran=True)
    assert cluster.status["restarts"]["infrastructure"] == 1
    get_stuck(cluster, reason, said)
    cluster.tick(30)
    cluster.settle()
    assert (cluster.phase, cluster.status["failure"]["class"]) == ("Restarting", "Infrastructure")
    assert cluster.status["restarts"]["infrastructure"] == 2
    assert cluster.status["attempts"][-1]["node"] == "node-0"


def start_error(message: str, **more: Any) -> JSON:
    state = terminated(128, reason="StartError", message=message)
    plan = look(job(), pod(0), pod(1, phase="Failed", state=state), phase="Starting", **more)
    assert plan.status is not None
    return dict(plan.status)


def test_a_program_that_the_image_lacks_is_final() -> None:
    never_ran = {"attempts": [{"attempt": 0, "startTime": at(-60), "nodes": 2}]}
    after = start_error(NO_PROGRAM, **never_ran)
    assert (after["phase"], after["reason"]) == ("Failed", "ContainerConfigError")
    assert after["failure"]["class"] == "Permanent"
    after = start_error("OCI runtime create failed: context deadline exceeded", **never_ran)
    assert (after["phase"], after["reason"], after["restarts"]["total"]) == ("Restarting", "ContainerConfigError", 0)
    after = start_error(NO_PROGRAM, **never_ran, runningTime=at(-3000))
    assert (after["phase"], after["restarts"]["infrastructure"]) == ("Restarting", 1)


@pytest.mark.parametrize("where", ["initContainerStatuses", "containerStatuses"])
def test_other_containers_of_the_pod_count(where: str) -> None:
    """What a webhook has put into it, too."""
    others = {"name": "mesh", "state": waiting("ImagePullBackOff", "no such sidecar")}
    trainer = {"name": "trainer", "state": waiting("PodInitializing")}
    lists = {where: [others]} if where == "initContainerStatuses" else {where: [trainer, others]}
    attempts = [{"attempt": 0, "startTime": at(-60), "nodes": 2}]
    plan = look(job(), pod(0), pod(1, phase="Pending", state={}, **lists), phase="Starting", attempts=attempts)
    assert plan.status is not None
    assert plan.status["trouble"]["reason"] == "ImagePullFailed"


def creating(since: float, **policy: Any) -> Any:
    slow = pod(1, phase="Pending", on="node-1", started=since, state=waiting("ContainerCreating"))
    attempts = [{"attempt": 0, "startTime": at(since), "nodes": 2}]
    return look(job({"runPolicy": policy}), pod(0, started=since), slow, phase="Starting", attempts=attempts)


def test_container_creating_has_a_limit() -> None:
    assert creating(-1790).requeue_after == 10
    plan = creating(-1800)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Restarting", "StartTimeout")
    assert plan.status["restarts"]["infrastructure"] == 1
    assert plan.status["attempts"][-1]["node"] == "node-1"
    assert "pod fashion-1-0-1 on node node-1 has not started for 1800 s" in plan.status["message"]
    assert [event.type for event in plan.events] == ["Warning"]


def test_whoever_has_patience_waits_longer_for_a_slow_start() -> None:
    assert creating(-1800, schedulingTimeoutSeconds=7200).status["phase"] == "Starting"
    assert creating(-7200, schedulingTimeoutSeconds=7200).status["phase"] == "Restarting"


def test_suspending_is_a_new_beginning() -> None:
    cluster = begun()
    get_stuck(cluster)
    cluster.tick(30)
    cluster.settle()
    cluster.edit("runPolicy", suspend=True)
    again(cluster)
    assert (cluster.phase, "trouble" in cluster.status) == ("Suspended", False)
