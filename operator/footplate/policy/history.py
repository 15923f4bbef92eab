"""How many finished jobs of a namespace are kept: as many as the strictest of its TrainingPolicies says. Of more, those
that ended first are deleted, each by its own look.
"""

from collections.abc import Iterable

from footplate.objects import Object, block, number
from footplate.policy.plan import Observed


def limit(policies: Iterable[Object]) -> int | None:
    """The fewest finished jobs that one of these raw policies keeps; None where all are kept."""
    limits = (number(block(policy, "spec"), "historyLimit") for policy in policies)
    return min((each for each in limits if each is not None and each >= 0), default=None)


def is_over(observed: Observed) -> bool:
    """Whether a finished job is one too many."""
    most = limit(observed.policies) if observed.policies_known else None
    return most is not None and observed.finished_since >= most
