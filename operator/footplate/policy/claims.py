"""Who holds accelerators of a quota, who waits for some, and in which order: plain values, indexed so that one job's
change costs one job's work.

The order never changes by time alone: a job comes `AGEING_SECONDS` earlier for each class of priority that is below its
own, and keeps its place for as long as its run is in the line, whatever it holds meanwhile. So everybody is first one
day, and two jobs never overtake each other in turns.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

from footplate.objects import Key

Amount = Mapping[str, int]
"""Accelerators by resource name."""

AGEING_SECONDS = 6 * 3600.0
"""By so much earlier a job counts as come for each class of priority below its own."""

FIRST_SAVE = 3
"""A loan lasts so many times as long, at most, where the job hasn't saved a checkpoint in it yet."""

Turn = tuple[float, Key]


@dataclass(frozen=True)
class Claim:
    """What one job holds and wants, in nodes; times are seconds since 1970."""

    key: Key
    each: tuple[tuple[str, int], ...]
    """Accelerators of each node, by resource name; none is 0."""
    wants: int
    """Nodes that it would like to have, at least `holds`: where they are more, it waits for the difference."""
    least: int
    """Fewest nodes that it can start with: `wants` but for an elastic gang."""
    since: float
    """Since when it is in the line, whatever it has held meanwhile."""
    rank: int = 0
    """Classes of priority below its own."""
    holds: int = 0
    changed: float = 0.0
    """When it was given what it holds; or, where it holds nothing, since when it waits this time."""
    saves: bool = True
    """Whether it saves checkpoints at all."""
    saved: bool = False
    """Whether it has saved one since then."""
    is_left: bool = False
    """Whether these are pods that a job has left behind: nobody can ask them for anything."""
    leaves: int | None = None
    """Nodes that it will hold once its gang has stopped; None where nobody has asked it to give any back."""

    @property
    def namespace(self) -> str:
        """Whose quota it counts against."""
        return self.key[0]

    @cached_property
    def turn(self) -> Turn:
        """Its place in the line: whoever has the smaller one goes first."""
        return self.since - AGEING_SECONDS * self.rank, self.key

    @cached_property
    def names(self) -> frozenset[str]:
        """Of the resources that it asks for."""
        return frozenset(name for name, _ in self.each)

    @property
    def waits(self) -> bool:
        """Whether it wants more than it holds; who is giving back isn't asked."""
        return self.holds < self.wants and self.leaves is None

    @cached_property
    def shape(self) -> tuple[str, tuple[tuple[str, int], ...], int]:
        """What has the same shape fits, or doesn't, as well."""
        return self.namespace, self.each, self.goal

    @property
    def goal(self) -> int:
        """Fewest nodes that are any use to it, where it waits."""
        return max(self.least, self.holds + 1)

    def amount(self, nodes: int) -> dict[str, int]:
        """Accelerators of so many nodes."""
        return {name: nodes * count for name, count in self.each}

    @property
    def gives_before(self) -> tuple[bool, Turn]:
        """Of several whoever has the greater one gives back first: the last in the line, but who saves no checkpoints,
        and so loses all that it has done, only after all others.
        """
        return self.saves, self.turn

    def has_overtaken(self, other: "Claim") -> bool:
        """True where it was given what the other waited for already, though that one is before it in the line."""
        return self.changed > other.changed and self.turn > other.turn

    def lent_until(self, seconds: float) -> float:
        """When it can be asked to give back, where a loan lasts so many seconds."""
        return self.changed + seconds * (FIRST_SAVE if self.saves and not self.saved else 1)


@dataclass(frozen=True)
class Quota:
    """What one namespace is entitled to."""

    own: Amount
    """Always its own, once borrowers have given back. A resource that isn't named isn't limited."""
    most: Mapping[str, int | None]
    """What it may hold with what it borrows, of the same resources; None where the pool alone is the limit."""
    loan_seconds: float = 600.0
    """How long at least it may keep what it has borrowed."""

    def allows(self, claim: Claim, pool: Amount) -> bool:
        """False for a job that can't ever fit, however long it waits."""
        return not self.excess(claim, pool)

    def excess(self, claim: Claim, pool: Amount) -> dict[str, int]:
        """The most that the namespace can ever hold of each resource of which the job asks for more."""
        limits = {name: self.limit(name, pool) for name, _ in claim.each if name in self.own}
        least = claim.amount(max(claim.least, 1))
        return {name: limit for name, limit in limits.items() if least[name] > limit}

    def limit(self, name: str, pool: Amount) -> int:
        """The most that the namespace can ever hold of a resource."""
        most = self.most.get(name)
        everything = max(pool.get(name, 0), self.own[name])
        return everything if most is None else min(most, everything)


class Book:
    """All claims, and what their sums are. The pool is the sum of all quotas."""

    def __init__(self) -> None:
        self.quotas: Mapping[str, Quota] = {}
        self.pool: dict[str, int] = {}
        self.total: defaultdict[str, int] = defaultdict(int)
        self.claims: dict[Key, Claim] = {}
        self.holders: defaultdict[str, dict[Key, Claim]] = defaultdict(dict)
        self.used: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.left: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        """What of it are pods that jobs have left behind: it keeps no other namespace from what is its own."""
        self.leaving: dict[Key, Claim] = {}
        self.lines: dict[str, list[Turn]] = {}
        """Those who hold nothing, and wait for what they can get, by namespace."""
        self.line: list[Turn] = []
        """The same of all namespaces."""
        self.growing: dict[Key, Claim] = {}
        """Elastic gangs that hold something, and would have more."""

    @classmethod
    def of(cls, claims: Iterable[Claim], quotas: Mapping[str, Quota]) -> "Book":
        """The book of these."""
        book = cls()
        book.set_quotas(quotas)
        for claim in claims:
            book.put(claim)
        return book

    def set_quotas(self, quotas: Mapping[str, Quota]) -> None:
        """Other quotas: everything is added up anew."""
        claims = [*self.claims.values()]
        for claim in claims:
            self.drop(claim.key)
        self.quotas = quotas
        self.pool = {}
        for quota in quotas.values():
            for name, count in quota.own.items():
                self.pool[name] = self.pool.get(name, 0) + count
        for claim in claims:
            self.put(claim)

    def put(self, claim: Claim) -> None:
        """A job's claim, instead of the one that it had."""
        self.drop(claim.key)
        self.claims[claim.key] = claim
        if claim.holds:
            self.holders[claim.namespace][claim.key] = claim
            self._add(claim, 1)
        if claim.leaves is not None:
            self.leaving[claim.key] = claim
        quota = self.quotas.get(claim.namespace)
        if not claim.waits or quota is None or not quota.allows(claim, self.pool):
            return
        if claim.holds:
            self.growing[claim.key] = claim
        else:
            insort(self.lines.setdefault(claim.namespace, []), claim.turn)
            insort(self.line, claim.turn)

    def drop(self, key: Key) -> None:
        """The job has no part in it any more."""
        claim = self.claims.pop(key, None)
        if claim is None:
            return
        if self.holders[claim.namespace].pop(key, None) is not None:
            self._add(claim, -1)
        self.leaving.pop(key, None)
        self.growing.pop(key, None)
        line = self.lines.get(claim.namespace, [])
        if _remove(line, claim.turn):
            _remove(self.line, claim.turn)
        if not line:
            self.lines.pop(claim.namespace, None)

    def on_loan(self, namespace: str) -> list[Claim]:
        """The gangs that don't fit into the namespace's quota beside those before them in the line: these it owes."""
        quota = self.quotas.get(namespace)
        left = {} if quota is None else {**quota.own}
        used = self.used[namespace]
        if all(used[name] <= own for name, own in left.items()):
            return []
        owed = []
        for claim in sorted(self.holders[namespace].values(), key=attrgetter("is_left", "turn")):
            need = {name: n for name, n in claim.amount(claim.holds).items() if name in left}
            if any(n > left[name] for name, n in need.items()):
                owed.append(claim)
            else:
                left |= {name: left[name] - n for name, n in need.items()}
        return owed

    def _add(self, claim: Claim, sign: int) -> None:
        quota = self.quotas.get(claim.namespace)
        for name, count in claim.each:
            self.used[claim.namespace][name] += sign * count * claim.holds
            if claim.is_left:
                self.left[claim.namespace][name] += sign * count * claim.holds
            elif quota is not None and name in quota.own:
                self.total[name] += sign * count * claim.holds


def _remove(line: list[Turn], turn: Turn) -> bool:
    place = bisect_left(line, turn)
    if place == len(line) or line[place] != turn:
        return False
    del line[place]
    return True
