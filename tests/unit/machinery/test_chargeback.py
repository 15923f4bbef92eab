"""Who pays: by namespace and label, and never more series than there may be."""

import itertools
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from footplate.machinery import chargeback
from footplate.machinery.chargeback import Chargeback
from footplate.machinery.from_zero import SEEN_AFTER_SECONDS, FromZero
from footplate.policy.measures import Measures
from unit.machinery.support import make_job

SPENT = Measures(spent={"nvidia.com/gpu": {"productive": 70.0, "lost": -10.0}}, cost=("EUR", 2.5))


class Ledger:
    """What jobs of teams have spent, with their label set up or not."""

    def __init__(self, label: str = "cost-center") -> None:
        self.registry = CollectorRegistry()
        self.chargeback = Chargeback(FromZero(itertools.count(0.0, 2 * SEEN_AFTER_SECONDS).__next__))
        self.chargeback.label = label
        self.registry.register(self.chargeback)

    def enter(self, namespace: str, labels: dict[str, Any] | None = None, spent: Measures = SPENT) -> None:
        job = make_job("job")
        metadata = {**job["metadata"], "namespace": namespace, "labels": labels or {}}
        self.chargeback.enter({**job, "metadata": metadata}, spent)

    def cost(self, namespace: str, charged_to: str, currency: str = "EUR") -> float | None:
        labels = {"namespace": namespace, "charged_to": charged_to, "currency": currency}
        return self.scrape_again("footplate_cost_total", labels)

    def seconds(self, namespace: str, charged_to: str) -> float | None:
        labels = {"namespace": namespace, "charged_to": charged_to, "resource": "nvidia.com/gpu"}
        return self.scrape_again("footplate_charged_accelerator_seconds_total", labels)

    def scrape_again(self, name: str, labels: dict[str, str]) -> float | None:
        """What is said once everybody who scrapes has seen the series at 0."""
        self.registry.get_sample_value(name, labels)
        return self.registry.get_sample_value(name, labels)


def test_a_label_says_who_pays() -> None:
    ledger = Ledger()
    ledger.enter("team", {"cost-center": "42"})
    ledger.enter("team", {"cost-center": "42"})
    ledger.enter("team")
    assert (ledger.cost("team", "42"), ledger.cost("team", "")) == (5.0, 2.5)
    assert (ledger.seconds("team", "42"), ledger.seconds("team", "")) == (120.0, 60.0)


def test_without_a_label_the_namespace_pays() -> None:
    ledger = Ledger("")
    ledger.enter("team", {"cost-center": "42"})
    assert ledger.cost("team", "") == 2.5


def test_what_isnt_text_pays_for_nobody() -> None:
    ledger = Ledger()
    ledger.enter("team", {"cost-center": ["x"]})
    assert ledger.cost("team", "") == 2.5


def test_what_costs_nothing_makes_no_series() -> None:
    ledger = Ledger()
    ledger.enter("team", spent=Measures(cost=("EUR", 0.0)))
    assert ledger.cost("team", "") is None


def test_no_tenant_makes_more_series_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chargeback, "MAX_SERIES", 4)
    monkeypatch.setattr(chargeback, "MAX_OF_NAMESPACE", 3)
    ledger = Ledger()
    ledger.enter("team", {"cost-center": "known"})
    for number in range(20):
        ledger.enter("team", {"cost-center": f"c-{number}"})
    assert ledger.cost("team", "c-1") == 2.5
    assert ledger.cost("team", "") == 18 * 2.5
    ledger.enter("team", {"cost-center": "known"})
    assert ledger.cost("team", "known") == 5.0


def test_no_tenant_hides_what_others_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a thousand values of the label others' costs were nobody's."""
    monkeypatch.setattr(chargeback, "MAX_SERIES", 4)
    monkeypatch.setattr(chargeback, "MAX_OF_NAMESPACE", 3)
    ledger = Ledger()
    for number in range(20):
        ledger.enter("team", {"cost-center": f"c-{number}"})
    for other in ("other", "third"):
        ledger.enter(other, {"cost-center": "42"})
    assert ledger.cost("other", "42") == 2.5
    assert ledger.cost("third", "") == 2.5, "there is no room for its label, but for its namespace"
