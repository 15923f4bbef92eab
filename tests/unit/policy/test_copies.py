"""Copies: a job that a backup brings back, or that was moved, is a new one, whatever status came along."""

import copy
from typing import Any

import pytest

from footplate.api.status import Phase
from footplate.policy.job import is_copied, read_status
from footplate.policy.plan import Observed
from unit.policy.build import JSON, NOW, config_map, job, plan_of, pod, status
from unit.policy.fakecluster import FakeCluster

ELSEWHERE = {"uid": "c0ffee00-0000-4000-8000-000000000002", "namespace": "restored", "generation": 1}


def copied(of: JSON, *, stripped: bool = False) -> JSON:
    made: JSON = copy.deepcopy({**of, "metadata": {**of["metadata"], **ELSEWHERE}})
    if stripped:
        made.pop("status", None)
    return made


def lived(phase: str) -> JSON:
    """A job as this operator leaves it in a phase."""
    of = job()
    return {**of, "status": status(of, phase, uid=of["metadata"]["uid"], failure=None)}


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("stripped", [True, False], ids=["without status", "with status"])
def test_a_copy_begins_anew_and_touches_nothing_of_the_old_one(phase: Phase, stripped: bool) -> None:
    old = lived(phase)
    made = copied(old, stripped=stripped)
    pods = [pod(0), pod(1)]  # those of the old job, which a backup brings along
    plan = plan_of(Observed(made, pods, run_config=config_map(old)), now=NOW)
    assert plan.delete == ()
    assert [each["kind"] for each in plan.create] == ["ConfigMap"]
    assert plan.create[0]["metadata"]["namespace"] == "restored"
    assert plan.create[0]["metadata"]["ownerReferences"][0]["uid"] == ELSEWHERE["uid"]
    begun = plan_of(Observed(made, pods, run_config=plan.create[0]), now=NOW).status
    assert begun is not None
    assert (begun["uid"], begun["run"], begun["attempt"], begun["phase"]) == (ELSEWHERE["uid"], 1, 0, "Pending")
    assert begun["restarts"]["total"] == 0
    assert [each["phase"] for each in begun["transitions"]] == ["Pending"]


def test_a_copy_lives_its_own_life() -> None:
    old = lived("Succeeded")
    cluster = FakeCluster(copied({**old, "status": {**old["status"], "surprise": {"of": "a newer operator"}}}))
    cluster.settle()
    assert "surprise" not in cluster.status
    for rank, each in enumerate(cluster.live_pods()):
        cluster.schedule(each, f"node-{rank}")
        cluster.start(each)
        cluster.end(each, 0)
    cluster.tick(20)
    cluster.settle()
    assert (cluster.phase, cluster.status["uid"]) == ("Succeeded", ELSEWHERE["uid"])


def test_an_older_operators_status_is_known_by_its_config_map() -> None:
    old = lived("Running")
    del old["status"]["uid"]
    assert not is_copied(old)
    assert is_copied(copied(old))
    named_otherwise = {**old["status"], "resolved": {**old["status"]["resolved"], "configMap": "fashion-run-1"}}
    assert not is_copied(copied({**old, "status": named_otherwise})), "by 0.1.0's names nothing is known"


@pytest.mark.parametrize(
    "said",
    [
        {"uid": "other", "phase": "Nonsense"},
        {"uid": "other", "run": -1},
        {"uid": "other", "attempts": "none"},
        {"uid": ["other"]},
        {"resolved": ["x"]},
        {"uid": "other", "resolved": {"configMap": 7}},
    ],
)
def test_whatever_a_copy_says_nothing_crashes(said: dict[str, Any]) -> None:
    plan = plan_of(Observed(job(status=said)), now=NOW)
    if said.get("uid") == "other":
        assert [each["kind"] for each in plan.create] == ["ConfigMap"], "nothing of it is read"
    else:
        assert plan.left_alone, "whose it is isn't known"


def test_a_status_says_whose_it_is_from_its_first_look_on() -> None:
    of = job()
    first = plan_of(Observed(of, run_config=config_map(of)), now=NOW).status
    assert first is not None
    assert first["uid"] == of["metadata"]["uid"]
    assert read_status({**of, "status": first}).run == 1
