"""What Prometheus' `increase` makes of the counters by who pays is what the bills say: over leaders that come and go,
an outage between them, a process that is started anew at the same address, and a run that is over soon.
"""

import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry

from documents import names_in, read_table
from footplate.client.bills import make_bills
from footplate.machinery.from_zero import FromZero
from footplate.machinery.job_metrics import JobMetrics
from footplate.policy.plan import Observed
from prometheus_server import find_tool
from unit.policy.build import NOW, bare_job, runtime
from unit.policy.fakecluster import FakeCluster, is_empty

SCRAPE_SECONDS = 30
GPU = "nvidia.com/gpu"
PRICE = 2.5
A_SCRAPES_WORTH = 8 * PRICE * SCRAPE_SECONDS / 3600
"""What the job costs between two scrapes: so exact is an `increase` at the end of a series."""


@dataclass
class Priced(FakeCluster):
    """A job whose accelerators have a price."""

    def observe(self) -> Observed:
        found = runtime({"prices": {"currency": "EUR", "perHour": {GPU: str(PRICE)}}, "trainer": {"image": "a/b:1"}})
        return replace(super().observe(), runtime=found)


@dataclass
class World:
    """A job under operators that lead one after the other, and a Prometheus that scrapes whoever does."""

    cluster: FakeCluster
    scraped: dict[tuple[str, str], dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    """Values of the series by metric and instance, by number of the scrape."""

    @property
    def seconds(self) -> int:
        return int((self.cluster.now - NOW).total_seconds())

    def lead(self, instance: str, seconds: int) -> None:
        """A new process leads for so long; none at all where it has no address."""
        registry = CollectorRegistry()
        metrics = JobMetrics(registry, monotonic=lambda: float(self.seconds))
        for _ in range(seconds // SCRAPE_SECONDS):
            self.cluster.tick(SCRAPE_SECONDS)
            if instance:
                self._look(metrics)
                self._scrape(registry, instance)

    def _look(self, metrics: JobMetrics) -> None:
        while not is_empty(plan := self.cluster.plan()):
            self.cluster.apply(plan)
            if plan.measures is not None:
                metrics.count(self.cluster.job, plan.measures)

    def _scrape(self, registry: CollectorRegistry, instance: str) -> None:
        for sample in (sample for family in registry.collect() for sample in family.samples):
            if sample.labels.get("currency") == "EUR" or sample.labels.get("resource") == GPU:
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                series = f'{sample.name}{{{labels},instance="{instance}"}}', instance
                self.scraped[series][self.seconds // SCRAPE_SECONDS] = sample.value

    def to_series(self) -> Iterator[dict[str, str]]:
        for (name, _), values in self.scraped.items():
            last = self.seconds // SCRAPE_SECONDS
            yield {"series": name, "values": " ".join(str(values.get(each, "_")) for each in range(last + 1))}


def running() -> FakeCluster:
    cluster = Priced(bare_job({"runtimeRef": {"name": "torch"}, "nodes": 2, "resources": {"limits": {GPU: 4}}}))
    cluster.settle()
    for number, each in enumerate(cluster.live_pods()):
        cluster.schedule(each, f"node-{number}")
        cluster.start(each)
    return cluster


def judge(world: World, folder: Path, *, within: float) -> None:
    """Asks Prometheus' own tool whether the documented queries are within so much money of what the bill says."""
    [bill] = make_bills([world.cluster.job])
    queries = {question: names_in(promql)[0] for question, promql in read_table("costs.md", "who pays")}
    cost = queries["what has each namespace cost this month?"]
    seconds = cost.replace("footplate_cost_total", "footplate_charged_accelerator_seconds_total")
    held = seconds.replace("currency", "resource")
    due = [
        (cost, bill.cost["EUR"], within, 'currency="EUR"'),
        (held, bill.hours[GPU] * 3600, within / PRICE * 3600, f'resource="{GPU}"'),
    ]
    tests = [
        {
            "expr": f"abs({promql} - {amount}) < bool {most}",
            "eval_time": f"{world.seconds}s",
            "exp_samples": [{"labels": f'{{namespace="team",{unit}}}', "value": 1}],
        }
        for promql, amount, most, unit in due
    ]
    suite = {"interval": f"{SCRAPE_SECONDS}s", "input_series": [*world.to_series()], "promql_expr_test": tests}
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump({"tests": [suite]}, width=100_000))
    command = [find_tool("promtool"), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_over_leaders_that_come_and_go(tmp_path: Path) -> None:
    """The second takes over at once, the third after an outage; the fourth is started anew where the first was."""
    world = World(running())
    for instance, seconds in (("a", 4020), ("b", 2520), ("", 1200), ("c", 1500), ("a", 3000)):
        world.lead(instance, seconds)
    judge(world, tmp_path, within=4 * A_SCRAPES_WORTH)


def test_of_a_run_that_is_over_soon(tmp_path: Path) -> None:
    world = World(running())
    world.lead("a", 240)
    for each in world.cluster.live_pods():
        world.cluster.end(each, 0)
    world.lead("a", 600)
    assert world.cluster.phase == "Succeeded"
    judge(world, tmp_path, within=A_SCRAPES_WORTH)


def test_for_whoever_scrapes_beside_the_first() -> None:
    """A second Prometheus, a person with curl: the first to come doesn't see the zero for all."""
    times = iter((0.0, 119.0, 239.0, 240.0))
    from_zero = FromZero(times.__next__)
    assert [from_zero.show("series", 5.0) for _ in range(3)] == [0, 0, 5]
    from_zero.forget("series")
    assert from_zero.show("series", 7.0) == 0
