"""How fast the nodes of a gang talk to each other: all at once and, where that is too slow, two and two in a ring.

A ring of all shows that somebody is slow, at every node alike. Who it is only shows between two: each node is measured
with the one before it and the one after it, at most two of three rounds each, while no other touches either.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist

SUM_BYTES = {"cuda": 256 * 2**20, "cpu": 8 * 2**20}
SUMS = 5
SECONDS_AT_FLOOR = 0.5
"""How long two nodes exchange at most if they are as fast as the floor."""
PIECES = 8
LINK_SECONDS = 4.0
"""Two nodes that are slower stop after the piece in which this is over."""
MOST_PIECE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a probe is among all."""

    rank: int
    world_size: int
    local_world_size: int
    device: torch.device

    @property
    def nodes(self) -> int:
        """Of the gang."""
        return self.world_size // self.local_world_size

    @property
    def node(self) -> int:
        """Rank of this one."""
        return self.rank // self.local_world_size


class WrongSum(Exception):
    """An all-reduce that gave something else than the sum."""


def sum_all(place: Place) -> float:
    """Gbit/s that each node sends while all of them sum a tensor: the same number on all ranks.

    Raises:
        WrongSum: it isn't one.
    """
    numbers = SUM_BYTES[place.device.type] // 4
    tensor = torch.empty(numbers, device=place.device)
    expected = place.world_size * (place.world_size + 1) / 2
    took = 0.0
    for round_ in range(SUMS + 1):
        tensor.fill_(place.rank + 1)
        dist.barrier()
        started = time.monotonic()
        dist.all_reduce(tensor)
        if place.device.type == "cuda":
            torch.cuda.synchronize(place.device)
        took += time.monotonic() - started if round_ else 0.0
    if not bool((tensor == expected).all()):
        raise WrongSum(f"an all-reduce gave {float(tensor.min()):g} to {float(tensor.max()):g} instead of {expected:g}")
    slowest = max(gather(place, took))
    sent = 2 * (place.world_size - 1) / place.world_size * 4 * numbers * SUMS
    return 8 * sent / slowest / 1e9


def rounds_of(nodes: int) -> Iterator[list[tuple[int, int]]]:
    """The pairs of neighbours in a ring, in rounds in which no node comes twice."""
    if nodes == 2:
        yield [(0, 1)]
        return
    ring = [(node, (node + 1) % nodes) for node in range(nodes)]
    even = nodes - nodes % 2
    yield ring[0:even:2]
    yield ring[1:even:2]
    if nodes % 2:
        yield [ring[-1]]


def measure_links(
    place: Place, floor: float, tell: Callable[[int | None], None]
) -> list[tuple[tuple[int, int], float]]:
    """Gbit/s of each pair of neighbours, in each direction: the same list on all ranks. `tell` hears with whom this
    node exchanges, and that it doesn't any more.
    """
    measured: list[tuple[tuple[int, int], float]] = []
    for pairs in rounds_of(place.nodes):
        dist.barrier()
        own = next((pair for pair in pairs if place.node in pair), None)
        rate = 0.0
        if own is not None:
            tell(sum(own) - place.node)
            rate = _exchange(place, sum(own) - place.node, floor)
            tell(None)
        rates = gather(place, rate)
        measured += [(pair, _rate_of(pair, rates, place)) for pair in pairs]
    return measured


def _rate_of(pair: tuple[int, int], rates: Sequence[float], place: Place) -> float:
    """Of two nodes: what their devices have exchanged together, as the slower end saw it."""
    each = place.local_world_size
    return min(sum(rates[node * each : (node + 1) * each]) for node in pair)


def _exchange(place: Place, partner: int, floor: float) -> float:
    """Gbit/s of this device with the one of the same local rank on another node, both sending at once."""
    other = partner * place.local_world_size + place.rank % place.local_world_size
    wanted = floor * 1e9 / 8 * SECONDS_AT_FLOOR / PIECES / place.local_world_size
    numbers = max(1024, int(min(wanted, MOST_PIECE_BYTES)) // 4)
    out, into = (torch.zeros(numbers, device=place.device) for _ in range(2))
    started, pieces, elapsed = 0.0, 0, 0.0
    for piece in range(PIECES + 1):  # the first sets the connection up
        if piece == 1:
            started = time.monotonic()
        # Both ends see both words, and stop after the same piece.
        out[0] = float(piece == 0 or time.monotonic() - started < LINK_SECONDS)
        works = dist.batch_isend_irecv([dist.P2POp(dist.isend, out, other), dist.P2POp(dist.irecv, into, other)])
        for work in works:
            work.wait()
        goes_on = bool(out[0]) and bool(into[0])
        pieces = piece
        elapsed = time.monotonic() - started
        if not goes_on:
            break
    return 8 * 4 * numbers * pieces / elapsed / 1e9 if pieces else 0.0


def gather(place: Place, value: float) -> list[float]:
    """The values of all ranks, by rank."""
    own = torch.tensor([value], dtype=torch.float64)
    found = [torch.zeros(1, dtype=torch.float64) for _ in range(place.world_size)]
    dist.all_gather(found, own)
    return [float(each) for each in found]
