"""A namespace's quota, of the TrainingPolicies that select it: of each resource the smallest counts, and what one of
them doesn't lend isn't lent.
"""

from collections.abc import Iterable

from footplate.objects import Object, block, number
from footplate.policy.claims import Quota

LOAN_SECONDS = 600


def quota_of(policies: Iterable[Object]) -> Quota | None:
    """The quota of a namespace that these raw policies select; None where none of them names one."""
    quotas = [raw for policy in policies if block(raw := block(policy, "spec", "quota"), "accelerators")]
    if not quotas:
        return None
    own: dict[str, int] = {}
    most: dict[str, int | None] = {}
    for raw in quotas:
        for name in block(raw, "accelerators"):
            own[name] = min(_count(block(raw, "accelerators"), name), own.get(name, 2**31))
    for name, count in own.items():
        limits = [_lent(raw, name) for raw in quotas if name in block(raw, "accelerators")]
        most[name] = min((count + limit for limit in limits if limit is not None), default=None)
    loan = min(_count(raw, "loanSeconds", default=LOAN_SECONDS) for raw in quotas)
    return Quota(own, most, float(loan))


def _lent(raw: Object, name: str) -> int | None:
    """What one policy lends of a resource; None where it sets no limit."""
    if "borrowing" not in raw:
        return 0
    limit = block(raw, "borrowing", "limit")
    return _count(limit, name) if name in limit else None


def _count(raw: Object, name: str, *, default: int = 0) -> int:
    found = number(raw, name)
    return default if found is None else max(0, found)
