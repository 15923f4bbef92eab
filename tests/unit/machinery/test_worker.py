import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

import pytest

from footplate.errors import Conflict, LeaseLost, NotFound, Refused, Retryable
from footplate.machinery.applier import Outcome
from footplate.machinery.cluster import Cluster
from footplate.machinery.controllers import controllers
from footplate.machinery.memory import RETRY_REFUSED_SECONDS
from footplate.machinery.metrics import Metrics
from footplate.machinery.worker import Worker
from footplate.machinery.workqueue import WorkQueue
from footplate.objects import key_of, uid_of
from footplate.policy.plan import Doubt, Observed, Plan, Refusal, Target, once_confirmed
from footplate.policy.pod import Pod
from unit.machinery.support import FakeClock, make, make_job, make_pod, settle

CHANGE = Plan(status={"phase": "Running"})
CREATE = Plan(create=({"kind": "Pod"},))
REFUSAL = Refusal("Pod", "p", 403, "Forbidden", "quota")
HICCUP = Refusal("Pod", "p", 503, "ApiUnavailable", "a webhook is away", transient=True)


class Api:
    """What the API server has, whatever the view shows."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def get(self, _: Any, namespace: str, name: str) -> Any:
        self.asked.append(name)
        if self.error is not None:
            raise self.error
        if name not in self.objects:
            raise NotFound(404, "NotFound", name)
        return self.objects[name]


class Bench:
    """A worker whose plans and applications tests decide."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.queue = WorkQueue(workers=24, clock=self.clock, metrics=self.metrics)
        self.cluster = Cluster(self.queue.add)
        self.api = Api()
        self.observed: list[Observed] = []
        self.decide: Callable[[Observed], Plan] = lambda _: Plan()
        self.outcome: Callable[[Plan], list[Refusal]] = lambda _: []
        self.applied: list[Plan] = []
        [controller] = controllers(self.cluster, self.queue, cast(Any, self), cast(Any, self))
        self.worker = Worker(
            replace(controller, reconcile=self.reconcile),
            cast(Any, self.api),
            self.cluster,
            cast(Any, self),
            clock=self.clock,
            metrics=self.metrics,
        )

    def reconcile(self, observed: Observed, *, now: datetime) -> Plan:
        self.observed.append(observed)
        return self.decide(observed)

    async def get(self, _: Any, *, runtime: Any) -> None:
        """No run has a ConfigMap."""

    def discard(self, _: Any) -> None:
        """So there is none to forget."""

    async def apply(self, _: Any, plan: Plan) -> Outcome:
        self.applied.append(plan)
        return Outcome(self.outcome(plan))

    def latest(self, _: str) -> None:
        """No job has progress."""

    def results(self) -> dict[str, float]:
        [family] = self.metrics.reconciliations.collect()
        return {s.labels["result"]: s.value for s in family.samples if s.name.endswith("_total") and s.value}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.worker.run())
        await settle()
        try:
            yield
        finally:
            assert not task.done(), "nothing but cancellation ends a worker"
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.cluster.jobs.observe(make_job())
    return bench


def plans(*answers: Plan) -> Callable[[Observed], Plan]:
    """One after the other, then nothing to do."""
    rest = list(answers)
    return lambda _: rest.pop(0) if rest else Plan()


async def test_a_job_is_looked_at_until_it_settles(bench: Bench) -> None:
    bench.decide = plans(CHANGE, CREATE, CHANGE)
    async with bench.running():
        assert bench.results() == {"changed": 3, "settled": 1}


async def test_a_settled_job_is_looked_at_again_when_it_says(bench: Bench) -> None:
    bench.decide = plans(Plan(requeue_after=30))
    async with bench.running():
        await bench.clock.advance(29)
        assert len(bench.observed) == 1
        await bench.clock.advance(2)
        assert len(bench.observed) == 2


@pytest.mark.parametrize(
    ("error", "result"),
    [
        pytest.param(Conflict(409, "Conflict", ""), "conflict", id="conflict"),
        pytest.param(NotFound(404, "NotFound", ""), "conflict", id="gone"),
        pytest.param(Retryable("no"), "retry", id="retryable"),
        pytest.param(LeaseLost("no"), "retry", id="no lease"),
        pytest.param(Refused(403, "Forbidden", "no"), "error", id="refused"),
        pytest.param(KeyError("a bug"), "error", id="a bug"),
        pytest.param(RecursionError(), "error", id="a deep one"),
    ],
)
async def test_whatever_goes_wrong_is_tried_again_and_stops_no_other(
    bench: Bench, error: Exception, result: str
) -> None:
    other = make_job("other", uid="other", version=2)
    bench.decide = lambda observed: Plan() if observed.job["metadata"]["name"] == "other" else CHANGE

    def fail(_: Plan) -> list[Refusal]:
        raise error

    bench.outcome = fail
    async with bench.running():
        bench.cluster.jobs.observe(other)
        await settle()
        assert bench.results() == {result: 1, "settled": 1}
        await bench.clock.advance(60)
        assert bench.results()[result] > 3


async def test_a_server_that_asks_for_time_gets_it(bench: Bench) -> None:
    bench.decide = lambda _: CHANGE

    def fail(_: Plan) -> list[Refusal]:
        raise Retryable("busy", retry_after=20)

    bench.outcome = fail
    async with bench.running():
        await bench.clock.advance(19)
        assert bench.results() == {"retry": 1}


def refuses_creates(plan: Plan) -> list[Refusal]:
    return [REFUSAL] if plan.create else []


async def test_a_refused_create_waits_whatever_happens_meanwhile(bench: Bench) -> None:
    bench.decide = lambda _: CREATE
    bench.outcome = refuses_creates
    async with bench.running():
        await bench.clock.advance(RETRY_REFUSED_SECONDS - 1)
        bench.cluster.jobs.observe(make_job(version=5))
        await settle()
        assert bench.results() == {"refused": 1, "settled": 2}
        assert [refusal.message for refusal in bench.observed[-1].refusals] == ["quota"]
        await bench.clock.advance(2)
        assert bench.results()["refused"] == 2


async def test_what_is_not_refused_is_done_all_the_same(bench: Bench) -> None:
    both = Plan(create=CREATE.create, delete=(Target("Pod", "ns", "old"),))
    bench.decide = plans(both, both)
    bench.outcome = refuses_creates
    async with bench.running():
        assert bench.applied == [both, replace(both, create=(), requeue_after=RETRY_REFUSED_SECONDS)]


async def test_failures_are_observed_with_their_beginning_until_the_next_try_works(bench: Bench) -> None:
    bench.decide = lambda observed: CREATE if not observed.pods else Plan()
    bench.outcome = lambda _: [HICCUP]
    async with bench.running():
        began = bench.clock.now()
        await bench.clock.advance(5)
        assert {refusal.since for refusal in bench.observed[-1].refusals} == {began}
        assert 4 <= bench.results()["retry"] <= 8
        bench.outcome = lambda _: []
        bench.decide = lambda observed: CREATE if observed.refusals else Plan()
        await bench.clock.advance(30)
        assert bench.observed[-1].refusals == []


async def test_a_server_that_asks_for_time_gets_it_for_this_kind_of_write(bench: Bench) -> None:
    bench.decide = lambda _: CREATE
    bench.outcome = lambda plan: [replace(HICCUP, retry_after=20.0)] if plan.create else []
    async with bench.running():
        await bench.clock.advance(19)
        assert len(bench.applied) == 1
        await bench.clock.advance(2)
        assert len(bench.applied) == 2


async def test_failures_of_what_nobody_wants_any_more_are_forgotten(bench: Bench) -> None:
    bench.decide = plans(CREATE)
    bench.outcome = refuses_creates
    async with bench.running():
        assert len(bench.observed[-1].refusals) == 1
        await bench.clock.advance(RETRY_REFUSED_SECONDS + 1)
        assert bench.observed[-1].refusals == []


async def test_failures_are_known_though_the_status_could_not_be_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def apply(_: Any, plan: Plan) -> Outcome:
        return Outcome([REFUSAL], Conflict(409, "Conflict", ""))

    monkeypatch.setattr(bench, "apply", apply)
    bench.decide = plans(replace(CREATE, status={"phase": "Pending"}))
    async with bench.running():
        await bench.clock.advance(1)
        assert bench.results() == {"conflict": 1, "settled": 1}
        assert len(bench.observed[-1].refusals) == 1


async def test_a_changed_spec_is_tried_at_once(bench: Bench) -> None:
    bench.decide = lambda _: CREATE
    bench.outcome = refuses_creates
    async with bench.running():
        job = make_job(version=5)
        job["metadata"]["generation"] = 7
        bench.cluster.jobs.observe(job)
        await settle()
        assert bench.results()["refused"] == 2


async def test_a_job_created_again_under_its_name_inherits_nothing(bench: Bench) -> None:
    bench.decide = lambda _: CREATE
    bench.outcome = refuses_creates
    async with bench.running():
        assert bench.results()["refused"] == 1
        bench.cluster.jobs.observe(make_job(uid="successor", version=9))
        await settle()
        assert bench.results()["refused"] == 2
        first = next(each for each in bench.observed if each.job["metadata"]["uid"] == "successor")
        assert first.refusals == []


async def test_backoff_is_of_the_object_not_of_its_name(bench: Bench) -> None:
    def fail(_: Plan) -> list[Refusal]:
        raise Retryable("no")

    bench.decide, bench.outcome = lambda _: CHANGE, fail
    async with bench.running():
        await bench.clock.advance(300)
        before = bench.results()["retry"]
        bench.cluster.jobs.observe(make_job(uid="successor", version=9))
        await bench.clock.advance(5)
        assert bench.results()["retry"] - before > 4


async def test_a_job_that_never_settles_has_to_wait(bench: Bench) -> None:
    bench.decide = lambda _: CHANGE
    async with bench.running():
        for _ in range(10):
            await settle()
        at_once = bench.results()["changed"]
        assert at_once < 40
        await bench.clock.advance(60)
        assert at_once < bench.results()["changed"] < at_once + 20


async def test_the_time_of_the_last_status_is_known_for_this_very_job(bench: Bench) -> None:
    bench.decide = plans(CHANGE)
    async with bench.running():
        assert [observed.status_written for observed in bench.observed] == [None, bench.clock.now()]
        bench.cluster.jobs.observe(make_job(uid="successor", version=9))
        await settle()
        assert bench.observed[-1].status_written is None


async def test_a_job_that_is_gone_is_forgotten(bench: Bench) -> None:
    async with bench.running():
        bench.cluster.jobs.discard(("ns", "job"), uid="uid-job")
        await settle()
        assert bench.results() == {"settled": 1, "gone": 1}


ENDED = {
    "phase": "Failed",
    "containerStatuses": [{"name": "trainer", "state": {"terminated": {"exitCode": 75, "message": "its last words"}}}],
}


def versions(pod: dict[str, Any], last: dict[str, Any]) -> list[dict[str, Any]]:
    """A pod as it works, as it ends, and as it was when it was removed."""
    later = [{**pod["metadata"], "resourceVersion": version} for version in ("3", "4")]
    return [pod, *({**pod, "status": last, "metadata": metadata} for metadata in later)]


def show(bench: Bench, *seen: dict[str, Any]) -> None:
    """Events of the watch, the last of which is a removal."""
    for pod in seen:
        bench.cluster.pods.apply(pod, deleted=pod is seen[-1])


async def test_last_words_are_heard_though_the_pod_goes_before_the_next_look(bench: Bench) -> None:
    """A kubelet tells of a container's end and of the pod's removal within milliseconds."""
    async with bench.running():
        show(bench, *versions(make_pod(make_job(), version=2), ENDED))
        await settle()
    assert [Pod.of(pod).terminated["message"] for seen in bench.observed for pod in seen.pods] == ["its last words"]
    assert not bench.observed[-1].pods, "the pod is gone"


async def test_last_words_are_kept_until_a_look_is_carried_out(bench: Bench) -> None:
    bench.decide = plans(Plan(), CHANGE, CHANGE)
    errors = [Retryable("no")]

    def fail(_: Plan) -> list[Refusal]:
        if errors:
            raise errors.pop()
        return []

    bench.outcome = fail
    async with bench.running():
        show(bench, *versions(make_pod(make_job(), version=2), ENDED))
        await bench.clock.advance(60)
    assert [len(seen.pods) for seen in bench.observed] == [0, 1, 1, 0]


async def test_a_pod_that_goes_while_it_works_leaves_no_words(bench: Bench) -> None:
    async with bench.running():
        show(bench, *versions(make_pod(make_job(), version=2), {"phase": "Running"}))
        await settle()
    assert not bench.observed[-1].pods


async def test_last_words_of_a_job_that_is_gone_are_forgotten(bench: Bench) -> None:
    async with bench.running():
        bench.cluster.jobs.discard(("ns", "job"), uid="uid-job")
        show(bench, *versions(make_pod(make_job(), version=2), ENDED))
        await settle()
    assert bench.cluster.departed_of(("ns", "job")) == []


async def test_what_is_refused_again_and_again_is_tried_ever_less_often(bench: Bench) -> None:
    bench.decide = lambda _: CREATE
    bench.outcome = lambda plan: [REFUSAL] if plan.create else []
    async with bench.running():
        tries = []
        for _ in range(10):
            await bench.clock.advance(100)
            tries.append(bench.results()["refused"])
        assert tries[0] == 4, "after 0, 10, 30 and 70 s"
        assert tries[-1] == 8, "then every 5 min at the latest: after 150, 310, 610 and 910 s"


async def test_a_pod_that_goes_makes_room_in_a_quota(bench: Bench) -> None:
    old = make_pod(bench.cluster.jobs.get(("ns", "job")))
    bench.cluster.pods.observe(old)
    bench.decide = lambda _: CREATE
    bench.outcome = lambda plan: [REFUSAL] if plan.create else []
    async with bench.running():
        bench.cluster.jobs.observe(make_job(version=5))
        await settle()
        assert bench.results()["refused"] == 1
        bench.cluster.pods.discard(key_of(old), uid=uid_of(old))
        await settle()
        assert bench.results()["refused"] == 2


POD = Doubt("Pod", "job-1-0-0")
NODE = Doubt("Node", "n1")


def end_if_confirmed(doubt: Doubt) -> Callable[[Observed], Plan]:
    """Ends the attempt once it is certain that what is in doubt isn't there."""

    def decide(observed: Observed) -> Plan:
        there = bool(observed.pods) if doubt.kind == "Pod" else doubt.name in observed.nodes
        return Plan() if there else once_confirmed(CHANGE, observed=observed, doubts=[doubt])

    return decide


@pytest.mark.parametrize("doubt", [POD, NODE])
async def test_absence_is_asked_for_before_anything_is_done(bench: Bench, doubt: Doubt) -> None:
    bench.decide = end_if_confirmed(doubt)
    async with bench.running():
        assert bench.api.asked[0] == doubt.name
        assert bench.observed[0].confirmed == frozenset()
        assert bench.observed[1].confirmed == {doubt}
        assert bench.results()["changed"] >= 1


@pytest.mark.parametrize("doubt", [POD, NODE])
async def test_what_the_view_doesnt_show_and_is_there_is_looked_at(bench: Bench, doubt: Doubt) -> None:
    there = make_pod(make_job()) if doubt == POD else make("n1", namespace="", spec={}, status={})
    bench.api.objects[doubt.name] = there
    bench.decide = end_if_confirmed(doubt)
    async with bench.running():
        assert "changed" not in bench.results()
        store = bench.cluster.pods if doubt == POD else bench.cluster.nodes
        assert len(store) == 1


async def test_a_pod_that_no_watch_tells_of_is_there_all_the_same(bench: Bench) -> None:
    """It lost our label: the watch has shown it as deleted, and will never show it again."""
    bench.cluster.pods.advance("100")
    bench.api.objects[POD.name] = make_pod(make_job(), version=7)
    bench.decide = end_if_confirmed(POD)
    async with bench.running():
        assert len(bench.cluster.pods) == 0
        await bench.clock.advance(60)
        assert "changed" not in bench.results()
        assert len(bench.api.asked) >= 5, "looked at now and then, since nobody tells"
        del bench.api.objects[POD.name]
        await bench.clock.advance(11)
        assert bench.results()["changed"] >= 1


async def test_what_the_view_shows_and_is_gone_is_gone(bench: Bench) -> None:
    bench.cluster.nodes.observe(make("n1", namespace="", spec={}, status={}))
    bench.decide = lambda observed: once_confirmed(CHANGE, observed=observed, doubts=[NODE])
    async with bench.running():
        assert not bench.observed[1].nodes
        assert len(bench.cluster.nodes) == 0


async def test_nothing_is_done_while_the_api_server_doesnt_answer(bench: Bench) -> None:
    bench.decide = end_if_confirmed(POD)
    bench.api.error = Retryable("away")
    async with bench.running():
        await bench.clock.advance(30)
        assert bench.results().keys() == {"retry"}
        bench.api.error = None
        await bench.clock.advance(60)
        assert bench.results()["changed"] >= 1


async def test_one_look_asks_only_so_often(bench: Bench) -> None:
    """Others get their turn in between, however much is in doubt."""
    doubts = (Doubt("Pod", f"pod-{number}") for number in itertools.count())
    bench.decide = lambda _: Plan(confirm=frozenset([next(doubts)]))
    other = make_job("other", uid="other", version=2)
    async with bench.running():
        bench.cluster.jobs.observe(other)
        for _ in range(30):
            await settle()
        assert {observed.job["metadata"]["name"] for observed in bench.observed} == {"job", "other"}
