"""What a run has cost, the warning before its budget is spent, the stop, and the way on."""

from typing import Any

import pytest

from footplate.api.money import Budget, Prices
from footplate.api.usage import Cost, Usage
from footplate.policy import budget
from footplate.policy.mutable import with_live_fields
from footplate.policy.resolve import InvalidJob, resolve
from unit.policy.build import at, bare_job, job, look, runtime
from unit.policy.fakecluster import FakeCluster

JSON = dict[str, Any]
GPUS = {"resources": {"limits": {"nvidia.com/gpu": 4}}}
EUR = Prices(currency="EUR", per_hour={"nvidia.com/gpu": "2.50"})
HOURS, MONEY = Budget(accelerator_hours=10), Budget(cost=100)


def used(seconds: int, prices: Prices | None = EUR) -> Usage:
    held = {"nvidia.com/gpu": seconds}
    return Usage(node_seconds=seconds // 4, accelerator_seconds=held, cost=budget.cost_of(held, prices))


def test_cost_is_hours_times_price() -> None:
    assert budget.cost_of({"nvidia.com/gpu": 7200}, EUR) == Cost(amount=5.0, currency="EUR")


@pytest.mark.parametrize(
    ("seconds", "prices"),
    [
        ({"nvidia.com/gpu": 9}, None),
        ({"amd.com/gpu": 9}, EUR),
        ({"nvidia.com/gpu": 9, "amd.com/gpu": 9}, EUR),
        ({}, EUR),
    ],
    ids=["no prices", "no price of it", "no price of one of them", "no accelerators"],
)
def test_what_nobody_has_priced_is_not_known(seconds: dict[str, int], prices: Prices | None) -> None:
    assert budget.cost_of(seconds, prices) is None


@pytest.mark.parametrize(
    ("limit", "usage", "share"),
    [
        (None, used(3600), 0.0),
        (HOURS, None, 0.0),
        (HOURS, used(5 * 3600), 0.5),
        (MONEY, used(20 * 3600), 0.5),
        (MONEY, used(20 * 3600, None), 0.0),
        (HOURS, used(20 * 3600), 2.0),
    ],
)
def test_share(limit: Budget | None, usage: Usage | None, share: float) -> None:
    assert budget.share(limit, usage) == share


@pytest.mark.parametrize(
    ("limit", "seconds", "left"),
    [
        (HOURS, 0, 8 * 3600 / 4),
        (HOURS, 8 * 3600, 2 * 3600 / 4),
        (HOURS, 10 * 3600, None),
        (MONEY, 0, 80 / 2.5 * 3600 / 4),
        (None, 0, None),
    ],
    ids=["to the warning", "to the end", "over", "money", "no budget"],
)
def test_node_seconds_to_the_next_mark(limit: Budget | None, seconds: int, left: float | None) -> None:
    found = budget.node_seconds_left(limit, used(seconds), devices={"nvidia.com/gpu": 4}, prices=EUR)
    assert found == (None if left is None else pytest.approx(left, abs=1))


def priced(prices: JSON | None = None) -> JSON:
    return runtime({"prices": prices or EUR.to_json(), "trainer": {"image": "a/b:1"}})


def test_a_run_keeps_the_prices_that_it_began_with() -> None:
    assert resolve(bare_job(GPUS), priced(), run=1).prices == EUR


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"runPolicy": {"budget": {"acceleratorHours": 5}}}, "is for accelerators, and the job has none"),
        (GPUS | {"runPolicy": {"budget": {"cost": 5}}}, "can't be kept: the job's runtime has no price"),
    ],
)
def test_a_budget_that_would_never_be_reached_is_refused(spec: JSON, words: str) -> None:
    with pytest.raises(InvalidJob, match=words):
        resolve(job(spec), None, run=1)


def test_nor_can_a_budget_in_money_be_reached_by_what_costs_nothing() -> None:
    free = priced({"currency": "EUR", "perHour": {"nvidia.com/gpu": "0.00"}})
    asked = bare_job(GPUS | {"runPolicy": {"budget": {"cost": 5}}})
    with pytest.raises(InvalidJob, match="its accelerators cost nothing"):
        resolve(asked, free, run=1)
    assert resolve(bare_job(GPUS), free, run=1).prices is not None


def test_nor_is_it_set_later() -> None:
    edited = with_live_fields(resolve(job(GPUS), None, run=1), job(GPUS | {"runPolicy": {"budget": {"cost": 5}}}), None)
    assert edited.spec.run_policy.budget is None
    assert ["has no price for nvidia.com/gpu" in str(problem) for problem in edited.refused] == [True]


def budgeted(hours: int = 10) -> FakeCluster:
    """Two nodes of four accelerators, which run: eight accelerator hours an hour."""
    cluster = FakeCluster(job(GPUS | {"runPolicy": {"budget": {"acceleratorHours": hours}}}))
    cluster.settle()
    _let_run(cluster)
    return cluster


def _let_run(cluster: FakeCluster) -> None:
    for number, each in enumerate(cluster.live_pods()):
        cluster.schedule(each, f"node-{number}")
    cluster.settle()
    for each in cluster.live_pods():
        cluster.start(each)
    cluster.settle()
    assert cluster.phase == "Running"


def _pass_time(cluster: FakeCluster, *, until: str) -> list[str]:
    """Looks when it is due, until the phase; the reasons of all events."""
    heard: list[str] = []
    for _ in range(400):
        plan = cluster.plan()
        heard += [event.reason for event in plan.events]
        if cluster.phase == until:
            return heard
        if plan.status is None and not plan.delete:
            assert plan.requeue_after is not None
            cluster.tick(plan.requeue_after)
        else:
            cluster.apply(plan)
    raise AssertionError(cluster.status)


def test_a_spent_budget_stops_the_gang_and_a_raised_one_lets_it_go_on() -> None:
    cluster = budgeted()
    began = cluster.now
    heard = _pass_time(cluster, until="Suspending")
    assert heard.count("BudgetNearlySpent") == 1
    assert (cluster.now - began).total_seconds() == pytest.approx(10 / 8 * 3600, abs=10)
    assert "10.0 of 10 accelerator hours" in cluster.status["message"]
    cluster.settle()
    for each in cluster.live_pods():
        assert each.terminating
        cluster.end(each, 75)
    cluster.settle()
    assert (cluster.phase, cluster.status["reason"]) == ("Suspended", "BudgetSpent")
    assert cluster.status["message"].endswith("raise it to go on")
    assert not any(cluster.status["restarts"].values())
    cluster.tick(7200)
    cluster.settle()
    assert cluster.phase == "Suspended"
    cluster.edit("runPolicy", budget={"acceleratorHours": 20})
    cluster.settle()
    assert cluster.status["attempt"] == 1
    _let_run(cluster)


def test_a_tenant_who_takes_the_run_config_away_spends_no_more() -> None:
    cluster = budgeted()
    cluster.lose_run_config()
    _pass_time(cluster, until="Suspending")
    cluster.settle()
    assert all(each.terminating for each in cluster.live_pods())
    assert cluster.status["reason"] == "BudgetSpent"


def test_the_warning_comes_when_it_is_due() -> None:
    cluster = budgeted()
    began = cluster.now
    while (plan := cluster.plan()).status is None or not any(e.reason == "BudgetNearlySpent" for e in plan.events):
        assert plan.requeue_after is not None
        cluster.apply(plan)
        cluster.tick(plan.requeue_after if plan.status is None else 0)
    assert (cluster.now - began).total_seconds() == pytest.approx(8 / 8 * 3600, abs=10)


def test_a_budget_that_is_spent_between_two_looks_is_warned_of_and_ended() -> None:
    """The operator was away, or slow: who hears the warning alone acts on it, and who hears the end alone wonders."""
    cluster = budgeted()
    cluster.tick(2 * 3600)
    plan = cluster.plan()
    assert plan.status is not None
    assert plan.status["reason"] == "BudgetSpent"
    assert [e.reason for e in plan.events if e.reason.startswith("Budget")] == ["BudgetSpent", "BudgetNearlySpent"]
    cluster.apply(plan)
    assert not [e for e in cluster.plan().events if e.reason == "BudgetNearlySpent"], "once"


def test_of_a_run_that_ends_with_it_there_is_nothing_to_warn() -> None:
    cluster = budgeted()
    cluster.tick(3600)
    for each in cluster.live_pods():
        cluster.end(each, 0)
    heard = _pass_time(cluster, until="Succeeded")
    assert not [reason for reason in heard if reason.startswith("Budget")]


def test_who_suspends_a_job_whose_budget_is_spent_must_resume_it() -> None:
    over = {"usage": {"nodeSeconds": 9000, "acceleratorSeconds": {"nvidia.com/gpu": 36000}}}
    ended = [{"attempt": 0, "startTime": at(-600), "endTime": at(-9), "reason": "BudgetSpent"}]
    both = job(GPUS | {"runPolicy": {"budget": {"acceleratorHours": 10}, "suspend": True}})
    plan = look(both, phase="Suspended", attempts=ended, reason="BudgetSpent", **over)
    assert plan.status is not None
    assert (plan.status["reason"], plan.status["message"]) == (
        "SuspendedByUser",
        "suspended; set runPolicy.suspend to false to go on",
    )
