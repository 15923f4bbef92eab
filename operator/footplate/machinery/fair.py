"""Fair shares by namespace: of requests under way, of workers, of writers of events, of bytes.

One rule for all of them (Choudhury and Hahne's dynamic thresholds): a namespace may hold half as many as are free.
Alone it gets a third of all; of many greedy ones each gets the same, and some are left for whoever holds few. It needs
no list of namespaces, no reservation and no clock.
"""

import asyncio
import heapq
import itertools
from collections import Counter, deque
from typing import Generic, TypeVar

T = TypeVar("T")

FIRST = 0
"""The turn of what is urgent: it may double its namespace's share, for as long as anything is free."""


class Shares:
    """Who holds how many of a total. The empty namespace is the operator's own."""

    def __init__(self, total: int) -> None:
        self.free = total
        self._held: Counter[str] = Counter()

    def held(self, namespace: str) -> int:
        """What the namespace holds."""
        return self._held[namespace]

    def admits(self, namespace: str, *, amount: int = 1, urgent: bool = False) -> bool:
        """Whether the namespace may take so many more now."""
        after = self._held[namespace] + amount - 1
        return after < self.free if urgent else 2 * after < self.free

    def take(self, namespace: str, amount: int = 1) -> None:
        """The namespace holds so many more."""
        self._held[namespace] += amount
        self.free -= amount

    def give_back(self, namespace: str, amount: int = 1) -> None:
        """The namespace holds so many less; one that holds nothing is forgotten."""
        self._held[namespace] -= amount
        self.free += amount
        if not self._held[namespace]:
            del self._held[namespace]


class FairSlots:
    """A semaphore whose next free slot goes to the waiting namespace that holds the fewest."""

    def __init__(self, total: int) -> None:
        self._shares = Shares(total)
        self._order = itertools.count()
        self._waiting: dict[str, list[tuple[int, int, asyncio.Future[None]]]] = {}

    async def acquire(self, namespace: str, *, turn: int = FIRST) -> None:
        """Waits for a slot; `release` must follow. Of a namespace's waiting requests the one of the lowest turn is
        next.
        """
        if self._shares.admits(namespace, urgent=turn == FIRST):
            self._shares.take(namespace)
            return
        granted = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting.setdefault(namespace, []), (turn, next(self._order), granted))
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.release(namespace)
            raise

    def release(self, namespace: str) -> None:
        """Gives a slot back."""
        self._shares.give_back(namespace)
        while (fewest := self._next()) is not None:
            self._grant(fewest)

    def _next(self) -> str | None:
        admitted = [
            namespace
            for namespace, waiting in self._waiting.items()
            if self._shares.admits(namespace, urgent=waiting[0][0] == FIRST)
        ]
        return min(admitted, key=self._shares.held, default=None)

    def _grant(self, namespace: str) -> None:
        waiting = self._waiting.pop(namespace)
        _, _, granted = heapq.heappop(waiting)
        if waiting:
            self._waiting[namespace] = waiting  # behind the others that hold as few
        if not granted.done():
            self._shares.take(namespace)
            granted.set_result(None)


class FairQueue(Generic[T]):
    """Items that are handed out one namespace after the other, to holders of which a namespace has its share."""

    def __init__(self, holders: int) -> None:
        self._shares = Shares(holders)
        self._items: dict[str, deque[T]] = {}
        self._count = 0
        self._getters: deque[asyncio.Future[tuple[str, T]]] = deque()

    def __len__(self) -> int:
        return self._count

    def waiting(self, namespace: str) -> list[T]:
        """A namespace's items that nobody has got yet, in their order."""
        return list(self._items.get(namespace, ()))

    def put(self, namespace: str, item: T) -> None:
        """Another item, behind those of its namespace."""
        self._items.setdefault(namespace, deque()).append(item)
        self._count += 1
        self._hand_out()

    def remove(self, namespace: str, item: T) -> None:
        """Takes back an item that nobody has got yet."""
        self._items[namespace].remove(item)
        self._count -= 1
        if not self._items[namespace]:
            del self._items[namespace]

    async def get(self) -> tuple[str, T]:
        """The next item and its namespace; `done` must follow."""
        found = self._next()
        if found is not None:
            return found
        getter: asyncio.Future[tuple[str, T]] = asyncio.get_running_loop().create_future()
        self._getters.append(getter)
        try:
            return await getter
        except asyncio.CancelledError:
            if getter.done() and not getter.cancelled():
                namespace, item = getter.result()
                self._items.setdefault(namespace, deque()).appendleft(item)
                self._count += 1
                self.done(namespace)
            raise

    def done(self, namespace: str) -> None:
        """The holder of one of this namespace's items has finished with it."""
        self._shares.give_back(namespace)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._getters:
            if self._getters[0].done():
                self._getters.popleft()
            elif (found := self._next()) is not None:
                self._getters.popleft().set_result(found)
            else:
                return

    def _next(self) -> tuple[str, T] | None:
        namespace = next(filter(self._shares.admits, self._items), None)
        if namespace is None:
            return None
        items = self._items.pop(namespace)
        item = items.popleft()
        self._count -= 1
        if items:
            self._items[namespace] = items  # behind the other namespaces
        self._shares.take(namespace)
        return namespace, item
