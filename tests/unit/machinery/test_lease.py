import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from footplate.errors import AlreadyExists, ApiUnavailable, Conflict, LeaseLost, NotFound, Refused
from footplate.machinery.lease import DURATION, RENEW_DEADLINE, RETRY_PERIOD, Lease
from unit.machinery.support import FakeClock, settle


class Leases:
    """The API server's leases: one object, resourceVersions, conflicts."""

    def __init__(self) -> None:
        self.lease: Any = None
        self.version = 0

    @property
    def holder(self) -> str | None:
        spec = (self.lease or {}).get("spec")
        return spec.get("holderIdentity") if isinstance(spec, dict) else None

    def store(self, lease: Any) -> Any:
        self.version += 1
        self.lease = {**lease, "metadata": {**lease["metadata"], "resourceVersion": str(self.version)}}
        return self.lease


class Line:
    """One replica's line to the leases: may be cut, slow, or lose answers."""

    def __init__(self, leases: Leases, clock: FakeClock) -> None:
        self.leases = leases
        self.clock = clock
        self.cut = False
        self.loses_answers = False
        self.delay = 0.0

    async def _pass(self) -> None:
        if self.delay:
            await self.clock.sleep(self.delay)
        if self.cut:
            raise ApiUnavailable("cut")

    def _answer(self, lease: Any) -> Any:
        if self.loses_answers:
            raise ApiUnavailable("answer lost")
        return lease

    async def get(self, *_: Any) -> Any:
        await self._pass()
        if self.leases.lease is None:
            raise NotFound(404, "NotFound", "")
        return self._answer(self.leases.lease)

    async def create(self, lease: Any) -> Any:
        await self._pass()
        if self.leases.lease is not None:
            raise AlreadyExists(409, "AlreadyExists", "")
        return self._answer(self.leases.store(lease))

    async def replace(self, _: Any, lease: Any) -> Any:
        await self._pass()
        if self.leases.lease is None:
            raise NotFound(404, "NotFound", "")
        if lease["metadata"]["resourceVersion"] != str(self.leases.version):
            raise Conflict(409, "Conflict", "")
        return self._answer(self.leases.store(lease))


class Replica:
    """A candidate with its own line; `leads` while it believes so."""

    def __init__(self, name: str, leases: Leases, clock: FakeClock) -> None:
        self.name = name
        self.line = Line(leases, clock)
        self.lease = Lease(self.line, namespace="ns", name="op", identity=name, clock=clock)  # type: ignore[arg-type]
        self.task: asyncio.Task[None] | None = None
        self.error: LeaseLost | None = None

    def may_write(self) -> bool:
        return self.lease.remaining() > 0

    async def run(self) -> None:
        await self.lease.acquire()
        try:
            await self.lease.hold()
        except LeaseLost as error:
            self.error = error

    def start(self) -> None:
        self.task = asyncio.create_task(self.run())

    async def kill(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
def leases() -> Leases:
    return Leases()


@asynccontextmanager
async def two_replicas(leases: Leases, clock: FakeClock) -> AsyncIterator[tuple[Replica, Replica]]:
    first, second = Replica("first", leases, clock), Replica("second", leases, clock)
    first.start()
    await settle()
    second.start()
    await clock.advance(2 * RETRY_PERIOD)
    try:
        yield first, second
    finally:
        await first.kill()
        await second.kill()


async def test_one_leads_and_keeps_leading(leases: Leases, clock: FakeClock) -> None:
    async with two_replicas(leases, clock) as (first, second):
        for _ in range(60):
            await clock.advance(1)
            assert first.may_write()
            assert not second.may_write()
        assert leases.holder == "first"
        assert leases.lease["spec"]["leaseTransitions"] == 0


async def test_a_dead_leader_is_followed_within_15_seconds(leases: Leases, clock: FakeClock) -> None:
    async with two_replicas(leases, clock) as (first, second):
        await first.kill()
        killed_at = clock.monotonic()
        while not second.may_write():
            await clock.advance(0.1)
        assert DURATION - RETRY_PERIOD <= clock.monotonic() - killed_at < 15
        assert leases.lease["spec"]["leaseTransitions"] == 1


async def test_a_clean_exit_hands_over_at_once(leases: Leases, clock: FakeClock) -> None:
    async with two_replicas(leases, clock) as (first, second):
        await first.kill()
        await first.lease.release()
        assert not first.may_write()
        await clock.advance(RETRY_PERIOD)
        assert second.may_write()


@pytest.mark.parametrize("delay", [0.0, 1.5], ids=["fast", "slow"])
async def test_a_partitioned_leader_stops_before_another_starts(leases: Leases, clock: FakeClock, delay: float) -> None:
    async with two_replicas(leases, clock) as (first, second):
        second.line.delay = delay
        first.line.cut = True
        for _ in range(400):
            await clock.advance(0.05)
            assert not (first.may_write() and second.may_write())
        assert first.error is not None
        assert second.may_write()


async def test_the_leader_gives_up_while_it_is_still_alone(leases: Leases, clock: FakeClock) -> None:
    async with two_replicas(leases, clock) as (first, second):
        first.line.cut = True
        while first.error is None:
            await clock.advance(0.1)
            assert not second.may_write()
        assert "was not renewed" in str(first.error)
        assert leases.holder == "first"


async def test_a_slow_api_server_can_be_led_from(leases: Leases, clock: FakeClock) -> None:
    async with two_replicas(leases, clock) as (first, second):
        first.line.delay = second.line.delay = 2.8
        for _ in range(120):
            await clock.advance(0.5)
            assert first.may_write()
            assert not second.may_write()


async def test_a_leader_that_slept_may_not_write(leases: Leases, clock: FakeClock) -> None:
    async with two_replicas(leases, clock) as (first, _):
        clock._time += DURATION + 1
        assert not first.may_write()


async def test_a_leader_that_slept_has_lost_a_lease_that_nobody_took(
    leases: Leases, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may have seen it run out, and act under a lease of his own."""
    sleep = clock.sleep
    monkeypatch.setattr(clock, "sleep", lambda seconds: sleep(DURATION))
    first = Replica("first", leases, clock)
    first.start()
    await settle()
    version = leases.version
    await clock.advance(DURATION)
    assert "ran out" in str(first.error)
    assert leases.version == version


REFUSED = Refused(403, "Forbidden", "leases is forbidden")
NOT_SERVED = NotFound(404, "Not Found", "404 page not found")
NO_NAMESPACE = NotFound(404, "NotFound", 'namespaces "ns" not found')


@pytest.mark.parametrize(
    ("verb", "error", "said"),
    [
        (
            "get",
            REFUSED,
            "no right to the Lease ns/op: grant get, update and create of leases there, or run one replica",
        ),
        ("create", REFUSED, "with --no-leader-election (chart: replicas: 1, leaderElection: false)"),
        ("create", NOT_SERVED, "the API server serves no Leases (coordination.k8s.io/v1)"),
        ("create", NO_NAMESPACE, "no namespace ns for the Lease ns/op: create it"),
    ],
)
async def test_who_can_never_lead_says_why(
    leases: Leases, clock: FakeClock, verb: str, error: Exception, said: str
) -> None:
    first = Replica("first", leases, clock)

    async def refuse(*_: Any) -> Any:
        raise error

    allowed = getattr(first.line, verb)
    setattr(first.line, verb, refuse)
    first.start()
    await clock.advance(RETRY_PERIOD)
    assert said in (first.lease.trouble() or "")
    assert "acts on nothing" in (first.lease.trouble() or "")
    assert not first.may_write()
    setattr(first.line, verb, allowed)
    await clock.advance(RETRY_PERIOD)
    assert first.lease.trouble() is None
    assert first.may_write()
    await first.kill()


async def test_an_outage_is_said_once_it_lasts(leases: Leases, clock: FakeClock) -> None:
    async with two_replicas(leases, clock) as (_, second):
        second.line.cut = True
        await clock.advance(20)
        assert second.lease.trouble() is None
        await clock.advance(20)
        assert "can't be taken: cut" in (second.lease.trouble() or "")
        second.line.cut = False
        await clock.advance(RETRY_PERIOD)
        assert second.lease.trouble() is None


@pytest.mark.parametrize("seconds", [2.0, RENEW_DEADLINE - RETRY_PERIOD], ids=["short", "almost too long"])
async def test_a_hiccup_is_survived(leases: Leases, clock: FakeClock, seconds: float) -> None:
    async with two_replicas(leases, clock) as (first, second):
        first.line.cut = True
        await clock.advance(seconds)
        first.line.cut = False
        await clock.advance(60)
        assert first.may_write()
        assert second.error is None
        assert leases.holder == "first"


async def test_renewals_whose_answers_are_lost_are_found_again(leases: Leases, clock: FakeClock) -> None:
    async with two_replicas(leases, clock) as (first, _):
        first.line.loses_answers = True
        await clock.advance(RETRY_PERIOD)
        first.line.loses_answers = False
        await clock.advance(30)
        assert first.may_write()
        assert leases.holder == "first"


async def test_a_claim_whose_answer_is_lost_is_found_again(leases: Leases, clock: FakeClock) -> None:
    first = Replica("first", leases, clock)
    first.line.loses_answers = True
    first.start()
    await settle()
    assert leases.holder == "first"
    assert not first.may_write()
    first.line.loses_answers = False
    await clock.advance(RETRY_PERIOD)
    assert first.may_write()
    await first.kill()


@pytest.mark.parametrize("theft", ["taken", "deleted"])
async def test_a_lease_that_went_to_somebody_else_is_lost_at_once(leases: Leases, clock: FakeClock, theft: str) -> None:
    first = Replica("first", leases, clock)
    first.start()
    await settle()
    if theft == "taken":
        leases.store({**leases.lease, "spec": {**leases.lease["spec"], "holderIdentity": "thief"}})
    else:
        leases.lease = None
    await clock.advance(RETRY_PERIOD)
    assert first.error is not None
    assert not first.may_write()


async def test_a_foreign_touch_that_leaves_the_holder_is_no_loss(leases: Leases, clock: FakeClock) -> None:
    async with two_replicas(leases, clock) as (first, _):
        leases.store({**leases.lease, "metadata": {**leases.lease["metadata"], "labels": {"x": "y"}}})
        await clock.advance(20)
        assert first.may_write()
        assert leases.lease["metadata"]["labels"] == {"x": "y"}


async def test_the_clock_on_the_wall_means_nothing(leases: Leases, clock: FakeClock) -> None:
    """A lease renewed 'in 1970' by a skewed leader is as good as any, for as long as it keeps changing."""
    second = Replica("second", leases, clock)
    spec = {"holderIdentity": "first", "leaseDurationSeconds": DURATION, "renewTime": "1970-01-01T00:00:00.000000Z"}
    leases.store({"metadata": {"namespace": "ns", "name": "op"}, "spec": spec})
    second.start()
    for _ in range(30):
        await clock.advance(1)
        leases.store(leases.lease)
    assert not second.may_write()
    await clock.advance(DURATION + RETRY_PERIOD)
    assert second.may_write()
    await second.kill()


async def test_the_former_leader_s_own_duration_counts(leases: Leases, clock: FakeClock) -> None:
    second = Replica("second", leases, clock)
    leases.store(
        {"metadata": {"namespace": "ns", "name": "op"}, "spec": {"holderIdentity": "x", "leaseDurationSeconds": 60}}
    )
    second.start()
    await clock.advance(59)
    assert not second.may_write()
    await clock.advance(3)
    assert second.may_write()
    await second.kill()


async def test_a_claim_that_is_refused_is_not_tried_in_a_rush(
    leases: Leases, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def refuse(_: Any) -> Any:
        nonlocal tries
        tries += 1
        raise NotFound(404, "NotFound", 'namespaces "ns" not found')

    replica = Replica("first", leases, clock)
    monkeypatch.setattr(replica.line, "create", refuse)
    replica.start()
    await clock.advance(10 * RETRY_PERIOD)
    await replica.kill()
    assert tries == 11


async def test_releasing_what_was_never_held_writes_nothing(leases: Leases, clock: FakeClock) -> None:
    await Replica("first", leases, clock).lease.release()
    assert leases.lease is None


HELD = {"holderIdentity": "first", "leaseDurationSeconds": DURATION}
ODD = [
    pytest.param({"spec": None}, id="no spec"),
    pytest.param({}, id="not even a spec"),
    pytest.param({"spec": []}, id="a list"),
    pytest.param({"spec": {}}, id="an empty one"),
    pytest.param({"spec": {"holderIdentity": None, "leaseTransitions": None}}, id="nulls"),
    pytest.param({"spec": {"holderIdentity": 7}}, id="a holder that is a number"),
    pytest.param({"spec": {"holderIdentity": "", "acquireTime": "yesterday", "leaseTransitions": -3}}, id="nonsense"),
    pytest.param({"spec": {**HELD, "leaseDurationSeconds": 0}}, id="no duration"),
    pytest.param({"spec": {**HELD, "leaseDurationSeconds": -5}}, id="a negative duration"),
    pytest.param({"spec": {**HELD, "leaseDurationSeconds": "soon"}}, id="a duration in words"),
    pytest.param({"spec": {**HELD, "leaseDurationSeconds": 2**31 - 1}}, id="a duration of 68 years"),
    pytest.param({"spec": {**HELD, "leaseTransitions": 2**31 - 1}}, id="all transitions used up"),
    pytest.param({"spec": {**HELD, "leaseTransitions": "many", "renewTime": 5}}, id="wrong types"),
    pytest.param({"metadata": {"annotations": {"x": "y" * 200_000}}, "spec": HELD}, id="a giant annotation"),
]


@pytest.mark.parametrize("content", ODD)
async def test_whatever_the_lease_says_it_is_taken_in_the_end(leases: Leases, clock: FakeClock, content: Any) -> None:
    leases.store({**content, "metadata": {"namespace": "ns", "name": "op", **content.get("metadata", {})}})
    first = Replica("second", leases, clock)
    first.start()
    await clock.advance(301 + RETRY_PERIOD)
    assert first.may_write()
    spec = leases.lease["spec"]
    assert spec["holderIdentity"] == "second"
    assert isinstance(spec["leaseTransitions"], int)
    assert 0 <= spec["leaseTransitions"] < 2**31
    assert spec["acquireTime"].startswith("2026-01-01T")
    await first.kill()


@pytest.mark.parametrize("content", ODD)
async def test_a_leader_survives_whatever_is_written_into_its_lease(
    leases: Leases, clock: FakeClock, content: Any
) -> None:
    """It has lost it, or it hasn't: it never ends of something else."""
    first = Replica("first", leases, clock)
    first.start()
    await settle()
    assert first.may_write()
    leases.store({**leases.lease, **content, "metadata": {**leases.lease["metadata"], **content.get("metadata", {})}})
    await clock.advance(RETRY_PERIOD)
    held = leases.holder == "first"
    assert first.may_write() == held
    assert held or "is held by" in str(first.error)
    await first.kill()


async def test_an_answer_that_is_no_lease_ends_nobody(leases: Leases, clock: FakeClock) -> None:
    first = Replica("first", leases, clock)

    async def nonsense(*_: Any) -> Any:
        return ["not", "a", "lease"]

    answer, first.line.get = first.line.get, nonsense  # type: ignore[method-assign]
    first.start()
    await clock.advance(10)
    assert not first.may_write()
    first.line.get = answer  # type: ignore[method-assign]
    await clock.advance(RETRY_PERIOD)
    assert first.may_write()
    await first.kill()
