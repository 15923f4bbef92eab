"""Who has spent what, of the jobs that are there: by namespace, and by a label that says who pays. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from footplate.api.usage import Usage
from footplate.client.status import read_status
from footplate.objects import Object, block, key_of, text


@dataclass(frozen=True, slots=True)
class Bill:
    """What the jobs of one payer have held and cost in their present runs, finished ones included."""

    namespace: str
    charged_to: str
    """Value of the label; empty where none was asked for, and for jobs without it."""
    jobs: int
    hours: Mapping[str, float]
    """Accelerator hours by resource name."""
    cost: Mapping[str, float]
    """Money by currency."""
    unpriced: int
    """Jobs that have held accelerators whose price nobody has said."""


def make_bills(jobs: Sequence[Object], *, label: str = "") -> list[Bill]:
    """The bills, the largest first.

    Args:
        jobs: TrainingJobs.
        label: key of the label that says who pays; empty: the namespace alone.
    """
    found: dict[tuple[str, str], list[Usage | None]] = defaultdict(list)
    for job in jobs:
        payer = text(block(job, "metadata", "labels"), label) if label else ""
        found[key_of(job)[0], payer].append(read_status(job).usage)
    bills = [_bill(*payer, usages) for payer, usages in found.items()]
    return sorted(bills, key=lambda bill: (-sum(bill.hours.values()), bill.namespace, bill.charged_to))


def _bill(namespace: str, charged_to: str, usages: Sequence[Usage | None]) -> Bill:
    known = [usage for usage in usages if usage is not None and any(usage.accelerator_seconds.values())]
    hours = [(name, seconds / 3600) for usage in known for name, seconds in usage.accelerator_seconds.items()]
    costs = [(usage.cost.currency, usage.cost.amount) for usage in known if usage.cost is not None]
    return Bill(namespace, charged_to, len(usages), _sums(hours), _sums(costs), len(known) - len(costs))


def _sums(parts: Sequence[tuple[str, float]]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for name, part in parts:
        sums[name] += part
    return {name: round(sum_, 2) for name, sum_ in sums.items()}
