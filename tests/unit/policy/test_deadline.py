"""Limits of running time and of waiting."""

from typing import Any

import pytest

from footplate.policy.deadline import deadlines
from footplate.policy.reasons import Reason
from unit.policy.build import at, job, observe, pod, situate

JSON = dict[str, Any]
ACTIVE, QUEUED = Reason.DEADLINE, Reason.QUEUE_DEADLINE
LIMITS = {"activeDeadlineSeconds": 1000, "queueDeadlineSeconds": 1000}


def attempt(number: int = 0, *, start: float = -600, ran: float | None = None, ended: float | None = None) -> JSON:
    raw: JSON = {"attempt": number, "startTime": at(start), "nodes": 2}
    raw |= {"runningTime": at(ran)} if ran is not None else {}
    return raw | ({"endTime": at(ended), "reason": "SchedulingTimeout"} if ended is not None else {})


HALF = (pod(0), pod(1, phase="Pending", on=None))
CASES = [
    pytest.param([attempt(ran=-300)], {}, HALF, {ACTIVE: 700}, id="running"),
    pytest.param([attempt(ran=-300)], {"activeSeconds": 600}, HALF, {ACTIVE: 100}, id="summed over attempts"),
    pytest.param([attempt(ran=-1001)], {}, HALF, {ACTIVE: -1}, id="over"),
    pytest.param([attempt(ran=60)], {}, HALF, {ACTIVE: 1000}, id="the clock went back"),
    pytest.param([attempt()], {}, HALF, {QUEUED: 400}, id="waiting for nodes"),
    pytest.param([attempt()], {}, (pod(0), pod(1)), {}, id="all scheduled"),
    pytest.param([attempt()], {}, (), {QUEUED: 400}, id="no pods yet"),
    pytest.param(
        [attempt(0, start=-900, ended=-600), attempt(5, start=-60)], {}, HALF, {QUEUED: 100}, id="since the first try"
    ),
    pytest.param([attempt(0, start=-900, ended=-60)], {}, (), {QUEUED: 100}, id="between two tries"),
    pytest.param([attempt(ran=-300, ended=-10)], {}, (), {}, id="after a failure"),
    pytest.param([], {}, (), {}, id="before the first attempt"),
]


@pytest.mark.parametrize(("attempts", "status", "pods", "left"), CASES)
def test_deadlines(attempts: list[JSON], status: JSON, pods: tuple[JSON, ...], left: dict[Reason, float]) -> None:
    situation = situate(observe(job({"runPolicy": LIMITS}), *pods, phase="Starting", attempts=attempts, **status))
    assert {limit.reason: limit.left for limit in deadlines(situation)} == left


def test_no_limits_by_default() -> None:
    assert [*deadlines(situate(observe(job(), *HALF)))] == []
