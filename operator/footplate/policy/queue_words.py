"""What a user is told of the line: what is asked, what the quota is, who holds it, and whose turn it is. Jobs of the
user's own namespace by their names; of others nothing but sums.
"""

from bisect import bisect_left
from collections.abc import Iterable

from footplate.policy.claims import Book, Claim, Quota
from footplate.policy.queue import Give

_MOST_NAMES = 5


def why_it_waits(book: Book, claim: Claim, *, is_reserved: bool) -> str:
    """Why a job isn't allowed to begin yet."""
    quota = book.quotas[claim.namespace]
    of_each = "; ".join(_of_resource(book, claim, quota, name) for name in _counted(claim, quota))
    place, of = place_in_line(book, claim)
    line = f"number {place} of {of} in its namespace's line" if of else "next in its namespace's line"
    soon = "; what it lacks is being given back by others" if is_reserved else ""
    return f"waits for quota: it asks for {_asks(claim, quota)}; {of_each}; {line}{soon}"


def why_it_never_fits(book: Book, claim: Claim) -> str:
    """Why waiting can't help, and what does."""
    quota = book.quotas[claim.namespace]
    said = []
    for name, most in quota.excess(claim, book.pool).items():
        lent = most - quota.own[name]
        borrows = f" and {lent} more at most that it may borrow" if lent > 0 else ", and it may borrow none"
        said.append(f"namespace {claim.namespace} has a quota of {quota.own[name]} {name}{borrows}")
    return (
        f"asks for {_asks(claim, quota)}, which can never be had: {'; '.join(said)} (spec.quota of its "
        "TrainingPolicy). Create the job anew with fewer nodes or accelerators, or have the quota raised: "
        "then it goes on by itself"
    )


def why_it_gives(book: Book, claim: Claim, give: Give) -> str:
    """Why a gang is asked to give back."""
    quota, nodes = book.quotas[claim.namespace], claim.holds - give.nodes
    what = ", ".join(f"{n} {name}" for name, n in claim.amount(nodes).items() if name in quota.own)
    if give.to[0] == claim.namespace:
        return f"{what} go back to job {give.to[1]}, which was in the queue before it and can start with them"
    return f"{what} were lent to it beyond its namespace's quota, and another namespace that goes first asks for them"


def place_in_line(book: Book, claim: Claim) -> tuple[int, int]:
    """A job's number in its namespace's line, from 1, and how many are in it; 0 and 0 where it isn't."""
    line = book.lines.get(claim.namespace, [])
    place = bisect_left(line, claim.turn)
    return (place + 1, len(line)) if place < len(line) and line[place] == claim.turn else (0, 0)


def _of_resource(book: Book, claim: Claim, quota: Quota, name: str) -> str:
    used, own = book.used[claim.namespace][name], quota.own[name]
    free = max(0, book.pool[name] - book.total[name])
    most = quota.most[name]
    lend = "it may not borrow" if most is not None and most <= own else f"{free} of {book.pool[name]} in all are free"
    if most is not None and most > own:
        lend += f", and it may borrow up to {most - own}"
    holders = _holders(book.holders[claim.namespace].values(), name)
    return f"the quota of namespace {claim.namespace} is {own} {name}, of which its jobs hold {used}{holders}; {lend}"


def _holders(claims: Iterable[Claim], name: str) -> str:
    held = sorted((-each.amount(each.holds).get(name, 0), each.key[1]) for each in claims)
    named = [f"{job} {-count}" for count, job in held if count]
    more = f" and {len(named) - _MOST_NAMES} more jobs" if len(named) > _MOST_NAMES else ""
    return f" ({', '.join(named[:_MOST_NAMES])}{more})" if named else ""


def _asks(claim: Claim, quota: Quota) -> str:
    nodes = claim.wants if claim.least == claim.wants else claim.least
    at_least = "" if claim.least == claim.wants else "at least "
    amounts = claim.amount(nodes)
    counts = {name: amounts[name] for name in _counted(claim, quota)}
    return at_least + ", ".join(f"{n} {name} ({_nodes(nodes)} with {n // nodes} each)" for name, n in counts.items())


def _nodes(count: int) -> str:
    return f"{count} node{'s' * (count > 1)}"


def _counted(claim: Claim, quota: Quota) -> list[str]:
    return [name for name, _ in claim.each if name in quota.own]
