"""What Prometheus is told of jobs, and how many series that may be."""

import itertools
from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from footplate.api.status import Phase
from footplate.machinery.from_zero import SEEN_AFTER_SECONDS
from footplate.machinery.job_metrics import MAX_NAMESPACES, MAX_RESOURCES, Account, JobMetrics, busiest
from footplate.policy.measures import Measures
from unit.machinery.support import make_job

Series = dict[tuple[str, ...], float]
LABELS = ("namespace", "phase", "resource", "held", "outcome")


class Scraped:
    """Metrics of some jobs."""

    def __init__(self, jobs: Iterable[Any] = ()) -> None:
        self.registry = CollectorRegistry()
        self.metrics = JobMetrics(self.registry, monotonic=itertools.count(0.0, 2 * SEEN_AFTER_SECONDS).__next__)
        self.jobs = [*jobs]
        self.metrics.serve(lambda: self.jobs)

    def series(self, name: str) -> Series:
        """What is said once everybody who scrapes has seen each series at 0."""
        generate_latest(self.registry)
        text = generate_latest(self.registry).decode()
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        found = (sample for sample in samples if sample.name == name)
        return {tuple(each.labels[label] for label in LABELS if label in each.labels): each.value for each in found}

    def spend(self, namespace: str = "team", resource: str = "node", **seconds: float) -> None:
        self.metrics.count(a_job(namespace), Measures(spent={resource: seconds}))

    def spent(self) -> Series:
        found = self.series("footplate_accelerator_seconds_total")
        return {key: seconds for key, seconds in found.items() if seconds}


def a_job(namespace: str, phase: str | None = "Running", number: int = 0, **status: Any) -> Any:
    job = make_job(f"job-{number}", status={"phase": phase, **status})
    return {**job, "metadata": {**job["metadata"], "namespace": namespace}}


def test_jobs_by_namespace_and_phase() -> None:
    scraped = Scraped([a_job("a"), a_job("a", number=1), a_job("a", "Failed"), a_job("b", None), a_job("b", "lies")])
    found = scraped.series("footplate_jobs")
    assert {key: count for key, count in found.items() if count} == {
        ("a", "Running"): 2, ("a", "Failed"): 1, ("b", "Pending"): 1,
    }  # fmt: skip
    assert len(found) == 3 * len(Phase)


def test_the_namespaces_with_the_most_jobs_have_names() -> None:
    jobs = [a_job(f"ns-{number:03}") for number in range(MAX_NAMESPACES + 5)]
    found = Scraped([*jobs, a_job("zz"), a_job("zz")]).series("footplate_jobs")
    assert len({namespace for namespace, _ in found}) == MAX_NAMESPACES + 1
    assert (found["zz", "Running"], found["", "Running"]) == (2, 6)
    assert sum(found.values()) == len(jobs) + 2


def test_of_equals_the_first_in_the_alphabet_stay() -> None:
    assert busiest(["b", "a", "c", "c"], most=2) == {"c", "a"}


def test_goodput_is_of_running_jobs_that_say_it() -> None:
    half = {"usage": {"productiveSeconds": 50, "lostSeconds": 50}}
    all_ = {"usage": {"productiveSeconds": 100, "lostSeconds": 0}}
    silent = {"usage": {"nodeSeconds": 7, "productiveSeconds": None}}
    jobs = [a_job("a", **half), a_job("a", **all_), a_job("a", "Failed", **half), a_job("b", **silent), a_job("c")]
    assert Scraped(jobs).series("footplate_goodput_ratio") == {("a",): 0.75}


def test_what_is_spent_grows_under_its_labels() -> None:
    scraped = Scraped()
    scraped.spend(productive=5.0, lost=1.0)
    scraped.spend(productive=5.0)
    scraped.spend("other", "nvidia.com/gpu", unknown=3.0)
    assert scraped.spent() == {
        ("team", "node", "productive"): 10, ("team", "node", "lost"): 1, ("other", "nvidia.com/gpu", "unknown"): 3,
    }  # fmt: skip


def test_a_resource_that_is_known_is_there_from_the_start() -> None:
    scraped = Scraped()
    scraped.spend("a", "nvidia.com/gpu", productive=1.0)
    scraped.metrics.count(a_job("b"), Measures())
    series = scraped.series("footplate_accelerator_seconds_total")
    assert series["b", "nvidia.com/gpu", "productive"] == 0


ACCOUNTS = [
    pytest.param([{"productive": 5, "lost": 1}], (5, 1, 0), id="both"),
    pytest.param([{"productive": 9, "lost": 1}, {"productive": -6, "lost": 8}], (9, 3, 0), id="not taken back"),
    pytest.param(
        [{"productive": 9, "lost": 1}, {"productive": -6, "lost": 8}, {"productive": 6}], (9, 9, 0), id="made up for"
    ),
    pytest.param([{"unknown": 10}, {"unknown": -10, "productive": 12}], (2, 0, 10), id="known late"),
    pytest.param(
        [{"unknown": 10}, {"unknown": -10, "productive": 12}, {"productive": 20}], (22, 0, 10), id="and no more"
    ),
    pytest.param([{"productive": -5, "lost": 7}, {"productive": 5}], (0, 7, 0), id="began before us"),
    pytest.param([{"productive": 5}, {"productive": -3}, {"productive": 4}], (6, 0, 0), id="fewer in all"),
]


@pytest.mark.parametrize(("changes", "counted"), ACCOUNTS)
def test_an_account_never_falls_and_adds_up(changes: list[dict[str, float]], counted: tuple[float, ...]) -> None:
    account, before = Account(), [0.0, 0.0, 0.0]
    for change in changes:
        account.add(change)
        assert all(new >= old for new, old in zip(account.counted.values(), before, strict=True))
        before = [*account.counted.values()]
    assert tuple(account.counted.values()) == counted


def test_namespaces_and_resources_are_bounded() -> None:
    scraped = Scraped(a_job(f"ns-{number}") for number in range(2 * MAX_NAMESPACES))
    for number in range(2 * MAX_NAMESPACES):
        scraped.spend(f"ns-{number}", f"example.com/{number}", lost=1.0)
    series = scraped.series("footplate_accelerator_seconds_total")
    assert len(series) == (MAX_NAMESPACES + 1) * (MAX_RESOURCES + 2) * 3
    assert sum(series.values()) == 2 * MAX_NAMESPACES
    assert series["", "other", "lost"] == MAX_NAMESPACES


def test_a_namespace_without_jobs_gives_its_place_up_when_it_is_needed() -> None:
    scraped = Scraped([a_job("ns-1"), a_job("late")])
    for number in range(MAX_NAMESPACES):
        scraped.spend(f"ns-{number}", lost=1.0)
    scraped.spent()
    assert scraped.spent() == {("ns-1", "node", "lost"): 1}
    scraped.spend("late", lost=2.0)
    assert scraped.spent() == {("ns-1", "node", "lost"): 1, ("late", "node", "lost"): 2}


def test_no_place_is_given_up_before_what_it_counts_was_told() -> None:
    """What the last job of a namespace had held, when it was deleted, was nobody's."""
    scraped = Scraped()
    for number in range(MAX_NAMESPACES):
        scraped.spend(f"ns-{number}", lost=1.0)
    assert sum(scraped.spent().values()) == MAX_NAMESPACES
    assert scraped.spent() == {}, "told once, the places are free"


def test_durations_are_counted_where_there_are_any() -> None:
    scraped = Scraped()
    scraped.metrics.count(a_job("a"), Measures(phase=(Phase.QUEUED, 7.0), pods_created=2.0, first_step=40.0))
    scraped.metrics.count(a_job("a"), Measures())
    assert scraped.series("footplate_phase_duration_seconds_sum") == {
        ("queued",): 7, ("starting",): 0, ("running",): 0, ("restarting",): 0,
    }  # fmt: skip
    assert scraped.series("footplate_pods_created_duration_seconds_sum") == {(): 2}
    assert scraped.series("footplate_first_step_duration_seconds_count") == {(): 1}


def test_a_finished_run_is_counted_by_what_it_held() -> None:
    scraped = Scraped()
    gpus = {"nvidia.com/gpu": {"productive": 50.0, "lost": 10.0}, "amd.com/gpu": {"productive": 1.0}}
    scraped.metrics.count(a_job("a"), Measures(finished=gpus))
    scraped.metrics.count(a_job("a"), Measures(finished={"node": {"unknown": 3.0}}))
    found = scraped.series("footplate_finished_run_seconds_total")
    assert {key: each for key, each in found.items() if each} == {
        ("accelerators", "productive"): 51, ("accelerators", "lost"): 10, ("nodes", "unknown"): 3,
    }  # fmt: skip
