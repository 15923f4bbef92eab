"""Who pays for what: accelerator seconds and money by namespace, and by a label of the jobs that the platform names.

The labels' values are the tenants' words: of each metric at most `MAX_SERIES` of all, and `MAX_OF_NAMESPACE` of one,
become series, those that came first; the rest of a namespace counts together, under an empty value, for which there is
always room.
"""

from collections import Counter as Tally
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from footplate.machinery.from_zero import FromZero
from footplate.objects import Object, block, key_of, text
from footplate.policy.measures import Measures

MAX_SERIES = 1000
MAX_OF_NAMESPACE = 100

Series = tuple[str, str, str]
"""Namespace, who pays, and the unit."""


@dataclass(slots=True)
class _Account:
    """One of the metrics."""

    name: str
    help: str
    unit: str
    """Label of its unit."""
    sums: dict[Series, float] = field(default_factory=dict)
    of_namespace: Tally[str] = field(default_factory=Tally)
    """Series with somebody who pays, by namespace."""

    def family(self) -> CounterMetricFamily:
        return CounterMetricFamily(self.name, self.help, labels=["namespace", "charged_to", self.unit])

    def add(self, series: Series, more: float) -> None:
        namespace, payer, unit = series
        if payer and series not in self.sums:
            if self.of_namespace.total() >= MAX_SERIES or self.of_namespace[namespace] >= MAX_OF_NAMESPACE:
                series = namespace, "", unit
            else:
                self.of_namespace[namespace] += 1
        self.sums[series] = self.sums.get(series, 0.0) + more


class Chargeback(Collector):
    """`label` is the jobs' label whose value says who pays; empty: none does, and the namespace pays."""

    def __init__(self, from_zero: FromZero) -> None:
        self.label = ""
        self._from_zero = from_zero
        self._seconds = _Account(
            "footplate_charged_accelerator_seconds",
            "Accelerators times the seconds for which pods held them, by who pays.",
            "resource",
        )
        self._cost = _Account(
            "footplate_cost",
            "What accelerators have cost by the prices of the jobs' runtimes, in units of the currency, by who pays.",
            "currency",
        )

    def enter(self, job: Object, measures: Measures) -> None:
        """Takes in what a job has held and cost since it was last heard of."""
        namespace, payer = key_of(job)[0], self._payer(job)
        for resource, parts in measures.spent.items():
            if (seconds := sum(parts.values())) > 0:
                self._seconds.add((namespace, payer, resource), seconds)
        if measures.cost is not None and measures.cost[1] > 0:
            currency, amount = measures.cost
            self._cost.add((namespace, payer, currency), amount)

    def describe(self) -> Iterator[Metric]:
        """The metrics, without their series."""
        for account in (self._seconds, self._cost):
            yield account.family()

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        for account in (self._seconds, self._cost):
            family = account.family()
            for series, amount in account.sums.items():
                family.add_metric(series, self._from_zero.show((account.name, series), amount))
            yield family

    def _payer(self, job: Object) -> str:
        return text(block(job, "metadata", "labels"), self.label) if self.label else ""
