"""What a kubelet says of a pod comes before the exit code of what it killed."""

from typing import Any

import pytest

from footplate.api.status import FailureClass
from footplate.policy.reasons import Reason
from unit.policy.build import job, look, pod, terminated, waiting
from unit.policy.test_failure import find_cause

JSON = dict[str, Any]
USER, INFRASTRUCTURE = FailureClass.USER, FailureClass.INFRASTRUCTURE


def by_node(reason: str, message: str = "", *, code: int | None = 137, **more: Any) -> JSON:
    """A pod that its kubelet ended; None is one that never ran."""
    state = terminated(code) if code is not None else {}
    return pod(1, phase="Failed", state=state, reason=reason, message=message, **more)


LOW = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 900Mi. Container trainer …"
PRESSURE = "Pod was rejected: The node had condition: [DiskPressure]. "
DEVICES = "Pod was rejected: Allocate failed due to no healthy devices present; cannot allocate, which is unexpected"
SHUTDOWN = "Pod was terminated in response to imminent node shutdown."
CASES = [
    pytest.param(by_node("Evicted", LOW), Reason.EVICTED, INFRASTRUCTURE, "low on resource", id="the node's disk"),
    pytest.param(by_node("Evicted", LOW, code=0), Reason.EVICTED, INFRASTRUCTURE, "low on", id="ended with 0 on it"),
    pytest.param(by_node("Evicted", LOW, code=None), Reason.EVICTED, INFRASTRUCTURE, "low on", id="no container"),
    pytest.param(
        by_node("Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "),
        Reason.OUT_OF_DISK, USER, "wrote more than 1Gi to the node's disk", id="the pod's limit",
    ),
    pytest.param(
        by_node("Evicted", 'Container trainer exceeded its local ephemeral storage limit "1Gi". '),
        Reason.OUT_OF_DISK, USER, "raise it in resources.limits", id="the container's limit",
    ),
    pytest.param(
        by_node("Evicted", 'Container istio-proxy exceeded its local ephemeral storage limit "1Gi". '),
        Reason.EVICTED, INFRASTRUCTURE, "container istio-proxy, which isn't Footplate's", id="a sidecar's limit",
    ),
    pytest.param(
        by_node("Evicted", 'Usage of EmptyDir volume "cache" exceeds the limit "2Gi". '),
        Reason.OUT_OF_DISK, USER, "filled volume cache beyond its limit of 2Gi; raise emptyDir", id="a volume",
    ),
    pytest.param(
        by_node("Evicted", 'Usage of EmptyDir volume "footplate-shm" exceeds the limit "64Mi". '),
        Reason.OUT_OF_DISK, USER, "raise podTemplate.sharedMemory", id="shared memory",
    ),
    pytest.param(
        by_node("UnexpectedAdmissionError", DEVICES, code=None),
        Reason.NODE_REFUSED, INFRASTRUCTURE, "refused by its node: UnexpectedAdmissionError", id="broken devices",
    ),
    *(
        pytest.param(by_node(reason, "no", code=None), Reason.NODE_REFUSED, INFRASTRUCTURE, f"{reason}: no", id=reason)
        for reason in (
            "OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfnvidia.com/gpu", "NodeAffinity", "NodePorts",
            "TopologyAffinityError", "AppArmor", "SysctlForbidden", "SomethingNew",
        )
    ),
    pytest.param(by_node("Evicted", PRESSURE, code=None), Reason.NODE_REFUSED, INFRASTRUCTURE, "Disk", id="pressure"),
    pytest.param(by_node("Terminated", SHUTDOWN), Reason.EVICTED, INFRASTRUCTURE, "node shutdown", id="shutdown"),
    pytest.param(by_node("NodeShutdown", SHUTDOWN, code=143), Reason.EVICTED, INFRASTRUCTURE, "shutdown", id="of old"),
    pytest.param(by_node("Preempting", code=None), Reason.EVICTED, INFRASTRUCTURE, "Preempting", id="critical pods"),
    pytest.param(
        by_node("DeadlineExceeded", "Pod was active on the node longer than the specified deadline", code=143),
        Reason.EVICTED, INFRASTRUCTURE, "Footplate sets no activeDeadlineSeconds", id="a deadline that others set",
    ),
    pytest.param(
        pod(1, phase="Failed", state=terminated(137, reason="ContainerStatusUnknown")),
        Reason.POD_LOST, INFRASTRUCTURE, "its node was restarted", id="a node that was restarted",
    ),
    pytest.param(
        pod(
            1, phase="Failed", state=waiting("PodInitializing"),
            initContainerStatuses=[{"name": "istio-init", "state": terminated(2, message="no iptables\n")}],
        ),
        Reason.INIT_FAILED, INFRASTRUCTURE, "init container istio-init ended with exit code 2 (no iptables)", id="init",
    ),
    pytest.param(
        pod(1, phase="Failed", containerStatuses=[{"name": "a", "state": terminated(3)}, {"name": "b"}]),
        Reason.EVICTED, INFRASTRUCTURE, "nothing is known of its trainer: container a ended with exit code 3",
        id="others alone",
    ),
    pytest.param(pod(1, phase="Failed", state={}), Reason.EVICTED, INFRASTRUCTURE, "describe pod", id="no word"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "reason", "class_", "said"), CASES)
def test_what_a_kubelet_says(raw: JSON, reason: Reason, class_: FailureClass, said: str) -> None:
    cause = find_cause(pod(0), raw)
    assert (cause.reason, cause.failure_class) == (reason, class_)
    assert said in cause.message
    assert "no reason" not in cause.message


def test_a_node_that_refuses_is_avoided() -> None:
    plan = look(job(), pod(0), by_node("UnexpectedAdmissionError", DEVICES, code=None, on="node-1"), phase="Starting")
    assert plan.status is not None
    assert (plan.status["attempts"][-1]["node"], plan.status["restarts"]["infrastructure"]) == ("node-1", 1)


def test_who_ended_by_itself_before_isnt_evicted() -> None:
    disruption = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": pod()["status"]["startTime"]}
    raw = pod(1, phase="Failed", state=terminated(1, ended=-90), reason="Evicted", message=LOW, conditions=[disruption])
    assert find_cause(pod(0), raw).reason is Reason.USER_ERROR


def test_a_kill_is_explained_by_the_kubelet_if_it_did_it() -> None:
    """The container's end is seen a moment before the pod's phase, reason and message are."""
    killed = pod(1, state=terminated(137, ended=-1))
    plan = look(job(), pod(0), killed)
    assert plan.status is None or plan.status["phase"] == "Running"
    assert plan.requeue_after is not None
    assert plan.requeue_after <= 3
    evicted = look(job(), pod(0), by_node("Evicted", LOW))
    assert evicted.status is not None
    assert evicted.status["reason"] == "Evicted"
    nobody = look(job(), pod(0), killed, after=3)
    assert nobody.status is not None
    assert nobody.status["reason"] == "Killed"
