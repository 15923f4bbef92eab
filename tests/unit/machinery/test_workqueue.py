import asyncio
import itertools

import pytest

from footplate.machinery.metrics import Metrics
from footplate.machinery.workqueue import WorkQueue
from footplate.objects import Key
from unit.machinery.support import FakeClock, settle

A, B, C = ("ns", "a"), ("ns", "b"), ("ns", "c")


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue:
    return WorkQueue(workers=24, clock=clock, metrics=Metrics())


async def test_a_waiting_key_is_there_once(queue: WorkQueue) -> None:
    for key in (A, B, A, A):
        queue.add(key)
    assert len(queue) == 2
    assert [await queue.get(), await queue.get()] == [A, B]


async def test_a_key_added_while_processed_comes_again_but_only_when_done(queue: WorkQueue) -> None:
    queue.add(A)
    assert await queue.get() == A
    queue.add(A)
    queue.add(A)
    assert len(queue) == 0
    queue.done(A)
    assert len(queue) == 1
    assert await queue.get() == A
    queue.done(A)
    assert len(queue) == 0


async def test_no_key_is_ever_in_two_hands(queue: WorkQueue) -> None:
    held: set[Key] = set()
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        while True:
            key = await queue.get()
            assert key not in held
            held.add(key)
            await asyncio.sleep(0)
            queue.add(key) if rounds < 200 else None
            await asyncio.sleep(0)
            rounds += 1
            held.remove(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(8)]
    for key in (A, B, C):
        queue.add(key)
    while rounds < 200:
        await asyncio.sleep(0)
        assert not [worker for worker in workers if worker.done()]
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def test_a_waiting_worker_gets_what_comes(queue: WorkQueue) -> None:
    got = asyncio.create_task(queue.get())
    await settle()
    assert not got.done()
    queue.add(A)
    assert await got == A


@pytest.mark.parametrize(
    ("delays", "due"),
    [
        pytest.param([5], 5, id="one"),
        pytest.param([5, 9], 5, id="a later wish changes nothing"),
        pytest.param([9, 5], 5, id="an earlier wish counts"),
        pytest.param([9, 0], 0, id="now"),
    ],
)
async def test_the_earliest_wish_counts(queue: WorkQueue, clock: FakeClock, delays: list[float], due: float) -> None:
    for delay in delays:
        queue.add_after(A, delay)
    if due:
        await clock.advance(due - 0.1)
        assert len(queue) == 0
    await clock.advance(0.1)
    assert len(queue) == 1


async def test_failures_wait_twice_as_long_each_time_until_forgotten(queue: WorkQueue, clock: FakeClock) -> None:
    pauses = [await _pause_after_failure(queue, clock) for _ in range(12)]
    assert 0.02 <= pauses[0] <= 0.06
    assert all(later > 0.9 * earlier for earlier, later in itertools.pairwise(pauses[:10]))
    assert 15 <= pauses[-1] <= 30.1
    queue.forget(A)
    assert await _pause_after_failure(queue, clock) <= 0.06


async def test_a_server_that_asks_for_more_time_gets_it(queue: WorkQueue, clock: FakeClock) -> None:
    queue.add_rate_limited(A, at_least=7.0)
    await clock.advance(6.9)
    assert len(queue) == 0
    await clock.advance(0.2)
    assert len(queue) == 1


async def _pause_after_failure(queue: WorkQueue, clock: FakeClock) -> float:
    started = clock.monotonic()
    queue.add_rate_limited(A)
    while not len(queue):
        await clock.advance(0.01)
    queue.done(await queue.get())
    return clock.monotonic() - started


async def test_namespaces_take_turns(queue: WorkQueue) -> None:
    for number in range(50):
        queue.add(("greedy", str(number)))
    queue.add(A)
    queue.add(("third", "x"))
    assert [(await queue.get())[0] for _ in range(4)] == ["greedy", "ns", "third", "greedy"]


async def test_no_namespace_has_more_than_its_share_of_the_workers(queue: WorkQueue) -> None:
    for number in range(50):
        queue.add(("slow", str(number)))
    workers = [asyncio.create_task(queue.get()) for _ in range(24)]
    await settle()
    held = [worker.result() for worker in workers if worker.done()]
    assert len(held) == 8
    queue.add(A)
    await settle()
    assert A in [worker.result() for worker in workers if worker.done()]
    queue.done(held[0])
    await settle()
    assert sum(worker.done() for worker in workers) == 10
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def test_a_worker_that_is_cancelled_takes_no_key_along(queue: WorkQueue) -> None:
    worker = asyncio.create_task(queue.get())
    await settle()
    queue.add(A)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    assert await asyncio.wait_for(queue.get(), 1) == A
