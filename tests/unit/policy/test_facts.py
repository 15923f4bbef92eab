"""What was seen once is in the status: all pods were there, and which ranks are done."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate.api.status import MAX_RANKS_LENGTH, TrainingJobStatus
from footplate.api.trainingjob import MAX_NODES
from footplate.policy.facts import format_ranks, parse_ranks
from unit.policy.build import NOW, at, job, look, names, pod, terminated

JSON = dict[str, Any]


def last_attempt(of: JSON, *pods: JSON, **more: Any) -> JSON:
    status = look(of, *pods, **more).status
    assert status is not None
    return dict(status["attempts"][-1])


@pytest.mark.parametrize(
    ("ranks", "text"), [([], ""), ([3], "3"), ([0, 2, 3, 4], "0,2-4"), ([1, 2, 4, 6, 7], "1-2,4,6-7")]
)
def test_ranks_are_written_as_a_jobs_completed_indexes(ranks: list[int], text: str) -> None:
    assert format_ranks(ranks) == text
    assert parse_ranks(text, nodes=10) == frozenset(ranks)


@given(st.sets(st.integers(0, 199)))
def test_what_is_written_is_read(ranks: set[int]) -> None:
    assert parse_ranks(format_ranks(ranks), nodes=200) == ranks


def test_the_largest_gang_fits() -> None:
    assert len(format_ranks(range(0, MAX_NODES, 2))) <= MAX_RANKS_LENGTH


@pytest.mark.parametrize("text", [None, "", "x", "-", "5-", "-5", "9-3", "1,,2x", "0-99999999999", "²", "7-8"])
def test_what_isnt_a_rank_of_the_gang_is_left_out(text: str | None) -> None:
    assert parse_ranks(text, nodes=6) <= frozenset(range(6))


def test_that_all_pods_were_there_is_written_when_they_are_seen() -> None:
    attempts = [{"attempt": 0, "startTime": at(-600), "nodes": 2}]
    waits = (pod(0, phase="Pending", on=None), pod(1, phase="Pending", on=None))
    assert last_attempt(job(), *waits, phase="Pending", attempts=attempts)["createdTime"] == at()
    assert "createdTime" not in last_attempt(job(), waits[0], phase="Pending", attempts=attempts)


PHASES = ["Pending", "Queued", "Starting", "Running", "Restarting"]


@pytest.mark.parametrize("phase", PHASES)
def test_absence_is_judged_by_the_fact_and_not_by_the_phase(phase: str) -> None:
    """Whatever a phase says: pods that were never all seen are created, and one of those that were is lost."""
    unseen = {"attempt": 0, "startTime": at(-600), "nodes": 2, "createdTime": None}
    plan = look(job(), pod(0), phase=phase, attempts=[unseen])
    assert names(plan.create) == ["Pod/fashion-1-0-1", "Service/fashion-run-1-0b9fb7b6"]
    assert plan.status is None or plan.status["reason"] != "PodLost"
    lost = look(job(), pod(0), phase=phase, attempts=[{**unseen, "createdTime": at(-500)}])
    assert (lost.create, lost.status and lost.status["reason"]) == ((), "PodLost")


DONE = {"attempt": 0, "startTime": at(-600), "createdTime": at(-500), "runningTime": at(-300), "nodes": 2}


def test_a_rank_that_is_done_is_remembered_when_its_pod_is_gone() -> None:
    """Drained, removed by an autoscaler, or by anybody, while rank 0 still works."""
    first = look(job(), pod(0), pod(1, phase="Succeeded"))
    assert first.status is not None
    assert first.status["attempts"][-1]["succeededRanks"] == "1"
    of = {**job(), "status": first.status}
    alone = look(of, pod(0), after=60)
    assert (alone.create, alone.delete) == ((), ())
    assert alone.status is None or (alone.status["phase"], alone.status["nodes"]["summary"]) == ("Running", "2/2")
    over = look(of, pod(0, phase="Succeeded"), after=60)
    assert over.status is not None
    assert over.status["phase"] == "Succeeded"
    gone = look({**job(), "status": {**first.status, "attempts": [{**DONE, "succeededRanks": "0-1"}]}})
    assert gone.status is not None
    assert gone.status["phase"] == "Succeeded"


def test_a_done_rank_counts_while_others_start() -> None:
    attempts = [{**DONE, "runningTime": None, "succeededRanks": "1"}]
    plan = look(job(), pod(0, phase="Pending", state={}), phase="Starting", attempts=attempts)
    assert plan.status is not None
    assert (plan.status["phase"], plan.status["nodes"]["created"], plan.status["nodes"]["scheduled"]) == (
        "Starting", 2, 2,
    )  # fmt: skip
    assert plan.create == ()


def test_facts_never_wait_for_their_turn() -> None:
    status = look(job(), pod(0), pod(1), status_written=None).status
    plan = look({**job(), "status": status}, pod(0), pod(1, phase="Succeeded"), status_written=NOW)
    assert plan.status is not None
    assert plan.status["attempts"][-1]["succeededRanks"] == "1"


def test_the_next_attempt_has_facts_of_its_own() -> None:
    ended = {**DONE, "succeededRanks": "1", "endTime": at(-5), "reason": "UserError"}
    status = look(job(), phase="Restarting", attempts=[ended], restartTime=at(-1)).status
    assert status is not None
    assert [each.get("succeededRanks") for each in status["attempts"]] == [None, None]
    assert "createdTime" not in status["attempts"][-1]


def test_a_status_of_an_older_operator_that_ran_was_whole() -> None:
    old = TrainingJobStatus.model_validate({"attempts": [{**DONE, "createdTime": None}]}).attempts[-1]
    lost = look(job(), pod(0), attempts=[old.to_json()])
    assert lost.status is not None
    assert lost.status["reason"] == "PodLost"


def test_a_failed_rank_is_not_done() -> None:
    assert "succeededRanks" not in last_attempt(job(), pod(0), pod(1, phase="Failed", state=terminated(1)))
