"""Who may start, and who gives back: the rules of the line, in one pass over what `claims` holds.

1. A namespace may always have its quota: whoever fits into it starts, and what is missing for that is taken back from
   namespaces that hold more than theirs.
2. What nobody claims by right is lent, in the order of the line. Whoever is behind the first of its namespace starts on
   loan too, be it within the quota.
3. Who is before others in the line and waits takes back what these were given since, once that is enough to start.
4. Only loans are taken back, and only when they have lasted for a while: whole gangs, or of an elastic one as many
   nodes as are missing. The last in the line gives back first, but who saves no checkpoints last of all.
5. What is being taken back for somebody is reserved: nobody else starts with it.

Pure, and the same for the same book and time: nothing in it depends on the order in which things came to be known.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from footplate.objects import Key
from footplate.policy.claims import Book, Claim, Quota, Turn
from footplate.policy.shortage import ANY, Shortage, cover, or_any, what_it_keeps


@dataclass(frozen=True, slots=True)
class Give:
    """A gang that is asked to give back."""

    nodes: int
    """What it keeps; 0 stops it."""
    to: Key
    """Whose turn it is."""


@dataclass(slots=True)
class Settlement:
    """What may happen now."""

    grants: dict[Key, int] = field(default_factory=dict)
    """Nodes that jobs may have, in all."""
    gives: dict[Key, Give] = field(default_factory=dict)
    reserved: set[Key] = field(default_factory=set)
    """Jobs that wait only for others to give back."""
    look: float | None = None
    """When time alone may change it."""


def settle(book: Book, *, now: float) -> Settlement:
    """What may happen, as the book stands."""
    return _Round(book, now).play()


class _Round:
    """One pass. `held` is what everybody holds and is promised; `kept` is without what is being given back."""

    def __init__(self, book: Book, now: float) -> None:
        self._book = book
        self._now = now
        self._held: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._kept: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._done = Settlement()
        self._lent: list[Claim] | None = None
        self._reserved: set[str] = set()
        """Resources of those in `reserved`."""
        for claim in book.leaving.values():
            self._leave(claim, claim.leaves or 0)

    def play(self) -> Settlement:
        lines = self._book.lines
        for namespace in sorted(lines, key=lambda each: lines[each][0]):
            self._serve_owners(namespace)
        growing = sorted(self._book.growing.values(), key=attrgetter("turn"))
        self._grow(growing, by_right=True)
        self._lend()
        self._grow(growing, by_right=False)
        return self._done

    def _serve_owners(self, namespace: str) -> None:
        """What the namespace has a right to, as far as its line goes: who waits for one resource is in nobody's way
        who asks for another.
        """
        quota, awaited = self._book.quotas[namespace], set[str]()
        for _, key in self._book.lines[namespace]:
            claim = self._book.claims[key]
            names = claim.names & quota.own.keys()
            if not awaited.isdisjoint(names):
                continue
            if not self._grant(claim, quota, quota.own) and not self._reclaim(claim, quota, by_right=True):
                awaited |= names
                if awaited == quota.own.keys():
                    return

    def _grow(self, claims: Iterable[Claim], *, by_right: bool) -> None:
        """Who runs already comes after those who wait: of a right before loans, of loans after them. It doesn't grow by
        what somebody before it in the line waits for, who couldn't take that back: the gang began before.
        """
        waiting = [self._book.claims[key] for namespace in self._book.lines for _, key in self._firsts(namespace)]
        for claim in claims:
            quota = self._book.quotas[claim.namespace]
            names = claim.names & quota.own.keys()
            before = (each for each in waiting if each.turn < claim.turn and not names.isdisjoint(each.names))
            if any(not by_right or each.namespace == claim.namespace for each in before):
                continue
            if claim.key in self._done.gives or self._is_served(claim.key):
                continue
            if not self._grant(claim, quota, quota.own if by_right else quota.most) and by_right:
                self._reclaim(claim, quota, by_right=True)

    def _lend(self) -> None:
        """What is left. The first that it isn't enough for may take back from all whom it was given to since; the first
        of each other namespace from its own. Each resource has firsts of its own.
        """
        refused: set[Hashable] = set()
        awaited: defaultdict[str, set[str]] = defaultdict(set)
        everywhere: set[str] = set()
        for claim in self._borrowing():
            quota = self._book.quotas[claim.namespace]
            names = claim.names & quota.own.keys()
            overtakes = not names.isdisjoint(everywhere | self._reserved)
            if claim.shape in refused or (overtakes and not claim.saves) or self._grant(claim, quota, quota.most):
                continue
            refused.add(claim.shape)
            if names.isdisjoint(awaited[claim.namespace]):
                self._reclaim(claim, quota, by_right=False, everywhere=names.isdisjoint(everywhere))
                awaited[claim.namespace] |= names
                everywhere |= names

    def _borrowing(self) -> Iterator[Claim]:
        """Those who weren't served by right, in the order of the line; where nothing is free, the first of each
        namespace are all that matters.
        """
        line: Iterable[Turn] = self._book.line
        if all(self._free(name) <= 0 for name in self._book.pool):
            line = sorted(turn for namespace in self._book.lines for turn in self._firsts(namespace))
        for _, key in line:
            if not self._is_served(key):
                yield self._book.claims[key]

    def _firsts(self, namespace: str) -> Iterator[Turn]:
        """Of those who weren't served the first of each resource."""
        own, seen = self._book.quotas[namespace].own.keys(), set[str]()
        for turn in self._book.lines[namespace]:
            names = self._book.claims[turn[1]].names & own
            if not self._is_served(turn[1]) and seen.isdisjoint(names):
                yield turn
                seen |= names
                if seen == own:
                    return

    def _is_served(self, key: Key) -> bool:
        return key in self._done.grants or key in self._done.reserved

    def _grant(self, claim: Claim, quota: Quota, limits: Mapping[str, int | None]) -> bool:
        """Gives it what there is, within the limits, if that is of any use to it."""
        nodes = claim.wants
        for name, count in claim.each:
            if name in limits:
                limit, free = limits[name], self._free(name) - self._book.left[claim.namespace][name]
                room = free if limit is None else min(free, limit - self._held_by(claim.namespace, name))
                nodes = min(nodes, claim.holds + max(0, room) // count)
        if nodes < claim.goal:
            return False
        self._done.grants[claim.key] = nodes
        self._add(claim, quota, nodes - claim.holds)
        return True

    def _reclaim(self, claim: Claim, quota: Quota, *, by_right: bool, everywhere: bool = True) -> bool:
        """Reserves what it needs, where others give back enough now or soon; False where they don't."""
        mine = self._overtakers(claim)
        if not mine and self._is_stuck(claim, quota, by_right=by_right, everywhere=everywhere):
            return False
        short = self._shortage(claim, quota, quota.own if by_right else quota.most)
        if not short.is_within_own and not cover(mine, short.own):
            return False
        theirs = self._borrowers(claim, by_right=by_right) if everywhere and short.is_in_pool else []
        candidates = sorted((*mine, *theirs), key=attrgetter("gives_before"), reverse=True) if mine else theirs
        chosen = self._choose([each for each in candidates if self._lent_until(each) <= self._now], claim, short)
        if chosen is None:
            chosen = {}
            later = self._choose(candidates, claim, short)
            if later is not None:
                self._look_at(max(self._lent_until(self._book.claims[key]) for key in later))
            elif not (by_right and short.is_within_own):  # a right stands, though what is owed isn't there
                return False
        for key, nodes in chosen.items():
            self._leave(self._book.claims[key], nodes)
            self._done.gives[key] = Give(nodes, claim.key)
        self._done.reserved.add(claim.key)
        self._reserved |= claim.names & quota.own.keys()
        self._add(claim, quota, claim.goal - claim.holds)
        return True

    def _is_stuck(self, claim: Claim, quota: Quota, *, by_right: bool, everywhere: bool) -> bool:
        """True where plainly nobody can make room for it: that is so for most of those who wait."""
        if not by_right:
            return not everywhere and not self._book.leaving and not self._done.gives
        need = claim.amount(claim.goal - claim.holds)
        return any(self._kept_by(claim.namespace, name) + n > quota.own.get(name, ANY) for name, n in need.items())

    def _shortage(self, claim: Claim, quota: Quota, limits: Mapping[str, int | None]) -> Shortage:
        need = {name: n for name, n in claim.amount(claim.goal - claim.holds).items() if name in quota.own}
        return Shortage(
            own={name: self._kept_by(claim.namespace, name) + n - or_any(limits[name]) for name, n in need.items()},
            pool={name: n - self._book.pool[name] + self._kept_in_all(name) for name, n in need.items()},
        )

    def _overtakers(self, claim: Claim) -> list[Claim]:
        """Those of its own namespace."""
        holders = self._book.holders[claim.namespace].values()
        return [each for each in holders if each.has_overtaken(claim) and self._can_give(each)]

    def _borrowers(self, claim: Claim, *, by_right: bool) -> list[Claim]:
        """What other namespaces owe, the last in the line first; who only borrows may ask those alone that have
        overtaken it.
        """
        if self._lent is None:
            owed = (each for namespace in self._book.holders for each in self._book.on_loan(namespace))
            self._lent = sorted(owed, key=attrgetter("gives_before"), reverse=True)
        others = (each for each in self._lent if each.namespace != claim.namespace and self._can_give(each))
        return [each for each in others if by_right or each.has_overtaken(claim)]

    def _can_give(self, claim: Claim) -> bool:
        """Once a round: who is given something, or gives, isn't asked for more."""
        return (
            not claim.is_left
            and claim.leaves is None
            and claim.key not in self._done.gives
            and claim.key not in self._done.grants
        )

    def _choose(self, candidates: Iterable[Claim], claim: Claim, short: Shortage) -> dict[Key, int] | None:
        """Nodes that each of some of them keeps, so that nothing is short any more; None where all aren't enough."""
        chosen: dict[Key, int] = {}
        over: dict[tuple[str, str], int] = {}
        left = short.copy()
        for each in candidates:
            if left.is_over:
                break
            mine = each.namespace == claim.namespace
            wanted = {name: left.of(name, mine=mine) for name, _ in each.each}
            if not mine:
                wanted = {name: min(n, self._excess(each.namespace, name, over)) for name, n in wanted.items()}
            if not any(n > 0 for n in wanted.values()):
                continue
            nodes = what_it_keeps(each, wanted)
            chosen[each.key] = nodes
            for name, count in each.amount(each.holds - nodes).items():
                left.give(name, count, mine=mine)
                over[each.namespace, name] = over.get((each.namespace, name), 0) + count
        return self._spare(chosen, claim, left) if left.is_over else None

    def _spare(self, chosen: dict[Key, int], claim: Claim, left: Shortage) -> dict[Key, int]:
        """Without those that aren't needed after all: a larger gang may have been found later."""
        for key in reversed([*chosen]):
            each, mine = self._book.claims[key], key[0] == claim.namespace
            without = left.copy()
            for name, count in each.amount(each.holds - chosen[key]).items():
                without.give(name, -count, mine=mine)
            if without.is_over:
                left = without
                del chosen[key]
        return chosen

    def _lent_until(self, claim: Claim) -> float:
        return claim.lent_until(self._book.quotas[claim.namespace].loan_seconds)

    def _look_at(self, time: float) -> None:
        self._done.look = time if self._done.look is None else min(self._done.look, time)

    def _excess(self, namespace: str, name: str, given: Mapping[tuple[str, str], int]) -> int:
        """What a namespace holds beyond its quota, without what it has been chosen to give back."""
        own = self._book.quotas[namespace].own.get(name)
        return 0 if own is None else self._kept_by(namespace, name) - given.get((namespace, name), 0) - own

    def _free(self, name: str) -> int:
        return self._book.pool[name] - self._book.total[name] - self._held["", name]

    def _held_by(self, namespace: str, name: str) -> int:
        return self._book.used[namespace][name] + self._held[namespace, name]

    def _kept_by(self, namespace: str, name: str) -> int:
        return self._book.used[namespace][name] + self._kept[namespace, name]

    def _kept_in_all(self, name: str) -> int:
        return self._book.total[name] + self._kept["", name]

    def _add(self, claim: Claim, quota: Quota, nodes: int) -> None:
        for name, count in claim.amount(nodes).items():
            for sums in (self._held, self._kept):
                sums[claim.namespace, name] += count
                if name in quota.own:
                    sums["", name] += count

    def _leave(self, claim: Claim, nodes: int) -> None:
        quota = self._book.quotas.get(claim.namespace)
        for name, count in claim.amount(claim.holds - nodes).items():
            self._kept[claim.namespace, name] -= count
            if quota is not None and name in quota.own:
                self._kept["", name] -= count
