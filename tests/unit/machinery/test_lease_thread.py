"""A lease is renewed beside whatever else the process does."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from footplate.errors import ConfigurationError, LeaseLost
from footplate.machinery.clock import SystemClock
from footplate.machinery.lease import Lease
from footplate.machinery.lease_thread import LeaseThread
from unit.machinery.support import eventually
from unit.machinery.test_lease import Leases, Line


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the real times: a lease that isn't renewed is another's after two seconds."""
    for name, seconds in [("DURATION", 2), ("RENEW_DEADLINE", 1.4), ("RETRY_PERIOD", 0.2), ("_MARGIN", 0.2)]:
        monkeypatch.setattr(f"footplate.machinery.lease.{name}", seconds)


def thread_of(leases: Leases, name: str) -> LeaseThread:
    @asynccontextmanager
    async def open_lease() -> AsyncIterator[Lease]:
        clock: Any = SystemClock()
        yield Lease(Line(leases, clock), namespace="ns", name="op", identity=name, clock=clock)  # type: ignore[arg-type]

    return LeaseThread(open_lease)


@asynccontextmanager
async def leading(leases: Leases) -> AsyncIterator[LeaseThread]:
    lease = thread_of(leases, "first")
    await lease.acquire()
    try:
        yield lease
    finally:
        await lease.close()


async def test_it_is_renewed_while_the_event_loop_stands_still(leases: Leases) -> None:
    """A list of 25 s, a look at 10,000 pods, the garbage collector: here, a loop that doesn't turn at all."""
    async with leading(leases) as lease:
        before = leases.version
        end = time.monotonic() + 5.0
        while time.monotonic() < end:
            sum(range(10_000))
        assert lease.remaining() > 0
        assert leases.holder == "first"
        assert leases.version > before + 5


async def test_nobody_else_leads_meanwhile(leases: Leases) -> None:
    other = thread_of(leases, "second")
    async with leading(leases):
        waiting = asyncio.create_task(other.acquire())
        await asyncio.sleep(0.3)
        time.sleep(5)  # noqa: ASYNC251
        await asyncio.sleep(0.3)
        assert not waiting.done()
        assert leases.lease["spec"]["leaseTransitions"] == 0
    await waiting
    assert leases.holder == "second"
    await other.close()


async def test_a_lost_lease_is_known_at_once_and_said(leases: Leases) -> None:
    async with leading(leases) as lease:
        holding = asyncio.create_task(lease.hold())
        leases.store({**leases.lease, "spec": {**leases.lease["spec"], "holderIdentity": "thief"}})
        end = time.monotonic() + 10
        while lease.remaining() > 0 and time.monotonic() < end:
            time.sleep(0.01)  # noqa: ASYNC251 the loop of those who write stands still, and yet they know
        assert lease.remaining() <= 0
        with pytest.raises(LeaseLost, match="thief"):
            await holding
    assert leases.holder == "thief"


async def test_a_clean_end_gives_it_back(leases: Leases) -> None:
    async with leading(leases) as lease:
        assert leases.holder == "first"
    assert leases.holder == ""
    assert lease.remaining() <= 0


async def test_it_may_be_closed_while_it_waits_or_before_it_began(leases: Leases) -> None:
    await thread_of(leases, "never").close()
    async with leading(leases):
        other = thread_of(leases, "second")
        waiting = asyncio.create_task(other.acquire())
        await eventually(lambda: other._thread.is_alive())
        waiting.cancel()
        await asyncio.wait_for(other.close(), 5)
        assert leases.holder == "first"


async def test_a_thread_that_cannot_begin_says_why() -> None:
    @asynccontextmanager
    async def open_lease() -> AsyncIterator[Lease]:
        raise ConfigurationError("no kubeconfig")
        yield  # type: ignore[unreachable]

    lease = LeaseThread(open_lease)
    with pytest.raises(ConfigurationError, match="no kubeconfig"):
        await lease.acquire()
    assert lease.remaining() <= 0
    await lease.close()
