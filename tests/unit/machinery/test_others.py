from typing import Any, cast

import pytest

from footplate.errors import ApiUnavailable, NotFound, Refused
from footplate.machinery.others import LOOK_AGAIN_SECONDS, Others
from footplate.objects import Key
from footplate.policy.plan import Plan
from unit.machinery.support import FakeClock, make_job, settle
from unit.machinery.worker_bench import Bench, plans

JOB: Key = ("ns", "job")
THEM = "them/footplate-operator"


class Leases:
    """What there is, or why that can't be known."""

    def __init__(self) -> None:
        self.lease: Any = None
        self.error: Exception | None = None
        self.asked = 0

    def renew(self, *, holder: str = "them_1", duration: int = 10) -> None:
        version = str(self.asked + 1000)
        self.lease = {
            "metadata": {"resourceVersion": version},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": duration},
        }

    async def get(self, _: Any, namespace: str, name: str) -> Any:
        assert f"{namespace}/{name}" == THEM
        self.asked += 1
        if self.error is not None:
            raise self.error
        if self.lease is None:
            raise NotFound(404, "NotFound", name)
        return self.lease


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
def others(leases: Leases, clock: FakeClock) -> Others:
    return Others(cast(Any, leases), own="us/footplate-operator", clock=clock)


@pytest.mark.parametrize("owner", ["", "us/footplate-operator"])
async def test_nobodys_and_ours(others: Others, leases: Leases, owner: str) -> None:
    assert not await others.has(JOB, owner)
    assert leases.asked == 0


async def test_one_who_renews_his_lease_lives(others: Others, leases: Leases, clock: FakeClock) -> None:
    for _ in range(10):
        leases.renew()
        assert await others.has(JOB, THEM)
        await clock.advance(5)
    [(part, said)] = others.problems().items()
    assert part == f"operator {THEM}"
    assert "acts on 1 jobs that this operator serves too, in ns" in said
    others.forget(JOB)
    assert others.problems() == {}


async def test_one_who_renews_no_more_is_dead_once_we_have_seen_it(
    others: Others, leases: Leases, clock: FakeClock
) -> None:
    leases.renew()
    await clock.advance(100)
    assert await others.has(JOB, THEM), "seen for the first time"
    await clock.advance(9)
    assert await others.has(JOB, THEM)
    await clock.advance(2)
    assert not await others.has(JOB, THEM)
    assert others.problems() == {}
    leases.renew()
    await clock.advance(2)
    assert await others.has(JOB, THEM), "it is back"


@pytest.mark.parametrize("gone", ["deleted", "given back", "of no shape"])
async def test_one_who_has_left_is_dead_at_once(others: Others, leases: Leases, gone: str) -> None:
    if gone == "given back":
        leases.renew(holder="")
    elif gone == "of no shape":
        leases.lease = {"metadata": {"resourceVersion": "1"}}
    assert not await others.has(JOB, THEM)


@pytest.mark.parametrize("error", [ApiUnavailable("away"), Refused(403, "Forbidden", "no")])
async def test_one_of_whom_nothing_can_be_learnt_lives(
    others: Others, leases: Leases, clock: FakeClock, error: Exception
) -> None:
    leases.error = error
    for _ in range(10):
        assert await others.has(JOB, THEM)
        await clock.advance(10)


async def test_the_lease_is_asked_for_once_for_many_jobs(others: Others, leases: Leases) -> None:
    leases.renew()
    for number in range(1000):
        assert await others.has(("ns", f"job-{number}"), THEM)
    assert leases.asked == 1


async def test_a_worker_leaves_anothers_job_alone_until_he_is_gone() -> None:
    bench = Bench()
    bench.api.objects["op"] = {
        "metadata": {"resourceVersion": "1"},
        "spec": {"holderIdentity": "x", "leaseDurationSeconds": 10},
    }
    bench.decide = plans(Plan(create=({"kind": "Pod"},)))
    bench.cluster.jobs.observe(make_job(status={"phase": "Running", "operator": "them/op"}))
    async with bench.running():
        assert (bench.observed, bench.results()) == ([], {"left_alone": 1})
        await bench.clock.advance(LOOK_AGAIN_SECONDS + 1)
        await settle()
        assert len(bench.observed) == 2
        assert [plan.create for plan in bench.applied] == [({"kind": "Pod"},)]
