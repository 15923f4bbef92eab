"""Creating a gang and showing how far it is."""

from datetime import timedelta
from typing import Any

import pytest

from footplate.policy.plan import Plan, Refusal
from unit.policy.build import NOW, at, job, look, names, pod

JSON = dict[str, Any]
FORBIDDEN = Refusal("Pod", "fashion-1-0-1", 403, "Forbidden", "exceeded quota: pods")


def test_only_what_is_missing_is_created() -> None:
    assert names(look(job(), pod(0), phase="Pending").create) == ["Pod/fashion-1-0-1", "Service/fashion-run-1-0b9fb7b6"]


@pytest.mark.parametrize("phase", ["Queued", "Starting", "Running"])
def test_nothing_is_created_once_all_were_there(phase: str) -> None:
    assert look(job(), pod(0), phase=phase).create == ()


def hiccup(verb: Any, *, since: float) -> Refusal:
    """A write that the API server failed to do, for the first time so many seconds ago."""
    began = NOW + timedelta(seconds=since)
    return Refusal(
        "Pod", "fashion-1-0-1", 500, "ApiUnavailable", "webhook x is away", verb, transient=True, since=began
    )


def failure(plan: Plan) -> JSON:
    """The condition of failing writes, empty where there is none."""
    conditions = (plan.status or {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == "ReplicaFailure"), {})


def test_a_refusal_is_shown_and_what_is_missing_still_wanted() -> None:
    plan = look(job(), pod(0), phase="Pending", refusals=[FORBIDDEN])
    assert names(plan.create) == ["Pod/fashion-1-0-1", "Service/fashion-run-1-0b9fb7b6"]
    assert plan.status is not None
    assert plan.status["reason"] == "PodsRefused"
    assert "exceeded quota: pods" in plan.status["message"]
    assert failure(plan)["reason"] == "FailedCreate"


def test_a_refusal_is_told_until_the_next_try_has_worked() -> None:
    of = job()
    refused = look(of, pod(0), phase="Pending", refusals=[FORBIDDEN])
    assert [(event.type, event.reason) for event in refused.events] == [("Warning", "PodsRefused")]
    living = {**of, "status": refused.status}
    again = look(living, pod(0), refusals=[FORBIDDEN])
    assert (again.status, again.events) == (None, ())
    created = look(living, pod(0), pod(1))
    assert created.status is not None
    assert (created.status["phase"], created.status["reason"]) == ("Running", "AllPodsRunning")
    assert failure(created) == {}


@pytest.mark.parametrize(("since", "reason"), [(-1.9, "CreatingPods"), (-2, "FailedCreate")])
def test_creates_that_fail_are_told_once_they_do_so_for_a_while(since: float, reason: str) -> None:
    plan = look(job(), pod(0, phase="Pending"), phase="Pending", refusals=[hiccup("create", since=since)])
    assert plan.status is not None
    assert plan.status["reason"] == reason
    assert names(plan.create) == ["Pod/fashion-1-0-1", "Service/fashion-run-1-0b9fb7b6"]
    told = reason == "FailedCreate"
    assert [event.reason for event in plan.events if event.type == "Warning"] == [reason] * told
    assert ("webhook x is away" in plan.status["message"]) == told
    assert failure(plan).get("reason") == (reason if told else None)


def test_deletes_that_fail_are_told_while_the_gang_goes_on() -> None:
    stuck = Refusal("Pod", "fashion-1-9-0", 403, "Forbidden", "a policy", "delete")
    old = pod(0, attempt=9)
    plan = look(job(), pod(0), pod(1), old, refusals=[stuck])
    assert plan.status is not None
    assert (plan.status["phase"], failure(plan)["reason"]) == ("Running", "FailedDelete")
    assert "the deletion of Pod fashion-1-9-0 was refused: a policy" in plan.status["message"]
    assert ("Warning", "FailedDelete") in [(event.type, event.reason) for event in plan.events]
    living = {**job(), "status": plan.status}
    assert look(living, pod(0), pod(1), old, refusals=[stuck]).events == ()
    assert failure(look(living, pod(0), pod(1))) == {}


def test_running_time_is_when_all_ran_first() -> None:
    attempts = [{"attempt": 0, "startTime": at(-600), "nodes": 2}]
    plan = look(job(), pod(0), pod(1), phase="Starting", attempts=attempts)
    assert plan.status is not None
    assert plan.status["runningTime"] == plan.status["attempts"][-1]["runningTime"] == at()
    later = look({**job(), "status": plan.status}, pod(0), pod(1), after=60)
    assert later.status is None


@pytest.mark.parametrize(
    ("ended", "avoids"),
    [
        pytest.param([("node-1", -60), ("node-2", -3599)], ["node-1", "node-2"], id="within the hour"),
        pytest.param([("node-1", -3601)], [], id="an hour later"),
    ],
)
def test_nodes_that_were_lost_are_avoided(ended: list[tuple[str, float]], avoids: list[str]) -> None:
    before = [
        {"attempt": n, "endTime": at(end), "reason": "NodeLost", "node": name} for n, (name, end) in enumerate(ended)
    ]
    attempts = [*before, {"attempt": len(before), "startTime": at(-1)}]
    create = look(job(), phase="Restarting", attempts=attempts).create
    affinity = create[-1]["spec"].get("affinity") or {}
    terms = affinity.get("nodeAffinity", {}).get("preferredDuringSchedulingIgnoredDuringExecution", [])
    fields = [field for term in terms for field in term["preference"]["matchFields"]]
    assert [field["values"][0] for field in fields] == avoids


def test_strays_are_deleted_from_a_running_gang() -> None:
    plan = look(job(), pod(0), pod(1), pod(7), pod(0, attempt=9))
    assert names(plan.delete) == ["Pod/fashion-1-0-7", "Pod/fashion-1-9-0"]


def test_looks_again_when_a_limit_is_due() -> None:
    half = (pod(0, started=-100), pod(1, phase="Pending", on=None))
    assert look(job(), *half, phase="Queued").requeue_after == 200
    of = job({"runPolicy": {"queueDeadlineSeconds": 650}})
    assert look(of, *half, phase="Queued").requeue_after == 50


NEXT = [
    {"attempt": 0, "startTime": at(-600), "endTime": at(-1), "reason": "Evicted", "nodes": 2},
    {"attempt": 1, "startTime": at(), "nodes": 2},
]


def test_a_quota_that_older_pods_still_fill_is_no_trouble() -> None:
    full = Refusal("Pod", "fashion-1-1-0", 403, "Forbidden", "exceeded quota: pods")
    of, older = job(), (pod(0, deleted=-5), pod(1, deleted=-5))
    waits = look(of, *older, phase="Restarting", reason="CreatingPods", attempts=NEXT, refusals=[full])
    assert waits.status is not None
    assert (waits.status["reason"], waits.events, len(waits.create)) == ("CreatingPods", (), 3)
    assert "ReplicaFailure" not in {condition["type"] for condition in waits.status["conditions"]}
    assert "once the pods of the attempt before have ended" in waits.status["message"]
    living = {**of, "status": waits.status}
    assert len(look(living).create) == 3, "they are gone, and the machinery has forgotten the refusal"
    still = look(living, refusals=[full])
    assert still.status is not None
    assert (still.status["reason"], [event.type for event in still.events]) == ("PodsRefused", ["Warning"])


@pytest.mark.parametrize("kind", ["Pod", "Service"])
def test_other_refusals_are_told_whoever_lives(kind: str) -> None:
    quota = "exceeded quota: services" if kind == "Service" else "no"
    refused = Refusal(kind, "fashion-1-1-0", 403, "Forbidden", quota)
    plan = look(job(), pod(0, deleted=-5), phase="Restarting", attempts=NEXT, refusals=[refused])
    assert plan.status is not None
    assert plan.status["reason"] == "PodsRefused"
