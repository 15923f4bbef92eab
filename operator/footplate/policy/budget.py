"""What a run has cost, and how much of its budget is spent. At 80 % its user is warned, at 100 % it is stopped after a
checkpoint, and goes on from it once the budget is raised: nothing is lost.

Numbers alone: whose they are is told by `policy.usage` and `policy.suspend`.
"""

import math
from collections.abc import Iterator, Mapping

from footplate.api.errors import Problem
from footplate.api.money import Budget, Prices
from footplate.api.usage import Cost, Usage

WARN_AT = 0.8
HOUR = 3600


def cost_of(seconds: Mapping[str, int], prices: Prices | None) -> Cost | None:
    """What accelerators cost that were held for so many seconds, by resource name; None where nobody has said what one
    of them costs.
    """
    if prices is None or not seconds:
        return None
    amount = 0.0
    for resource, held in seconds.items():
        price = prices.of(resource)
        if price is None:
            return None
        amount += float(price) * held / HOUR
    return Cost(amount=round(amount, 2), currency=prices.currency)


def share(budget: Budget | None, usage: Usage | None) -> float:
    """How much of the budget is spent: 1.0 is all of it. Nothing is spent of none."""
    if budget is None or usage is None:
        return 0.0
    if budget.cost is not None:
        return usage.cost.amount / budget.cost if usage.cost is not None else 0.0
    return _hours(usage) / (budget.accelerator_hours or math.inf)


def node_seconds_left(
    budget: Budget | None, usage: Usage, *, devices: Mapping[str, int], prices: Prices | None
) -> float | None:
    """Node seconds until the next mark, 80 % or all of it; None where there is none to come.

    Args:
        budget: the run's.
        usage: what is spent.
        devices: accelerators of a node, by resource name.
        prices: what they cost.
    """
    spent = share(budget, usage)
    mark = next((mark for mark in (WARN_AT, 1.0) if spent < mark), None)
    rate = _share_of_second(budget, devices, prices)
    if budget is None or mark is None or not rate:
        return None
    return math.ceil((mark - spent) / rate)


def describe(budget: Budget, usage: Usage) -> str:
    """How much is spent, in words."""
    if budget.cost is not None and usage.cost is not None:
        return f"{usage.cost.amount:,.2f} of {budget.cost:,} {usage.cost.currency} (runPolicy.budget.cost)"
    hours = "accelerator hours (runPolicy.budget.acceleratorHours)"
    return f"{_hours(usage):,.1f} of {budget.accelerator_hours or 0:,} {hours}"


def mistakes(budget: Budget | None, *, devices: Mapping[str, int], prices: Prices | None) -> Iterator[Problem]:
    """What keeps a budget from ever being reached.

    Args:
        budget: the run's.
        devices: accelerators of a node, by resource name.
        prices: what they cost.
    """
    if budget is None:
        return
    if not devices:
        yield Problem(
            "spec.runPolicy.budget", None, "is for accelerators, and the job has none",
            "leave it out, or limit the time by runPolicy.activeDeadlineSeconds",
        )  # fmt: skip
    unpriced = [name for name in devices if prices is None or prices.of(name) is None]
    if budget.cost is not None and unpriced:
        why = f"can't be kept: the job's runtime has no price for {unpriced[0]}"
        yield Problem(
            "spec.runPolicy.budget.cost", budget.cost, why,
            "use runPolicy.budget.acceleratorHours, or a ClusterTrainingRuntime whose spec.prices names it",
        )  # fmt: skip
    elif budget.cost is not None and devices and not _share_of_second(budget, devices, prices):
        yield Problem(
            "spec.runPolicy.budget.cost", budget.cost,
            "can't be kept: by the prices of the job's runtime its accelerators cost nothing",
            "use runPolicy.budget.acceleratorHours",
        )  # fmt: skip


def _hours(usage: Usage) -> float:
    return sum(usage.accelerator_seconds.values()) / HOUR


def _share_of_second(budget: Budget | None, devices: Mapping[str, int], prices: Prices | None) -> float:
    """How much of the budget a node spends in a second."""
    if budget is None:
        return 0.0
    if budget.accelerator_hours is not None:
        return sum(devices.values()) / HOUR / budget.accelerator_hours
    prices_of = [(prices.of(name) if prices is not None else None, many) for name, many in devices.items()]
    return sum(float(price or 0) * many for price, many in prices_of) / HOUR / (budget.cost or math.inf)
