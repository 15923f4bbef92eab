"""Phase, counts and message of a living gang."""

from datetime import timedelta
from typing import Any

import pytest

from footplate.api.reports import ProgressStatus
from footplate.api.status import Phase
from footplate.policy.phase import count, derive, describe, seconds_until_slow
from unit.policy.build import NOW, at, gang, pod, waiting

JSON = dict[str, Any]


def queued(rank: int, said: str = "0/3 nodes are available") -> JSON:
    unscheduled = {"type": "PodScheduled", "status": "False", "message": said}
    return pod(rank, phase="Pending", on=None, conditions=[unscheduled])


def creating(rank: int, *, started: float = -5) -> JSON:
    return pod(rank, phase="Pending", state=waiting("ContainerCreating"), started=started)


def gated(rank: int) -> JSON:
    raw = pod(rank, phase="Pending", on=None)
    return {**raw, "spec": {"schedulingGates": [{"name": "kueue.x-k8s.io/admission"}]}}


DONE = pod(1, phase="Succeeded")
CASES = [
    ("Pending", [], "Pending", "CreatingPods", "0 of 2 nodes created"),
    ("Pending", [pod(0)], "Pending", "CreatingPods", "1 of 2 nodes created"),
    ("Restarting", [pod(0)], "Restarting", "CreatingPods", "1 of 2 nodes created"),
    ("Pending", [pod(0), queued(1)], "Queued", "WaitingForNodes", "1 of 2 nodes scheduled…; 0/3 nodes are available"),
    ("Pending", [gated(0), gated(1)], "Queued", "Gated", "0 of 2 nodes scheduled…; held back by a scheduling gate"),
    ("Queued", [pod(0), creating(1)], "Starting", "StartingPods", "1 of 2 nodes started…"),
    (
        "Queued",
        [pod(0), creating(1, started=-90)],
        "Starting",
        "StartingPods",
        "1 of 2 nodes started…; pod fashion-1-0-1 takes long: `kubectl describe pod fashion-1-0-1` says why",
    ),
    (
        "Starting",
        [pod(0), pod(1, phase="Pending", state=waiting("ErrImagePull", "not found"))],
        "Starting",
        "StartingPods",
        "1 of 2 nodes started…; not found",
    ),
    ("Starting", [pod(0), pod(1)], "Running", "AllPodsRunning", "2 of 2 nodes running"),
    ("Restarting", [pod(0), DONE], "Running", "AllPodsRunning", "2 of 2 nodes running"),
    ("Running", [pod(0), pod(1, phase="Unknown")], "Running", "AllPodsRunning", "1 of 2 nodes running"),
]


@pytest.mark.parametrize(
    ("was", "pods", "phase", "reason", "message"), CASES, ids=[f"{case[0]}-{case[4][:40]}" for case in CASES]
)
def test_phase(was: str, pods: list[JSON], phase: str, reason: str, message: str) -> None:
    bucketed = gang(*pods)
    counts = count(bucketed, desired=2)
    now_phase, why = derive(bucketed, counts, was=Phase(was))
    assert (now_phase, why) == (phase, reason)
    assert describe(now_phase, bucketed, counts, None, since=NOW, now=NOW) == message.replace(
        "…", f", waiting since {at()}"
    )


MOUNTS = ["ConfigMap code", "Secret k"]


def test_a_slow_start_names_what_the_volumes_need() -> None:
    slow = gang(pod(0), creating(1, started=-90))
    said = describe(Phase.STARTING, slow, count(slow, desired=2), None, mounts=MOUNTS, since=NOW, now=NOW)
    assert "pod fashion-1-0-1 takes long (it mounts ConfigMap code, Secret k): `kubectl describe" in said


def test_counts() -> None:
    pods = gang(pod(0), DONE, pod(2, phase="Failed"), queued(3), nodes=5)
    counts = count(pods, desired=5)
    assert (counts.desired, counts.created, counts.scheduled) == (5, 4, 3)
    assert (counts.ready, counts.succeeded, counts.failed, counts.summary) == (1, 1, 1, "2/5")


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (ProgressStatus(), "2 of 2 nodes running"),
        (ProgressStatus(step=1200), "2 of 2 nodes running, step 1,200"),
        (ProgressStatus(step=1200, total_steps=9380), "2 of 2 nodes running, step 1,200 of 9,380"),
        (
            ProgressStatus(step=1200, total_steps=9380, percent=12.79, eta="57m"),
            "2 of 2 nodes running, step 1,200 of 9,380 (12.8 %), 57m left",
        ),
    ],
)
def test_running_message_says_how_far(progress: ProgressStatus, said: str) -> None:
    bucketed = gang(pod(0), pod(1))
    assert describe(Phase.RUNNING, bucketed, count(bucketed, desired=2), progress, since=NOW, now=NOW) == said


def test_slow_start_is_looked_for_when_it_is_one() -> None:
    bucketed = gang(creating(0), creating(1, started=-30))
    assert seconds_until_slow(bucketed, now=NOW) == 60
    assert seconds_until_slow(bucketed, now=NOW + timedelta(seconds=60)) is None
    assert seconds_until_slow(gang(pod(0)), now=NOW) is None
