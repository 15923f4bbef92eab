"""Holds what was measured against the floors, and says which node is to blame. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from footplate.api.preflight import Floors
from footplate.api.quantities import amount
from footplate_trainer.preflight.reading import Link, Reading

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Blame:
    """Which nodes a network that is too slow is blamed on, by node rank. None: it is slow everywhere."""

    nodes: frozenset[int]
    everywhere: bool = False


def shortfalls(local: int, reading: Reading, floors: Floors) -> list[str]:
    """In what a device falls short, in words with the value beside the floor."""
    found = [reading.unfit] if reading.unfit else []
    who = f"device {local} ({reading.device})"
    if floors.device_memory is not None and reading.memory_bytes is not None:
        least = int(amount(floors.device_memory))
        if reading.memory_bytes < least:
            found.append(
                f"{who} has {reading.memory_bytes / GIB:.1f} GiB of memory free, and the runtime's "
                f"preflight.floors.deviceMemory is {floors.device_memory} ({least / GIB:.1f} GiB)"
            )
    if floors.teraflops is not None and reading.teraflops is not None and reading.teraflops < floors.teraflops:
        found.append(
            f"{who} computes {reading.teraflops:.4g} TFLOP/s, and the runtime's preflight.floors.teraflops is "
            f"{floors.teraflops:g}"
        )
    return found


def blame(links: Sequence[Link], floor: float) -> Blame:
    """Who is to blame, where each node was measured with its neighbours in a ring.

    A node all of whose links are slow, two or more, is; of a slow link that none of these explains both ends are, since
    nobody can tell which. Where that is more than half of three or more nodes, and half of all links are slow, it is
    the network, or the floor.
    """
    slow = [link for link in links if link.gigabits_per_second < floor]
    tested = Counter(node for link in links for node in link.nodes)
    found = Counter(node for link in slow for node in link.nodes)
    blamed = {node for node, times in found.items() if times == tested[node] >= 2}
    unexplained = [link for link in slow if blamed.isdisjoint(link.nodes)]
    blamed.update(node for link in unexplained for node in link.nodes)
    is_most = 2 * len(slow) >= len(links) and 2 * len(blamed) > len(tested)
    everywhere = len(tested) > 2 and is_most
    return Blame(frozenset() if everywhere else frozenset(blamed), everywhere)


def of_node(node: int, links: Sequence[Link], floor: float) -> str:
    """What a node that is to blame shows."""
    own = [link for link in links if node in link.nodes]
    partners = [f"{link.gigabits_per_second:.4g} Gbit/s with node rank {sum(link.nodes) - node}" for link in own]
    doubt = "; which of the two nodes it is can't be told" if len(own) == 1 else ""
    return (
        f"the network of this node gives {' and '.join(partners)}, and the runtime's "
        f"preflight.floors.gigabitsPerSecond is {floor:g}{doubt}"
    )


def of_others(found: Blame, links: Sequence[Link], floor: float) -> str:
    """What is said where the network is too slow, by a node that isn't to blame."""
    if found.everywhere:
        rates = sorted(link.gigabits_per_second for link in links)
        return (
            f"the network is too slow everywhere: {len(links)} pairs of nodes give {rates[0]:.4g} to {rates[-1]:.4g} "
            f"Gbit/s, and the runtime's preflight.floors.gigabitsPerSecond is {floor:g}; lower it, or look at NCCL's "
            "variables in the runtime, and at the fabric"
        )
    return f"node rank {', '.join(map(str, sorted(found.nodes)))} falls short in preflight, in the network"
