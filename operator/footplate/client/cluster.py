"""Who holds the cluster's accelerators: by resource, namespace and job. Pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from footplate.api.accelerators import ACCELERATORS, is_accelerator
from footplate.api.quantities import amount
from footplate.client.status import read_phase, read_status
from footplate.contract import Label
from footplate.objects import Object, block, blocks, key_of, text, uid_of


@dataclass(frozen=True, slots=True)
class ResourceView:
    """One kind of accelerator. None where nodes, or other people's pods, may not be read."""

    name: str
    capacity: int | None
    """What nodes that take pods offer."""
    used: int
    """What TrainingJobs hold."""
    others: int | None
    """What other pods hold, those of finished and deleted jobs among them."""
    free: int | None
    """What nobody holds of the capacity. On nodes that take no pods nothing is free."""


@dataclass(frozen=True, slots=True)
class UseView:
    """What one job holds; `nodes` are pods that have a node."""

    namespace: str
    job: str
    phase: str
    nodes: int
    accelerators: Mapping[str, int]
    goodput_percent: float | None


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The cluster at one moment, as far as its reader may see it."""

    resources: list[ResourceView]
    jobs: list[UseView]
    """Those that hold nodes or wait for some, the largest first."""
    goodput_percent: float | None
    """Of all that these jobs have held, the part that went into their models; weighed by seconds held."""
    whole: bool
    """False where only one namespace may be read."""

    @property
    def namespaces(self) -> dict[str, Counter[str]]:
        """What each namespace's jobs hold, by resource."""
        held: dict[str, Counter[str]] = defaultdict(Counter)
        for use in self.jobs:
            held[use.namespace].update(use.accelerators)
        return dict(held)


def view_cluster(
    jobs: Sequence[Object], pods: Sequence[Object], nodes: Sequence[Object] | None, *, whole: bool
) -> ClusterView:
    """The cluster from raw objects.

    Args:
        jobs: TrainingJobs.
        pods: those that haven't ended, of the same namespaces; all that there are if `whole`.
        nodes: None where they may not be read.
        whole: whether `jobs` and `pods` are those of all namespaces.
    """
    living = [job for job in jobs if _is_living(job)]
    names = _names(jobs)
    owners = {uid_of(job) for job in living}
    held: dict[str, Counter[str]] = defaultdict(Counter)
    taken: dict[str, Counter[str]] = defaultdict(Counter)
    placed: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for pod in pods:
        if not (node := text(block(pod, "spec"), "nodeName")):
            continue
        taken[node].update(asked := _asked(pod, names))
        owner = text(block(pod, "metadata", "labels"), Label.UID)
        if owner in owners:
            held[owner].update(asked)
            placed[owner] += 1
        else:
            others.update(asked)
    uses = [_use(job, held[uid_of(job)], placed[uid_of(job)]) for job in living]
    used: Counter[str] = sum((Counter(use.accelerators) for use in uses), Counter())
    offers = {key_of(node)[1]: _offer(node, names) for node in nodes or () if _takes_pods(node)}
    offered: Counter[str] = sum(offers.values(), Counter())
    free: Counter[str] = sum((offer - taken[node] for node, offer in offers.items()), Counter())
    return ClusterView(
        resources=[
            ResourceView(
                name,
                capacity=None if nodes is None else offered[name],
                used=used[name],
                others=others[name] if whole else None,
                free=None if nodes is None or not whole else free[name],
            )
            for name in sorted({*used, *others, *offered})
        ],
        jobs=sorted(uses, key=lambda use: (-sum(use.accelerators.values()), -use.nodes, use.namespace, use.job)),
        goodput_percent=_goodput(jobs),
        whole=whole,
    )


def _is_living(job: Object) -> bool:
    phase = read_phase(job)
    return phase is None or not phase.finished


def _use(job: Object, held: Counter[str], placed: int) -> UseView:
    namespace, name = key_of(job)
    usage = read_status(job).usage
    return UseView(namespace, name, read_phase(job) or "", placed, dict(held), usage.goodput_percent if usage else None)


def _names(jobs: Sequence[Object]) -> Sequence[str]:
    """What counts as an accelerator: what does everywhere, and what the operator has counted in these jobs."""
    resolved = (read_status(job).resolved for job in jobs)
    counted = {name for each in resolved if each is not None for name in each.accelerators or ()}
    return (*ACCELERATORS, *sorted(counted.difference(ACCELERATORS)))


def _asked(pod: Object, names: Sequence[str]) -> Counter[str]:
    """Accelerators of a pod: its containers together, or any init container that asks for more."""
    spec = block(pod, "spec")
    together: Counter[str] = sum((_limits(each, names) for each in blocks(spec, "containers")), Counter())
    for each in blocks(spec, "initContainers"):
        together |= _limits(each, names)
    return together


def _limits(container: Object, names: Sequence[str]) -> Counter[str]:
    return _counted(block(container, "resources", "limits"), names)


def _offer(node: Object, names: Sequence[str]) -> Counter[str]:
    return _counted(block(node, "status", "allocatable"), names)


def _takes_pods(node: Object) -> bool:
    return not block(node, "spec").get("unschedulable")


def _counted(amounts: Object, names: Sequence[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for name, count in amounts.items():
        if is_accelerator(name, names):
            try:
                found[name] = int(amount(count))
            except (ValueError, ArithmeticError):
                continue
    return found


def _goodput(jobs: Sequence[Object]) -> float | None:
    """Over living jobs that say how much of what they held was productive."""
    productive, lost = 0, 0
    for job in jobs:
        usage = read_status(job).usage if _is_living(job) else None
        if usage is not None and usage.productive_seconds is not None:
            productive += usage.productive_seconds
            lost += usage.lost_seconds or 0
    return 100 * productive / (productive + lost) if productive + lost else None
