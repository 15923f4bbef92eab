"""What a run costs, and how much of it was of use."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate.api.scalars import MAX_COUNT
from footplate.api.status import TrainingJobStatus
from footplate.api.usage import Usage
from footplate.contract import Progress
from footplate.policy import usage
from footplate.policy.reasons import Reason
from footplate.policy.reconcile import reconcile
from unit.policy.build import NOW, UID, at, job, look, observe, pod, situate, status, terminated

JSON = dict[str, Any]
GPUS = {"resources": {"limits": {"nvidia.com/gpu": 4, "nvidia.com/mig-1g.5gb": "2", "memory": "1Gi"}}}
PAST = {"nodeSeconds": 1000, "endedNodeSeconds": 1000}


def polled(step: int = 9, productive: float | None = None, **more: Any) -> Progress:
    progress = {"step": step, "updateTime": at()}
    raw = {"uid": UID, "run": 1, "attempt": 0, "progress": progress, "productiveNodeSeconds": productive, **more}
    return Progress.model_validate(raw)


def says(rank: int = 0, code: int = 0, **verdict: Any) -> JSON:
    message = json.dumps({"outcome": "failed" if code else "succeeded", "exitCode": code, **verdict})
    return pod(rank, phase="Failed" if code else "Succeeded", state=terminated(code, message=message))


def closed(*pods: JSON, of: JSON | None = None, **known: Any) -> Usage:
    return usage.close(situate(observe(of or job(), *pods, **known)), Reason.USER_ERROR)


def knowing(status_of: JSON, of: JSON | None = None) -> JSON:
    """A job with more in its status."""
    of = of or job()
    return {**of, "status": status(of, **status_of)}


def used(*pods: JSON, of: JSON | None = None, after: float = 0, **more: Any) -> JSON | None:
    """`status.usage` after a look at a job, None where nothing is written."""
    plan = look(of or job(), *pods, after=after, **more)
    return plan.status.get("usage") if plan.status is not None else None


ATTEMPT = {"attempt": 0, "startTime": at(-600), "nodes": 2}
HELD = [
    pytest.param([pod(0), pod(1)], {}, 120, id="both since they were bound"),
    pytest.param([pod(0), pod(1, on=None, phase="Pending")], {"phase": "Queued"}, 60, id="one waits"),
    pytest.param([pod(0), pod(1, phase="Failed", state=terminated(1, ended=-40))], {}, 80, id="one ended"),
    pytest.param([pod(0)], {}, 360, id="one vanished: since all ran"),
    pytest.param([pod(0)], {"attempts": [ATTEMPT], "phase": "Starting"}, 660, id="vanished before all ran"),
    pytest.param([pod(0)], {"attempts": [ATTEMPT], "phase": "Queued"}, 60, id="may never have had a node"),
    pytest.param([pod(0)], {"attempts": [ATTEMPT], "phase": "Pending"}, 60, id="isn't created yet"),
    pytest.param([pod(0), pod(1, started=3600)], {}, 60, id="bound in the future"),
    pytest.param([pod(0), pod(1, phase="Failed", state=terminated(1, ended=3600))], {}, 120, id="ended in the future"),
    pytest.param([pod(0), pod(1), pod(0, attempt=7)], {}, 120, id="older pods are in the past"),
]


@pytest.mark.parametrize(("pods", "known", "held"), HELD)
def test_node_seconds(pods: list[JSON], known: JSON, held: int) -> None:
    result = closed(*pods, usage=PAST, **known)
    assert (result.node_seconds, result.ended_node_seconds) == (1000 + held, 1000 + held)
    assert (result.productive_seconds, result.lost_seconds, result.goodput_percent) == (None, None, None)


def test_accelerators_count_each() -> None:
    result = closed(pod(0), pod(1), of=job(GPUS))
    assert result.accelerator_seconds == {"nvidia.com/gpu": 480, "nvidia.com/mig-1g.5gb": 240}
    assert closed(pod(0), pod(1)).accelerator_seconds == {}


@pytest.mark.parametrize(("spec", "weight"), [(GPUS, 6), ({}, 1)], ids=["accelerators", "none"])
def test_a_running_job(spec: JSON, weight: int) -> None:
    assert used(pod(0), pod(1), of=job(spec), progress=polled(productive=90.5)) == {
        "nodeSeconds": 120,
        "endedNodeSeconds": 0,
        "acceleratorSeconds": {"nvidia.com/gpu": 480, "nvidia.com/mig-1g.5gb": 240} if spec else {},
        "productiveSeconds": int(90.5 * weight),
        "lostSeconds": 120 * weight - int(90.5 * weight),
        "goodputPercent": 75.4 if spec else 75.0,
    }


def test_code_that_does_not_say_has_neither_part() -> None:
    result = used(pod(0), pod(1), progress=polled())
    assert result == {"nodeSeconds": 120, "endedNodeSeconds": 0, "acceleratorSeconds": {}}


def test_never_more_than_was_held() -> None:
    result = used(pod(0), pod(1), progress=polled(productive=1e15))
    assert result is not None
    assert (result["productiveSeconds"], result["lostSeconds"], result["goodputPercent"]) == (120, 0, 100)


def test_time_alone_is_hardly_news() -> None:
    """Where training says nothing, what it holds is told every ten minutes."""
    written = look(job(), pod(0), pod(1), progress=polled(productive=50)).status
    of = {**job(), "status": written}
    for progress in (polled(productive=50), None):
        plan = look(of, pod(0), pod(1), progress=progress, after=590)
        assert (plan.status, plan.requeue_after) == (None, 10)
        told = used(pod(0), pod(1), of=of, progress=progress, after=600)
        assert told is not None
        assert (told["nodeSeconds"], told["productiveSeconds"]) == (1320, 50)
    later = used(pod(0), pod(1), of=of, progress=polled(10, productive=60), after=3600)
    assert later is not None
    assert (later["nodeSeconds"], later["productiveSeconds"]) == (7320, 60)


CHECKPOINT = {"uri": "s3://c/6/", "step": 6, "time": at(-50)}
KNOWN = {**PAST, "productiveSeconds": 600}
WHAT_STANDS = [
    pytest.param(says(0, 1, step=12, productiveNodeSeconds=90, checkpoint=CHECKPOINT), {}, 45, id="half was saved"),
    pytest.param(says(0, 75, step=6, productiveNodeSeconds=90, checkpoint=CHECKPOINT), {}, 90, id="all was saved"),
    pytest.param(says(0, 1, step=12, productiveNodeSeconds=90), {}, 0, id="nothing was saved"),
    pytest.param(says(0, 1, step=12), {"checkpoint": CHECKPOINT, "usage": KNOWN}, 300, id="as was known before"),
    pytest.param(
        says(0, 1),
        {"checkpoint": CHECKPOINT, "usage": KNOWN, "progress": {"step": 12, "updateTime": at(-700)}},
        600,
        id="this attempt did nothing: what stood stands",
    ),
    pytest.param(
        says(0, 1, step=14, productiveNodeSeconds=100, checkpoint=CHECKPOINT),
        {"attempts": [{**ATTEMPT, "resumedFromStep": 4}]},
        20,
        id="a warm start's steps aren't this run's",
    ),
]


@pytest.mark.parametrize(("dead", "known", "productive"), WHAT_STANDS)
def test_what_a_failure_leaves(dead: JSON, known: JSON, productive: int) -> None:
    after = used(dead, pod(1), of=knowing({"usage": PAST, **known}))
    assert after is not None
    assert after["productiveSeconds"] == productive
    assert after["productiveSeconds"] + after["lostSeconds"] == after["nodeSeconds"] == after["endedNodeSeconds"]


def test_success_needs_no_checkpoint() -> None:
    result = used(says(0, step=12, productiveNodeSeconds=90), says(1))
    assert result is not None
    assert result["productiveSeconds"] == 90


def test_the_end_is_counted_once_and_last_words_come_later() -> None:
    """As when a job is suspended: the attempt ends first, then the ranks save, stop and say so."""
    of = job({"runPolicy": {"suspend": True}})
    known = {"checkpoint": CHECKPOINT, "progress": {"step": 12, "updateTime": at()}, "usage": KNOWN}
    first = look(knowing(known, of), pod(0), pod(1)).status
    assert first is not None
    assert (first["usage"]["endedNodeSeconds"], first["usage"]["productiveSeconds"]) == (1120, 300)
    saved = {**CHECKPOINT, "step": 13}
    words = says(0, 75, step=13, productiveNodeSeconds=700, checkpoint=saved)
    second = look({**of, "status": first}, words, says(1, 75), after=20).status
    assert second is not None
    assert (second["usage"]["endedNodeSeconds"], second["usage"]["productiveSeconds"]) == (1120, 700)
    third = look({**of, "status": second}, words, says(1, 75), after=40).status
    assert third is None or third["usage"] == second["usage"]


def test_a_new_attempt_keeps_what_is_known_until_it_reports() -> None:
    attempts = [
        {"attempt": 0, "startTime": at(-900), "endTime": at(-700), "reason": "NodeLost"},
        {"attempt": 1, "startTime": at(-600), "runningTime": at(-60), "nodes": 2},
    ]
    ran = (pod(0, attempt=1), pod(1, attempt=1))
    silent = polled(3).model_copy(update={"attempt": 1})
    kept = used(*ran, attempts=attempts, usage=KNOWN, progress=silent)
    assert kept is not None
    assert (kept["nodeSeconds"], kept["productiveSeconds"]) == (1120, 600)
    reports = polled(4, productive=550).model_copy(update={"attempt": 1})
    told = used(*ran, attempts=attempts, usage=KNOWN, progress=reports)
    assert told is not None
    assert (told["productiveSeconds"], told["lostSeconds"]) == (550, 570)


def test_another_run_begins_at_nothing() -> None:
    again = job({"runPolicy": {"restartNonce": "2"}})
    assert used(of=again, phase="Failed", usage=KNOWN) is None


@pytest.mark.parametrize("hours", [-1, 1], ids=["back", "forward"])
def test_a_clock_that_jumps_leaves_no_trace(hours: int) -> None:
    """Too large a sum stands still until the truth has caught up; what has ended is counted by the pods' own times."""
    jumped = used(pod(0), pod(1), progress=polled(9, productive=50), after=3600 * hours)
    assert jumped is not None
    assert jumped["nodeSeconds"] == max(0, 120 + 7200 * hours)
    then = closed(says(0, 1), pod(1), usage=jumped)
    assert (then.node_seconds, then.ended_node_seconds) == (max(120, jumped["nodeSeconds"]), 120)


@given(
    seconds=st.lists(st.integers(-(10**6), 10**6) | st.integers(-(10**9), 10**11), min_size=1, max_size=8),
    ends=st.booleans(),
)
def test_no_sum_ever_falls(seconds: list[int], ends: bool) -> None:
    before = Usage()
    for number, shift in enumerate(seconds):
        observed = observe(job(GPUS), pod(0), pod(1), usage=before.to_json())
        situation = situate(observed)
        news = TrainingJobStatus.model_validate({**situation.status.to_json(), "progress": {"step": number}})
        moved = replace(situation, now=NOW.fromtimestamp(max(0, NOW.timestamp() + shift), tz=NOW.tzinfo), status=news)
        read = situation.status.model_copy(update={"progress": None})
        after = (
            usage.close(moved, Reason.KILLED) if ends else usage.update(moved, before=read, polled=polled(number, 5))
        )
        assert after is not None
        Usage.model_validate(after.to_json())
        assert before.node_seconds <= after.node_seconds <= MAX_COUNT
        assert before.ended_node_seconds <= after.ended_node_seconds <= after.node_seconds
        assert (after.lost_seconds or 0) >= 0
        before = after


def test_a_crash_before_the_write_counts_nothing_twice() -> None:
    observed = observe(job(), says(0, 1), pod(1), usage=PAST)
    plans = [reconcile(observed, now=NOW) for _ in range(3)]
    assert [plan.status["usage"]["endedNodeSeconds"] for plan in plans if plan.status is not None] == [1120] * 3
