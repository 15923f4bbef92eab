from dataclasses import replace
from typing import Any

import pytest

from footplate.errors import Conflict, LeaseLost, NotFound, Refused, Retryable
from footplate.machinery.applier import Outcome
from footplate.machinery.memory import RETRY_REFUSED_SECONDS
from footplate.objects import key_of, uid_of
from footplate.policy.plan import Plan, Refusal, Target
from unit.machinery.support import make_job, make_pod, settle
from unit.machinery.worker_bench import CHANGE, Bench, plans

CREATE = Plan(create=({"kind": "Pod"},))
REFUSAL = Refusal("Pod", "p", 403, "Forbidden", "quota")
HICCUP = Refusal("Pod", "p", 503, "ApiUnavailable", "a webhook is away", transient=True)


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
