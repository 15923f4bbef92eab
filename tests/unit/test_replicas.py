"""Two replicas of the operator, in virtual time: nothing is concluded from a view that isn't known to be fresh, and
nobody acts beside another. `make soak-replicas` looks further.
"""

import asyncio
import random
from typing import Any

import pytest

from footplate.machinery.lease import Lease
from footplate.machinery.resources import NODES, PODS, TRAINING_JOBS
from footplate.policy import status
from replicas.__main__ import live
from replicas.apiserver import ApiServer
from replicas.replica import Replica
from replicas.virtual import VirtualClock, run
from replicas.world import NAMESPACE, World
from unit.policy.build import job as make_job

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def quiet() -> Any:
    from structlog.testing import capture_logs

    with capture_logs():
        yield


@pytest.mark.parametrize("seed", [1])
def test_no_healthy_gang_ends_and_nobody_acts_beside_another(seed: int) -> None:
    outcome = live(seed)
    assert outcome.violations == []
    assert outcome.takeovers >= 5, "too quiet a life to prove anything"
    assert outcome.harms >= 5


def test_a_policy_that_believes_its_view_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "once_confirmed", lambda plan, **_: plan)
    assert any("healthy attempt" in violation for violation in live(7).violations)


def test_a_leader_that_believes_in_its_lease_for_ever_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lease, "remaining", lambda _: float("inf"))
    assert any("wrote" in violation for violation in live(1).violations)


class Handover:
    """A leader with a running gang, and a standby whose watches have been silent since it began."""

    def __init__(self) -> None:
        self.world = World(0)
        self.server: ApiServer = self.world.server
        self.first: Replica
        self.second: Replica

    @property
    def status(self) -> dict[str, Any]:
        job = self.server.get(TRAINING_JOBS, (NAMESPACE, "job-0"))
        return job.get("status") or {}

    async def until_running(self) -> None:
        self.world._set_node("node-0", "True")
        self.first = Replica("first", self.server, random.Random(1))
        await asyncio.sleep(5)
        self.second = Replica("second", self.server, random.Random(2))
        await asyncio.sleep(5)
        for resource in (PODS, NODES, TRAINING_JOBS):
            self.second.line.mute(resource, 75)
        self.server.create(make_job({"nodes": 3}, name="job-0", uid="j0"))
        self.kubelets = asyncio.create_task(self.world._turn_kubelets())
        for _ in range(30):
            await asyncio.sleep(1)
            if self.status.get("phase") == "Running":
                break
        assert self.status["phase"] == "Running", self.status
        assert len(self.second.cluster.pods) == 0, "it should have seen nothing"

    async def take_over(self, how: str) -> None:
        if how == "asked to stop":
            await self.first.stop()
        else:
            self.first.kill()
        for _ in range(200):
            await asyncio.sleep(0.1)
            if self.second.acts:
                return
        raise AssertionError("nobody took over")

    async def end(self) -> None:
        self.kubelets.cancel()
        for replica in (self.first, self.second):
            replica.kill()
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["asked to stop", "killed"])
def test_a_standby_that_has_seen_nothing_takes_over_and_nothing_happens(how: str) -> None:
    async def play() -> None:
        handover = Handover()
        await handover.until_running()
        before = handover.status
        await handover.take_over(how)
        assert len(handover.second.cluster.pods) == 3, "no decision before everything was listed inside the lease"
        assert len(handover.second.cluster.jobs) == 1
        await asyncio.sleep(20)
        after = handover.status
        assert (after["phase"], after["attempt"], after["restarts"]["total"]) == ("Running", 0, 0)
        assert after["transitions"] == before["transitions"]
        assert handover.server.violations == []
        await handover.end()

    run(play())


def test_a_frozen_leader_wakes_and_writes_nothing() -> None:
    async def play() -> None:
        handover = Handover()
        await handover.until_running()
        handover.first.line.freeze(40)
        await asyncio.sleep(25)
        assert handover.server.holder == "second"
        handover.server.create(make_job({"nodes": 2}, name="job-1", uid="j1"))
        await asyncio.sleep(60)
        assert handover.first.dead.is_set()
        assert handover.first.errors == []
        assert handover.server.violations == []
        await handover.end()

    run(play())


def test_time_is_virtual() -> None:
    async def sleep() -> float:
        clock = VirtualClock(asyncio.get_running_loop())
        await clock.sleep(3600)
        return clock.monotonic()

    assert run(sleep()) == pytest.approx(3600)
