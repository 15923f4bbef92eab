"""From what a pod shows to who pays, and to what the user reads."""

import json
from datetime import timedelta
from typing import Any

import pytest

from footplate.api.status import FailureClass
from footplate.policy.failure import find, is_settled, next_look
from footplate.policy.pods import Gang
from footplate.policy.reasons import Reason
from unit.policy.build import NOW, at, gang, node, pod, terminated, waiting

JSON = dict[str, Any]
NODES = {name: node(name) for name in ("node-0", "node-1")}
LOST = {**NODES, "node-1": node("node-1", ready="Unknown", since=-2)}
NO_EXECUTE = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}


def verdict(code: int = 70, **error: Any) -> str:
    """A termination message as the trainer writes it."""
    said = {"type": "ValueError", "message": "bad label 11", **error}
    return json.dumps({"outcome": "failed", "exitCode": code, "error": said})


RAISED = """Traceback (most recent call last):
  File "/app/train.py", line 7, in <module>
    step()
ValueError: bad sample 4711
subprocess.CalledProcessError: Command '['python', 'train.py']' returned non-zero exit status 1.
"""
PEER_GONE = """Traceback (most recent call last):
  File "/app/train.py", line 3, in <module>
    dist.all_reduce(t)
RuntimeError: [/b/gloo/transport/tcp/pair.cc:537] Read error [10.1.0.7]:37504: Connection reset by peer
"""
USAGE = "usage: train.py [-h] --epochs N\ntrain.py: error: the following arguments are required: --epochs\n"


def disruption(status: str = "True", since: float = -5) -> JSON:
    return {
        "type": "DisruptionTarget",
        "status": status,
        "reason": "PreemptionByScheduler",
        "message": "for a better pod",
        "lastTransitionTime": at(since),
    }


def failed(code: int, **more: Any) -> JSON:
    return pod(1, phase="Failed", state=terminated(code, **more))


def find_cause(*pods: JSON, nodes: Any = NODES, all_created: bool = True, after: float = 0.0) -> Any:
    now = NOW + timedelta(seconds=after)
    return find(gang(*pods), nodes, desired=2, all_created=all_created, now=now)


HEALTHY = [
    pytest.param(pod(1), id="runs"),
    pytest.param(pod(1, phase="Pending", on=None), id="waits for a node"),
    pytest.param(pod(1, phase="Succeeded"), id="succeeded"),
    pytest.param(pod(1, phase="Succeeded", state=terminated(0, ended=-9), deleted=-1), id="deleted after it succeeded"),
    pytest.param(
        pod(1, phase="Succeeded", state=terminated(0, ended=-30), conditions=[disruption()]),
        id="evicted after it succeeded",
    ),
    pytest.param(pod(1, conditions=[disruption("False")]), id="an eviction that was called off"),
    pytest.param(pod(1, phase="Pending", state=waiting("ContainerCreating")), id="pulls its image"),
    pytest.param(pod(1, phase="Pending", state=waiting("ErrImagePull"), started=-29), id="pull failed, in grace"),
    pytest.param(pod(1, phase="Pending", state=waiting("CreateContainerConfigError"), started=-29), id="no Secret yet"),
    pytest.param(pod(1, phase="Unknown"), id="phase unknown"),
    pytest.param(pod(1, status="nonsense"), id="a status that isn't one"),
]

CASES = [
    (failed(1), Reason.USER_ERROR, FailureClass.USER, "exit code 1"),
    (failed(2, message="a\nno such file"), Reason.USER_ERROR, FailureClass.USER, "exit code 2: no such file"),
    (failed(3, message="\x1b\x07\n" * 2000), Reason.USER_ERROR, FailureClass.USER, "exit code 3; its log says more"),
    (failed(1, message=RAISED), Reason.USER_ERROR, FailureClass.USER, "ValueError: bad sample 4711 (train.py, line 7)"),
    (failed(2, message=USAGE), Reason.USER_ERROR, FailureClass.USER, "exit code 2: train.py: error: the following"),
    (failed(137, message=RAISED), Reason.KILLED, FailureClass.USER, "was killed from outside"),
    (failed(65), Reason.DATA_ERROR, FailureClass.PERMANENT, "exit code 65"),
    (failed(70, message=verdict()), Reason.USER_ERROR, FailureClass.USER, "ValueError: bad label 11"),
    (failed(75), Reason.STOPPED, FailureClass.INFRASTRUCTURE, "exit code 75"),
    (failed(76), Reason.PEER_LOST, FailureClass.INFRASTRUCTURE, "exit code 76"),
    (failed(77), Reason.HANG, FailureClass.HANG, "exit code 77"),
    (failed(78), Reason.CONFIG_ERROR, FailureClass.PERMANENT, "exit code 78"),
    (
        failed(79, message=verdict(79, type="", message="device 3 (H100) computes 212 TFLOP/s")),
        Reason.NODE_UNFIT,
        FailureClass.INFRASTRUCTURE,
        "node node-0 (node rank 1) falls short in preflight: device 3 (H100) computes 212 TFLOP/s",
    ),
    (
        failed(80, message=verdict(80, type="", message="the model isn't accepted: testAccuracy is 0.7")),
        Reason.GATE_NOT_PASSED,
        FailureClass.PERMANENT,
        "the model isn't accepted: testAccuracy is 0.7",
    ),
    (failed(80), Reason.USER_ERROR, FailureClass.USER, "exit code 80"),
    (failed(79), Reason.USER_ERROR, FailureClass.USER, "exit code 79"),
    (failed(137), Reason.KILLED, FailureClass.USER, "exit code 137"),
    (failed(137, message="step 5\n"), Reason.KILLED, FailureClass.USER, "somebody killed it, or its kubelet did"),
    (failed(137, message="step 5\n"), Reason.KILLED, FailureClass.USER, "its last line was: step 5"),
    (failed(137, message=verdict()), Reason.KILLED, FailureClass.USER, "ValueError: bad label 11"),
    (failed(139), Reason.KILLED, FailureClass.USER, "exit code 139"),
    (failed(143), Reason.KILLED, FailureClass.USER, "exit code 143"),
    (failed(255), Reason.USER_ERROR, FailureClass.USER, "exit code 255"),
    (failed(137, reason="OOMKilled"), Reason.OUT_OF_MEMORY, FailureClass.USER, "resources.limits.memory"),
    (
        failed(128, reason="StartError", message='exec: "torchrunn": executable file not found in $PATH'),
        Reason.CONTAINER_CONFIG,
        FailureClass.INFRASTRUCTURE,
        'can\'t start: exec: "torchrunn": executable file not found in $PATH; name a program',
    ),
    (pod(1, state=terminated(70)), Reason.USER_ERROR, FailureClass.USER, "exit code 70"),
    (
        pod(1, phase="Failed", state={}, reason="Evicted", message="low on disk"),
        Reason.EVICTED,
        FailureClass.INFRASTRUCTURE,
        "Evicted: low on disk",
    ),
    (pod(1, conditions=[disruption()]), Reason.EVICTED, FailureClass.INFRASTRUCTURE, "PreemptionByScheduler"),
    (pod(1, deleted=-1), Reason.EVICTED, FailureClass.INFRASTRUCTURE, "deleted by somebody else"),
    (
        pod(1, phase="Failed", state=terminated(75, ended=3), deleted=-1),
        Reason.EVICTED,
        FailureClass.INFRASTRUCTURE,
        "deleted by somebody else",
    ),
    (
        pod(1, phase="Failed", state=terminated(143, ended=3), deleted=-1),
        Reason.EVICTED,
        FailureClass.INFRASTRUCTURE,
        "deleted by somebody else",
    ),
    (
        pod(1, phase="Failed", state=terminated(1, ended=-30), deleted=-1),
        Reason.USER_ERROR,
        FailureClass.USER,
        "exit code 1",
    ),
    (
        pod(1, phase="Failed", state=terminated(1, ended=-30), conditions=[disruption()]),
        Reason.USER_ERROR,
        FailureClass.USER,
        "exit code 1",
    ),
]


@pytest.mark.parametrize("other", HEALTHY)
def test_healthy_pods_are_no_cause(other: JSON) -> None:
    assert find_cause(pod(0), other) is None


@pytest.mark.parametrize(
    ("other", "reason", "class_", "said"), CASES, ids=[f"{number}-{case[1]}" for number, case in enumerate(CASES)]
)
def test_what_a_pod_shows(other: JSON, reason: Reason, class_: FailureClass, said: str) -> None:
    cause = find_cause(pod(0), other)
    assert (cause.reason, cause.failure_class) == (reason, class_)
    assert said in cause.message
    status = cause.to_status()
    assert status.class_ is class_
    assert status.rank == 1
    assert status.node == "node-0"


NODE_CASES = [
    pytest.param(NODES, pod(1, on="node-1"), False, id="ready"),
    pytest.param(LOST, pod(1, on="node-1"), True, id="not ready"),
    pytest.param({**NODES, "node-1": node("node-1", taints=[NO_EXECUTE])}, pod(1, on="node-1"), True, id="tainted"),
    pytest.param(
        {**NODES, "node-1": node("node-1", taints=[{"key": "team", "effect": "NoExecute"}])},
        pod(1, on="node-1"),
        False,
        id="somebody's own taint",
    ),
    pytest.param(NODES, pod(1, on="node-9"), True, id="deleted"),
    pytest.param({}, pod(1, on="node-9"), False, id="nodes aren't watched"),
    pytest.param(NODES, pod(1, on="node-9", started=-9), False, id="pod seen before its node"),
    pytest.param(
        {**NODES, "node-1": node("node-1", ready="False", since=-30)},
        pod(1, on="node-1", started=-9),
        False,
        id="what is known of the node is older than the pod",
    ),
    pytest.param(LOST, pod(1, on="node-1", started=-9), True, id="lost right after the start"),
    pytest.param(LOST, pod(1, phase="Succeeded", on="node-1"), False, id="succeeded before"),
]


@pytest.mark.parametrize(("nodes", "other", "lost"), NODE_CASES)
def test_lost_nodes(nodes: dict[str, JSON], other: JSON, lost: bool) -> None:
    cause = find_cause(pod(0), other, nodes=nodes)
    assert (cause is not None) is lost
    if cause is not None:
        assert (cause.reason, cause.pod.node) == (Reason.NODE_LOST, other["spec"]["nodeName"])


def test_unknown_node_is_looked_at_again() -> None:
    pods = gang(pod(0), pod(1, on="node-9", started=-9))
    assert [*next_look(pods, NODES, now=NOW)] == [10.0]


def test_a_node_that_is_gone_is_said_to_be() -> None:
    assert "node node-9, which runs rank 1, is gone" in find_cause(pod(0), pod(1, on="node-9")).message
    assert "isn't ready" in find_cause(pod(0), pod(1, on="node-1"), nodes=LOST).message


def test_missing_pod_is_lost_only_once_all_were_there() -> None:
    assert find_cause(pod(0), all_created=False) is None
    assert find_cause(pod(0), all_created=True).reason is Reason.POD_LOST


ORDER = [
    pytest.param(failed(76, ended=-9), pod(0, phase="Failed", state=terminated(70, ended=-3)), 0, id="not the peer"),
    pytest.param(failed(75, ended=-9), pod(0, phase="Failed", state=terminated(77, ended=-3)), 0, id="not the stopped"),
    pytest.param(failed(1, ended=-9), pod(0, phase="Failed", state=terminated(1, ended=-3)), 1, id="the earliest"),
    pytest.param(failed(1, ended=-3), pod(0, deleted=-9), 0, id="the eviction that made it fail"),
    pytest.param(failed(1, ended=-9), pod(0, deleted=-3), 1, id="the failure before the eviction"),
    pytest.param(
        failed(70, ended=-2, message=verdict(time=NOW.timestamp() - 20)),
        pod(0, phase="Failed", state=terminated(70, ended=-9)),
        1,
        id="the earliest by the trainer's word",
    ),
    pytest.param(
        failed(70, ended=-2, message=verdict(time=5.0)),
        pod(0, phase="Failed", state=terminated(70, ended=-9)),
        0,
        id="a time that can't be is no word",
    ),
]


@pytest.mark.parametrize(("one", "other", "rank"), ORDER)
def test_root_cause(one: JSON, other: JSON, rank: int) -> None:
    assert find_cause(one, other).pod.rank == rank


@pytest.mark.parametrize(
    ("code", "ended", "alive", "settled"),
    [
        pytest.param(76, -1, True, False, id="the cause may still come"),
        pytest.param(76, -12, True, False, id="its pod may still send its logs"),
        pytest.param(76, -14, True, True, id="it didn't come"),
        pytest.param(76, -1, False, True, id="nobody is left who could say"),
        pytest.param(76, 3600, True, True, id="the node's clock is ahead"),
        pytest.param(70, -1, True, True, id="a cause of its own"),
    ],
)
def test_peer_lost_waits_for_the_cause(code: int, ended: float, alive: bool, settled: bool) -> None:
    pods = gang(failed(code, ended=ended), pod(0, phase="Running" if alive else "Failed"))
    cause = find(Gang({1: pods.current[1]}, [], NOW), NODES, desired=2, all_created=False, now=NOW)
    assert cause is not None
    assert is_settled(cause, pods, now=NOW) is settled
    assert (13.0 if code == 76 else 3.0) in next_look(pods, NODES, now=NOW)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("x" * 1_000_000, id="a megabyte"),
        pytest.param("\x1b[31mred\x07\u202e", id="control characters"),
        pytest.param('{"outcome": "succeeded", "exitCode": 0}', id="a lie about the outcome"),
        pytest.param(verdict(rank=10**30), id="a rank that can't be"),
        pytest.param(verdict(traceback="x" * 4000), id="a traceback beyond the contract"),
        pytest.param(verdict(message="\x00\x1b" * 400), id="an error of nothing but control characters"),
        pytest.param("{" * 15_000, id="nested JSON"),
    ],
)
def test_lies_and_noise_in_termination_messages(message: str) -> None:
    cause = find_cause(pod(0), failed(70, message=message))
    assert cause.reason is Reason.USER_ERROR
    status = cause.to_status()
    assert len(status.message) <= 1024
    assert status.message.isprintable()
    assert status.exit_code == 70


def test_failure_names_rank_signal_and_traceback() -> None:
    said = verdict(rank=13, traceback="Traceback\n  line 1\nValueError: bad label 11")
    status = find_cause(pod(0), failed(137, message=said)).to_status()
    assert (status.rank, status.exit_code, status.signal) == (13, 137, 9)
    assert status.traceback == "Traceback\n  line 1\nValueError: bad label 11"


def test_an_exception_without_words_is_its_name() -> None:
    assert find_cause(pod(0), failed(70, message=verdict(type="StopIteration", message=""))).message == "StopIteration"


def test_of_commands_that_end_in_one_second_the_one_that_lost_a_peer_is_no_cause() -> None:
    first = pod(0, phase="Failed", state=terminated(1, ended=-1, message=PEER_GONE))
    cause = find_cause(first, pod(1, phase="Failed", state=terminated(1, message=RAISED)))
    assert cause.to_status().rank == 1
    assert cause.message == "ValueError: bad sample 4711 (train.py, line 7)"


def test_a_commands_traceback_is_in_the_status_however_long_its_log_is() -> None:
    lines = '  File "/app/train.py", line 7, in step\n' * 80
    status = find_cause(failed(1, message=RAISED.replace("    step()\n", lines))).to_status()
    assert status.traceback.endswith("ValueError: bad sample 4711")
