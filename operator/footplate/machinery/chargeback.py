"""Who pays for what: accelerator seconds and money by namespace, and by a label of the jobs that the platform names.

The labels' values are the tenants' words: of each metric at most `MAX_SERIES` of all, and `MAX_OF_NAMESPACE` of one,
become series, those that came first; the rest of a namespace counts together, under an empty value, for which there is
always room.
"""

from collections import Counter as Tally

from prometheus_client import CollectorRegistry, Counter

from footplate.objects import Object, block, key_of, text
from footplate.policy.measures import Measures

MAX_SERIES = 1000
MAX_OF_NAMESPACE = 100


class Chargeback:
    """`label` is the jobs' label whose value says who pays; empty: none does, and the namespace pays."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.label = ""
        self._seconds = Counter(
            "footplate_charged_accelerator_seconds",
            "Accelerators times the seconds for which pods held them, by who pays.",
            ["namespace", "charged_to", "resource"],
            registry=registry,
        )
        self._cost = Counter(
            "footplate_cost",
            "What accelerators have cost by the prices of the jobs' runtimes, in units of the currency, by who pays.",
            ["namespace", "charged_to", "currency"],
            registry=registry,
        )
        self._known: dict[Counter, set[tuple[str, str, str]]] = {self._seconds: set(), self._cost: set()}
        self._of_namespace: Tally[tuple[Counter, str]] = Tally()

    def enter(self, job: Object, measures: Measures) -> None:
        """Takes in what a job has held and cost since it was last heard of."""
        namespace, payer = key_of(job)[0], self._payer(job)
        for resource, parts in measures.spent.items():
            self._add(self._seconds, (namespace, payer, resource), sum(parts.values()))
        if measures.cost is not None:
            currency, amount = measures.cost
            self._add(self._cost, (namespace, payer, currency), amount)

    def _payer(self, job: Object) -> str:
        return text(block(job, "metadata", "labels"), self.label) if self.label else ""

    def _add(self, counter: Counter, series: tuple[str, str, str], more: float) -> None:
        if more <= 0:
            return
        namespace, payer, unit = series
        known, here = self._known[counter], (counter, namespace)
        if payer and series not in known:
            if len(known) >= MAX_SERIES or self._of_namespace[here] >= MAX_OF_NAMESPACE:
                series = namespace, "", unit
            else:
                known.add(series)
                self._of_namespace[here] += 1
        counter.labels(*series).inc(more)
