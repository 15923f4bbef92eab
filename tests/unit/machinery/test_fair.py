"""Fair shares: whatever many namespaces want, each gets its own, and nothing lies idle that somebody may have."""

import asyncio
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footplate.machinery.fair import FIRST, FairQueue, FairSlots, Shares
from unit.machinery.support import settle

NAMESPACES = st.sampled_from(["a", "b", "c", "d", "e"])


@pytest.mark.parametrize(
    ("greedy", "each", "left"),
    [(1, 50, 100), (2, 37, 76), (10, 12, 30), (50, 3, 0), (75, 2, 0), (100, 1, 50)],
)
def test_greedy_namespaces_get_the_same_and_leave_some(greedy: int, each: int, left: int) -> None:
    shares = Shares(150)
    names = [f"n{number}" for number in range(greedy)]
    while wanting := [name for name in names if shares.admits(name)]:
        shares.take(min(wanting, key=shares.held))
    held = [shares.held(name) for name in names]
    assert max(held) - min(held) <= 1
    assert (max(held), shares.free) == (each, left) or (each - 1 <= min(held) and shares.free <= left + greedy)


@given(st.integers(1, 60), st.lists(st.tuples(NAMESPACES, st.booleans()), max_size=200))
def test_a_namespace_holds_half_of_what_is_free_at_most_when_it_takes_one_more(
    total: int, steps: list[tuple[str, bool]]
) -> None:
    shares = Shares(total)
    for namespace, takes in steps:
        if takes and shares.admits(namespace):
            shares.take(namespace)
            assert 2 * (shares.held(namespace) - 1) < shares.free + 1
        elif not takes and shares.held(namespace):
            shares.give_back(namespace)
        assert 0 <= shares.free <= total
    assert shares.admits("new") == (shares.free > 0), "whoever holds none gets one, as long as there is one"


@given(
    st.integers(3, 30),
    st.lists(st.tuples(NAMESPACES, st.integers(0, 5), st.booleans()), min_size=1, max_size=120),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_slots_are_neither_lost_nor_idle(total: int, demand: list[tuple[str, int, bool]], rng: random.Random) -> None:
    asyncio.run(play_slots(total, demand, rng))


async def play_slots(total: int, demand: list[tuple[str, int, bool]], rng: random.Random) -> None:
    """Requests come, are cancelled, and end in any order; after each step nobody waits who may go on."""
    slots = FairSlots(total)
    waiting: list[tuple[str, int, asyncio.Task[None]]] = []
    held: list[str] = []
    for namespace, turn, is_cancelled in demand:
        waiting.append((namespace, turn, asyncio.create_task(slots.acquire(namespace, turn=turn))))
        await asyncio.sleep(0)
        if is_cancelled:
            waiting[rng.randrange(len(waiting))][2].cancel()
        await settle()
        waiting = collect(waiting, held)
        check_nobody_waits_in_vain(total, waiting, held)
        if held and rng.random() < 0.4:
            slots.release(held.pop(rng.randrange(len(held))))
            await settle()
            waiting = collect(waiting, held)
            check_nobody_waits_in_vain(total, waiting, held)
    while held:
        slots.release(held.pop())
        await settle()
        waiting = collect(waiting, held)
    assert waiting == []


def collect(waiting: list[tuple[str, int, Any]], held: list[str]) -> list[tuple[str, int, Any]]:
    held += [namespace for namespace, _, task in waiting if task.done() and not task.cancelled()]
    return [each for each in waiting if not each[2].done()]


def check_nobody_waits_in_vain(total: int, waiting: list[tuple[str, int, Any]], held: list[str]) -> None:
    counts, free = Counter(held), total - len(held)
    assert free >= 0
    for namespace, turn, _ in waiting:
        assert counts[namespace] >= (free if turn == FIRST else free / 2), (namespace, turn, counts, free)


async def test_the_next_slot_goes_to_who_holds_the_fewest() -> None:
    slots, order = FairSlots(6), []

    async def ask(namespace: str, turn: int = 1) -> None:
        await slots.acquire(namespace, turn=turn)
        order.append(namespace)

    tasks = [asyncio.create_task(ask(namespace)) for namespace in ("a", "a", "b", "c", "d", "e", "f")]
    await settle()
    assert order == ["a", "a", "b", "c", "d", "e"]
    tasks += [asyncio.create_task(ask("a")), asyncio.create_task(ask("g"))]
    await settle()
    slots.release("b")
    await settle()
    assert order[6:] == ["f"]
    slots.release("c")
    await settle()
    assert order[6:] == ["f", "g"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_nobody_waits_longer_than_its_share_implies() -> None:
    """Forty namespaces whose requests take ten seconds want all they can get; another one's take no time."""
    rng, slots = random.Random(7), FairSlots(150)
    time, ends, waits = 0.0, [], []
    greedy = [f"slow-{number}" for number in range(40)]
    backlog = [asyncio.create_task(slots.acquire(name, turn=turn)) for turn in range(1, 30) for name in greedy]
    owner = dict(zip(backlog, [name for _ in range(1, 30) for name in greedy], strict=True))
    under_way: set[Any] = set()
    for _ in range(200):
        await settle()
        for task in [task for task in backlog if task.done() and task not in under_way]:
            under_way.add(task)
            ends.append((time + 10 * rng.uniform(0.9, 1.1), task))
        quick = asyncio.create_task(slots.acquire("quick"))
        asked = time
        await settle()
        while not quick.done():
            ends.sort(key=lambda each: each[0])
            time, task = ends.pop(0)
            slots.release(owner[task])
            await settle()
        slots.release("quick")
        waits.append(time - asked)
        time += 0.1
    for task in backlog:
        task.cancel()
    await asyncio.gather(*backlog, return_exceptions=True)
    assert max(waits) < 1.0


async def test_items_come_one_namespace_after_the_other() -> None:
    queue: FairQueue[int] = FairQueue(30)
    for number in range(20):
        queue.put("greedy", number)
    queue.put("small", 100)
    assert [await queue.get() for _ in range(3)] == [("greedy", 0), ("small", 100), ("greedy", 1)]
    assert len(queue) == 18


@given(st.integers(1, 12), st.lists(NAMESPACES, max_size=80), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_every_item_is_handed_out_once(holders: int, items: list[str], rng: random.Random) -> None:
    asyncio.run(play_queue(holders, items, rng))


async def play_queue(holders: int, items: list[str], rng: random.Random) -> None:
    queue: FairQueue[int] = FairQueue(holders)
    getters = [asyncio.create_task(queue.get()) for _ in range(holders)]
    got: list[tuple[str, int]] = []
    held: list[str] = []

    async def take() -> None:
        await settle()
        for getter in [each for each in getters if each.done()]:
            got.append(getter.result())
            held.append(getter.result()[0])
            getters.remove(getter)
        assert all(3 * (count - 1) < holders for count in Counter(held).values()), "no more than a namespace alone gets"

    async def give_back() -> None:
        queue.done(held.pop(rng.randrange(len(held))))
        getters.append(asyncio.create_task(queue.get()))
        await take()

    for number, namespace in enumerate(items):
        queue.put(namespace, number)
        await take()
        if held and rng.random() < 0.3:
            await give_back()
        if getters and rng.random() < 0.2:
            getter = getters.pop(rng.randrange(len(getters)))
            getter.cancel()
            await asyncio.gather(getter, return_exceptions=True)
            getters.append(asyncio.create_task(queue.get()))
            await take()
    while held:
        await give_back()
    assert sorted(number for _, number in got) == [*range(len(items))]
    for namespace in set(items):
        mine = [number for name, number in got if name == namespace]
        assert mine == sorted(mine), "in the order in which they came"
    for getter in getters:
        getter.cancel()
    await asyncio.gather(*getters, return_exceptions=True)
