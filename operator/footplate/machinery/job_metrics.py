"""What the operator tells Prometheus of jobs: how many there are, how long they take, what they hold and who pays.

Namespaces and resources are the cluster's own words, not the operator's, so there is a bound on how many become labels.
Of numbers that are read at each scrape the namespaces with the most jobs are shown, of counters those that came first:
a counter that changed its label would be one that falls. The rest count together, under the empty namespace.
"""

import time
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from footplate.api.status import Phase
from footplate.machinery.chargeback import Chargeback
from footplate.machinery.from_zero import FromZero
from footplate.objects import Object, block, key_of, text
from footplate.policy.measures import NODE, OUTCOMES, PHASES, Measures

MAX_NAMESPACES = 200
MAX_RESOURCES = 5
"""Accelerators by name; further kinds count together."""
OTHER = "other"

RESTART_CLASSES = ("user", "infrastructure", "hang")
HELD = ("accelerators", "nodes")

_LONG = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600, 168 * 3600)
_SHORT = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600)

Jobs = Callable[[], Collection[Object]]
_Seen = tuple[str, str, Object]
"""A job's namespace, as it is labelled, its phase and its status."""


class JobMetrics:
    """Of all jobs. What `count` is given is counted at once; what can be read off the jobs is read at each scrape."""

    def __init__(self, registry: CollectorRegistry, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        from_zero = FromZero(monotonic)
        self.chargeback = Chargeback(from_zero)
        self.restarts = Counter(
            "footplate_gang_restarts", "Gang restarts, by the class of their cause.", ["class"], registry=registry
        )
        self.run_seconds = Counter(
            "footplate_finished_run_seconds",
            "What finished runs have held: accelerators times seconds, or nodes times seconds where they had none.",
            ["held", "outcome"],
            registry=registry,
        )
        self.phase_seconds = Histogram(
            "footplate_phase_duration_seconds",
            "Time that jobs have spent in a phase, when it is over.",
            ["phase"],
            buckets=_LONG,
            registry=registry,
        )
        self.created_seconds = Histogram(
            "footplate_pods_created_duration_seconds",
            "Time from the wish for a run until all pods of its first gang were there.",
            buckets=_SHORT,
            registry=registry,
        )
        self.step_seconds = Histogram(
            "footplate_first_step_duration_seconds",
            "Time from the wish for a run until its first step was seen.",
            buckets=_LONG,
            registry=registry,
        )
        self._ledger = Ledger(from_zero)
        registry.register(self._ledger)
        registry.register(self.chargeback)
        for class_ in RESTART_CLASSES:
            self.restarts.labels(class_)
        for phase in PHASES:
            self.phase_seconds.labels(phase.lower())
        for held in HELD:
            for outcome in OUTCOMES:
                self.run_seconds.labels(held, outcome)

    def serve(self, jobs: Jobs) -> None:
        """Serves what can be read off the jobs, too."""
        self._ledger.jobs = jobs
        self._registry.register(_Census(jobs))

    def count(self, job: Object, measures: Measures) -> None:
        """Counts what a write of a job's status, which has just been done, brought."""
        namespace = key_of(job)[0]
        self.chargeback.enter(job, measures)
        for class_, more in measures.restarts.items():
            self.restarts.labels(class_).inc(more)
        if measures.phase is not None:
            phase, seconds = measures.phase
            self.phase_seconds.labels(phase.lower()).observe(seconds)
        if measures.pods_created is not None:
            self.created_seconds.observe(measures.pods_created)
        if measures.first_step is not None:
            self.step_seconds.observe(measures.first_step)
        for resource, parts in measures.finished.items():
            for outcome, seconds in parts.items():
                self.run_seconds.labels(HELD[resource == NODE], outcome).inc(max(0.0, seconds))
        self._ledger.enter(namespace, measures.spent)


class Account:
    """Seconds by outcome, of which some turn out to be of another: what was counted can't be taken back, so each new
    second goes where the counts lag behind the truth.
    """

    def __init__(self) -> None:
        self._true = dict.fromkeys(OUTCOMES, 0.0)
        self.counted = dict.fromkeys(OUTCOMES, 0.0)

    def add(self, changes: Mapping[str, float]) -> None:
        """Takes in what is known now; a part may be negative."""
        for outcome, seconds in changes.items():
            self._true[outcome] += seconds
        left = sum(self._true.values()) - sum(self.counted.values())
        for outcome in OUTCOMES:
            more = max(0.0, min(left, self._true[outcome] - self.counted[outcome]))
            self.counted[outcome] += more
            left -= more


class Ledger(Collector):
    """Who has held what: `footplate_accelerator_seconds_total`. Every resource that is known has its series in every
    namespace. A namespace without jobs gives up its place when it is needed.
    """

    def __init__(self, from_zero: FromZero) -> None:
        self._from_zero = from_zero
        self.jobs: Jobs = tuple
        self._namespaces: dict[str, None] = {"": None}
        self._resources: dict[str, None] = {NODE: None}
        self._accounts: dict[tuple[str, str], Account] = {}

    def enter(self, namespace: str, spent: Mapping[str, Mapping[str, float]]) -> None:
        """Takes in what a job of this namespace has held since it was last heard of."""
        namespace = _place(self._namespaces, namespace, most=MAX_NAMESPACES + 1, else_="")
        for name, changes in spent.items():
            resource = _place(self._resources, name, most=MAX_RESOURCES + 1, else_=OTHER)
            self._accounts.setdefault((namespace, resource), Account()).add(changes)

    def describe(self) -> Iterable[Metric]:
        """Nothing to be said before the first scrape."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """One scrape."""
        family = CounterMetricFamily(
            "footplate_accelerator_seconds",
            "Accelerators, or nodes where a job has none, times the seconds for which its pods held them.",
            labels=["namespace", "resource", "outcome"],
        )
        untold = set[str]()
        for namespace in self._namespaces:
            for resource in self._labels:
                account = self._accounts.get((namespace, resource))
                for outcome in OUTCOMES:
                    seconds = account.counted[outcome] if account is not None else 0.0
                    series = namespace, resource, outcome
                    shown = self._from_zero.show(series, seconds)
                    family.add_metric(series, shown)
                    if shown != seconds:
                        untold.add(namespace)
        if len(self._namespaces) > MAX_NAMESPACES:
            self._give_up_places(untold)
        yield family

    @property
    def _labels(self) -> tuple[str, ...]:
        return (*self._resources, *([OTHER] if len(self._resources) > MAX_RESOURCES else ()))

    def _give_up_places(self, untold: set[str]) -> None:
        """But for those of which something was counted that no scrape has shown: it would be nobody's."""
        here = {key_of(job)[0] for job in self.jobs()} | untold
        for namespace in [each for each in self._namespaces if each and each not in here]:
            del self._namespaces[namespace]
            for resource in self._labels:
                self._accounts.pop((namespace, resource), None)
                for outcome in OUTCOMES:
                    self._from_zero.forget((namespace, resource, outcome))


def _place(known: dict[str, None], name: str, *, most: int, else_: str) -> str:
    """The name as a label: itself while there is room."""
    if name not in known and len(known) >= most:
        return else_
    known[name] = None
    return name


class _Census(Collector):
    """What there is at this moment."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def describe(self) -> Iterable[Metric]:
        """Nothing to be said before the first scrape."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """One scrape."""
        jobs = [(key_of(job)[0], block(job, "status")) for job in self._jobs()]
        shown = busiest((namespace for namespace, _ in jobs), most=MAX_NAMESPACES)
        seen = [(namespace if namespace in shown else "", _phase_of(status), status) for namespace, status in jobs]
        yield _count(seen, shown)
        yield _goodput(seen)


def busiest(namespaces: Iterable[str], *, most: int) -> frozenset[str]:
    """Those of which there are the most; of equals those that come first in the alphabet."""
    ranked = sorted(Tally(namespaces).items(), key=lambda each: (-each[1], each[0]))
    return frozenset(namespace for namespace, _ in ranked[:most])


def _count(jobs: Iterable[_Seen], shown: frozenset[str]) -> Metric:
    counts = Tally((namespace, phase) for namespace, phase, _ in jobs)
    family = GaugeMetricFamily("footplate_jobs", "TrainingJobs by phase.", labels=["namespace", "phase"])
    for namespace in ("", *sorted(shown)):
        for phase in Phase:
            family.add_metric([namespace, phase], counts[namespace, phase])
    return family


def _goodput(jobs: Iterable[_Seen]) -> Metric:
    """Of running jobs that say what they do; a namespace without any has none."""
    good: Tally[str] = Tally()
    held: Tally[str] = Tally()
    for namespace, phase, status in jobs:
        usage = block(status, "usage") if phase == Phase.RUNNING else {}
        productive, lost = (usage.get(field) for field in ("productiveSeconds", "lostSeconds"))
        if isinstance(productive, int) and isinstance(lost, int):
            good[namespace] += productive
            held[namespace] += productive + lost
    family = GaugeMetricFamily(
        "footplate_goodput_ratio",
        "Productive part of what the running jobs have held so far.",
        labels=["namespace"],
    )
    for namespace in sorted(name for name, seconds in held.items() if seconds > 0):
        family.add_metric([namespace], good[namespace] / held[namespace])
    return family


def _phase_of(status: Object) -> str:
    return text(status, "phase") or Phase.PENDING
