"""What a look sees of a cluster that the view shows late: last words of pods that are gone, and what is in doubt."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from footplate.errors import Retryable
from footplate.policy.plan import Doubt, Observed, Plan, Refusal, once_confirmed
from footplate.policy.pod import Pod
from unit.machinery.support import make, make_job, make_pod, settle
from unit.machinery.worker_bench import CHANGE, Bench, plans

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
    assert bench.cluster.departed.of(("ns", "job")) == []


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
