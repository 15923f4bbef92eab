"""When a half-scheduled gang is released, and when it is tried again."""

from typing import Any

import pytest

from footplate.policy.scheduling_timeout import backoff, doubts, seconds_left
from unit.policy.build import UID, at, job, look, names, observe, pod, situate, waiting

JSON = dict[str, Any]


def waits(rank: int) -> JSON:
    return pod(rank, phase="Pending", on=None)


def starting(*pods: JSON, started: float = -600, **attempt: Any) -> Any:
    attempts = [{"attempt": 0, "startTime": at(started), "nodes": 2, **attempt}]
    return situate(observe(job(), *pods, phase="Queued", attempts=attempts))


@pytest.mark.parametrize(
    ("situation", "left"),
    [
        pytest.param(starting(waits(0), waits(1)), None, id="holds no node"),
        pytest.param(starting(pod(0), pod(1)), None, id="holds all"),
        pytest.param(starting(pod(0, started=-50), waits(1)), 250, id="since the first node was taken"),
        pytest.param(starting(pod(0, started=-301), waits(1)), -1, id="over"),
        pytest.param(starting(pod(0), waits(1), runningTime=at(-9)), None, id="ran already"),
        pytest.param(starting(pod(0), waits(1), endTime=at(-9)), None, id="has ended"),
    ],
)
def test_seconds_left(situation: Any, left: float | None) -> None:
    assert seconds_left(situation) == left


def test_release_gives_the_nodes_back() -> None:
    pods = (pod(0, started=-301), waits(1))
    plan = look(job(), *pods, phase="Queued")
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["reason"]) == ("Restarting", "SchedulingTimeout")
    assert "only 1 of 2 nodes were scheduled within 300 s" in plan.status["message"]
    assert plan.status["restarts"]["total"] == 0
    between = {**job(), "status": plan.status}
    assert names(look(between, *pods).delete) == ["Pod/fashion-1-0-0", "Pod/fashion-1-0-1"]


def series(length: int, *, uid: str = UID) -> Any:
    """A job whose newest attempt is the last of so many that found too few nodes."""
    first = {"attempt": 3, "startTime": at(-900), "endTime": at(-600), "reason": "SchedulingTimeout"}
    newest = {"attempt": 2 + length, "startTime": at(-300)}
    attempts = [{"attempt": 2, "reason": "NodeLost"}, *([first] if length > 1 else []), newest]
    return situate(observe(job(uid=uid), phase="Queued", attempts=attempts))


def test_backoff_doubles_and_differs_from_job_to_job() -> None:
    for length in range(1, 6):
        assert 10 * 2 ** (length - 1) <= backoff(series(length)) <= 20 * 2 ** (length - 1)
    assert backoff(series(1)) != backoff(series(1, uid="another"))
    assert backoff(series(9)) == backoff(series(1000)) == 600


DONE = [{"attempt": 0, "startTime": at(-600), "createdTime": at(-599), "nodes": 2, "succeededRanks": "0"}]
PULLS = pod(1, phase="Pending", state=waiting("ContainerCreating"), started=-590)


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(job(), id="half scheduled"),
        pytest.param(job({"runPolicy": {"queueDeadlineSeconds": 500}}), id="queue deadline"),
        pytest.param(job({"elastic": {"minNodes": 1, "maxNodes": 4}}), id="elastic"),
    ],
)
def test_a_rank_that_is_done_had_its_node_though_its_pod_is_gone(of: JSON) -> None:
    plan = look(of, PULLS, phase="Starting", attempts=DONE)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["attempt"]) == ("Starting", 0)


def test_what_is_confirmed_is_a_rank_that_isnt_done() -> None:
    pending = observe(job(), waits(1), phase="Queued", attempts=DONE)
    assert [doubt.name for doubt in doubts(situate(pending))] == ["fashion-1-0-1"]
