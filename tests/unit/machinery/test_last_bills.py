"""What a job that is deleted has held since its status last told it: counted once, and for whoever held it."""

import itertools
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from footplate.api.scalars import format_time
from footplate.machinery.cluster import Cluster
from footplate.machinery.from_zero import SEEN_AFTER_SECONDS
from footplate.machinery.job_metrics import JobMetrics
from footplate.machinery.last_bills import LastBills
from footplate.machinery.run_configs import RunConfigs
from footplate.machinery.store import Store
from unit.machinery.support import FakeClock
from unit.policy.build import job
from unit.policy.fakecluster import FakeCluster

GPU = "nvidia.com/gpu"
JSON = dict[str, Any]


class Silent:
    """A poller of a job that says nothing."""

    def latest(self, uid: str) -> None:
        return None


@dataclass
class Operator:
    """The stores of one that leads, with a job of eight accelerators that runs."""

    fake: FakeCluster = field(default_factory=lambda: FakeCluster(job({"resources": {"limits": {GPU: 4}}})))
    own: str = ""
    version: int = 1000

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        metrics = JobMetrics(self.registry, monotonic=itertools.count(0.0, 2 * SEEN_AFTER_SECONDS).__next__)
        self.cluster = Cluster(lambda key: None)
        configs = RunConfigs(cast(Any, None), clock=FakeClock())
        bills = LastBills(
            self.cluster, configs, cast(Any, Silent()), own=self.own, clock=cast(Any, self), metrics=metrics
        )
        self.cluster.on_deleted = bills.enter
        self.fake.settle()
        for number, pod in enumerate(self.fake.live_pods()):
            self.fake.schedule(pod, f"node-{number}")
            self.fake.start(pod)
        self.fake.settle()
        for (kind, _), found in self.fake.objects.items():
            if kind == "ConfigMap":
                configs.put(found)
        for pod in self.fake.pods():
            self._apply(self.cluster.pods, pod.raw)
        self.seen()

    def now(self) -> Any:
        return self.fake.now

    def seen(self, *, deleted: bool = False, **metadata: Any) -> None:
        """The job as it is by now."""
        self._apply(
            self.cluster.jobs, self.fake.job | {"metadata": self.fake.job["metadata"] | metadata}, deleted=deleted
        )

    def _apply(self, store: Store, found: JSON, *, deleted: bool = False) -> None:
        self.version += 1
        metadata = {**found["metadata"], "resourceVersion": str(self.version)}
        store.apply({**found, "metadata": metadata}, deleted=deleted)

    def charged(self) -> float:
        labels = {"namespace": "team", "charged_to": "", "resource": GPU}
        name = "footplate_charged_accelerator_seconds_total"
        return [self.registry.get_sample_value(name, labels) for _ in range(2)][1] or 0.0


def test_a_job_that_is_deleted_before_its_status_tells_pays() -> None:
    """A tenant that deletes its jobs after nine minutes paid for none of them."""
    operator = Operator()
    operator.fake.tick(540)
    assert "usage" not in operator.fake.status
    operator.seen(deleted=True)
    assert operator.charged() == pytest.approx(8 * 540, abs=8)


def test_what_the_status_has_told_isnt_counted_again() -> None:
    operator = Operator()
    operator.fake.tick(600)
    operator.fake.settle()
    assert operator.fake.status["usage"]["acceleratorSeconds"] == {GPU: 4800}
    operator.seen()
    operator.fake.tick(60)
    operator.seen(deleted=True)
    assert operator.charged() == pytest.approx(8 * 60, abs=8)


def test_one_that_waits_for_its_dependents_is_counted_once() -> None:
    operator = Operator()
    operator.fake.tick(60)
    begun = {"deletionTimestamp": format_time(operator.fake.now)}
    operator.seen(**begun)
    operator.fake.tick(60)
    operator.seen(**begun)
    operator.seen(**begun, deleted=True)
    assert operator.charged() == pytest.approx(8 * 60, abs=8)


def test_one_whose_name_another_has_by_now_pays_too() -> None:
    operator = Operator()
    operator.fake.tick(60)
    operator.seen(uid="another")
    assert operator.charged() == pytest.approx(8 * 60, abs=8)


def test_what_is_over_owes_nothing() -> None:
    operator = Operator()
    operator.fake.tick(60)
    for pod in operator.fake.live_pods():
        operator.fake.end(pod, 0)
    operator.fake.settle()
    assert operator.fake.phase == "Succeeded"
    operator.seen()
    operator.fake.tick(60)
    operator.seen(deleted=True)
    assert operator.charged() == 0, "it was counted as its status was written"


def test_another_operators_job_is_that_ones_to_count() -> None:
    operator = Operator(own="system/other")
    operator.fake.tick(60)
    operator.seen(deleted=True)
    assert operator.charged() == 0


@pytest.mark.parametrize("status", [{"phase": "Dancing"}, {"attempts": 7}], ids=["phase", "attempts"])
def test_a_status_that_nobody_understands_harms_nobody(status: JSON) -> None:
    operator = Operator()
    operator.fake.job["status"] |= status
    operator.seen()
    operator.seen(deleted=True)
    assert operator.charged() == 0
    assert not operator.cluster.jobs.objects()


def test_one_whose_end_is_told_twice_is_counted_once() -> None:
    """By the answer to a write, and by a watch that lags behind and shows it once more first."""
    operator = Operator()
    operator.fake.tick(60)
    metadata = operator.fake.job["metadata"]
    operator.cluster.jobs.discard((metadata["namespace"], metadata["name"]), uid=metadata["uid"])
    operator.seen()
    operator.seen(deleted=True)
    assert operator.charged() == pytest.approx(8 * 60, abs=8)
