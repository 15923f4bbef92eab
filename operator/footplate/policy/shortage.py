"""What one job lacks to start, while it is looked for who gives it back."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from footplate.policy.claims import Claim

ANY = 2**53
"""More than anybody has."""


@dataclass(slots=True)
class Shortage:
    """What is missing, by resource: within the limits of the job's namespace, and in the pool. Negative is more than
    enough.
    """

    own: dict[str, int]
    pool: dict[str, int]

    @property
    def is_within_own(self) -> bool:
        """Whether the namespace's limits leave room."""
        return all(n <= 0 for n in self.own.values())

    @property
    def is_in_pool(self) -> bool:
        """Whether the pool has too little."""
        return any(n > 0 for n in self.pool.values())

    @property
    def is_over(self) -> bool:
        """Whether nothing is missing any more."""
        return self.is_within_own and not self.is_in_pool

    def of(self, name: str, *, mine: bool) -> int:
        """How much of a resource helps, where it comes from the job's own namespace or from another."""
        return max(self.own.get(name, 0) if mine else 0, self.pool.get(name, 0))

    def give(self, name: str, count: int, *, mine: bool) -> None:
        """So much of it comes from the own namespace or from another."""
        if name in self.pool:
            self.pool[name] -= count
            self.own[name] -= count if mine else 0

    def copy(self) -> "Shortage":
        """Another one, to try something out."""
        return Shortage({**self.own}, {**self.pool})


def or_any(limit: int | None) -> int:
    """A limit as a number, where there may be none."""
    return ANY if limit is None else limit


def cover(holders: Iterable[Claim], short: Mapping[str, int]) -> bool:
    """Whether all of these together hold what is missing."""
    sums: Counter[str] = Counter()
    for each in holders:
        sums.update(each.amount(each.holds))
    return all(sums[name] >= n for name, n in short.items() if n > 0)


def what_it_keeps(claim: Claim, wanted: Mapping[str, int]) -> int:
    """An elastic gang gives only as many nodes as are missing, where it can run on with the rest."""
    missing = max(-(-wanted.get(name, 0) // count) for name, count in claim.each)
    return claim.holds - missing if claim.least < claim.wants and claim.holds - missing >= claim.least else 0
