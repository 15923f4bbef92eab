"""What a view doesn't show, or shows as lost, is asked for before a gang counts as stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from footplate.policy.plan import Doubt, Observed, Plan
from footplate.policy.reconcile import reconcile
from unit.policy.build import NOW, at, job, names, node, observe, pod, status, terminated

JSON = dict[str, Any]
ALONE: JSON = {"nodes": 1}
UNSEEN = Doubt("Pod", "fashion-1-0-0")
LOST = {"node-0": node("node-0", ready="Unknown", since=-30), "node-1": node("node-1")}
WELL = {name: node(name) for name in LOST}


def answered(
    seen: Observed, *, pods: Sequence[JSON] | None = None, nodes: Mapping[str, JSON] | None = None
) -> tuple[frozenset[Doubt], Plan]:
    """What is asked for, and what is done where the API server has these pods and nodes."""
    asked = reconcile(seen, now=NOW).confirm
    there = replace(
        seen,
        confirmed=asked,
        pods=seen.pods if pods is None else pods,
        nodes=seen.nodes if nodes is None else nodes,
    )
    return asked, reconcile(there, now=NOW)


def phase_of(plan: Plan) -> Any:
    return plan.status and plan.status["phase"]


def test_suspension_waits_for_a_pod_that_lost_its_label() -> None:
    of = job({**ALONE, "runPolicy": {"suspend": True}})
    asked, plan = answered(observe(of), pods=[pod(0)])
    assert (asked, phase_of(plan)) == ({UNSEEN}, "Suspending")
    asked, plan = answered(observe({**of, "status": plan.status}), pods=[pod(0)])
    assert (asked, plan.status, names(plan.delete)) == ({UNSEEN}, None, ["Pod/fashion-1-0-0"])
    assert plan.requeue_after, "no watch tells of it"


def test_suspension_goes_on_once_the_pod_is_gone() -> None:
    asked, plan = answered(observe(job({**ALONE, "runPolicy": {"suspend": True}})))
    assert (asked, phase_of(plan)) == ({UNSEEN}, "Suspended")


@pytest.mark.parametrize(
    ("of", "seen"),
    [
        pytest.param(job({**ALONE, "runPolicy": {"activeDeadlineSeconds": 10}}), [], id="deadline"),
        pytest.param(
            job({"runPolicy": {"maxRestarts": 0}}),
            [pod(1, phase="Failed", state=terminated(1, ended=-5))],
            id="a peer's failure",
        ),
    ],
)
def test_a_run_that_fails_stops_it_at_once_as_no_later_view_shows_it(of: JSON, seen: list[JSON]) -> None:
    asked, plan = answered(observe(of, *seen), pods=[pod(0), *seen])
    assert (asked, phase_of(plan), names(plan.delete)) == ({UNSEEN}, "Failed", ["Pod/fashion-1-0-0"])


def restarting(*pods: JSON, reason: str, nodes: Mapping[str, JSON] = WELL) -> Observed:
    attempts = [{"attempt": 0, "startTime": at(-600), "createdTime": at(-599), "runningTime": at(-500)}]
    ended = [{**attempts[0], "endTime": at(-1), "reason": reason, "nodes": 2}]
    return observe(job(), *pods, phase="Restarting", attempts=ended, nodes=nodes)


def test_the_next_attempt_begins_with_the_end_of_it() -> None:
    stopped = pod(1, phase="Failed", state=terminated(1))
    asked, plan = answered(restarting(stopped, reason="UserError"), pods=[pod(0), stopped])
    assert plan.status is not None
    assert (asked, plan.status["attempt"], names(plan.delete)) == ({UNSEEN}, 1, ["Pod/fashion-1-0-0"])


def test_a_pod_that_never_was_isnt_asked_for() -> None:
    begun = status(job(ALONE), "Pending")
    asked, plan = answered(observe({**job({**ALONE, "runPolicy": {"suspend": True}}), "status": begun}))
    assert (asked, phase_of(plan)) == (frozenset(), "Suspended")


def test_a_pod_on_a_lost_node_is_told_to_stop_before_the_job_is_suspended() -> None:
    of = job({**ALONE, "runPolicy": {"suspend": True}})
    plan = reconcile(observe(of, pod(0), nodes=LOST), now=NOW)
    assert phase_of(plan) == "Suspending"
    plan = reconcile(observe({**of, "status": plan.status}, pod(0), nodes=LOST), now=NOW)
    assert (plan.status, names(plan.delete)) == (None, ["Pod/fashion-1-0-0"])


@pytest.mark.parametrize("lost", [True, False])
def test_a_pod_isnt_waited_for_only_where_its_node_is_surely_lost(lost: bool) -> None:
    nodes = LOST if lost else WELL
    suspended = {**job({**ALONE, "runPolicy": {"suspend": True}})}
    asked, plan = answered(observe(suspended, pod(0, deleted=-1), nodes=LOST), nodes=nodes)
    doubts = {Doubt("Node", "node-0"), Doubt("Pod", "fashion-1-0-0")}
    assert (asked, phase_of(plan)) == (doubts, "Suspended" if lost else "Suspending")
    saving = restarting(pod(0, deleted=-1), pod(1, phase="Failed", on="node-1"), reason="Evicted", nodes=LOST)
    asked, plan = answered(saving, nodes=nodes)
    assert asked == doubts
    assert (plan.status["attempt"] if plan.status else 0) == (1 if lost else 0)
