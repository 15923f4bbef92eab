"""The order in which DistributedDataParallel sums gradients, settled before the first step.

DDP sends gradients in buckets. At first it guesses their order; after the first backward pass it sorts them anew, by
the order in which gradients came, so that the first bucket is on its way while the rest is still being computed. With
three ranks or more another order of buckets is another order of summation, and so other last bits: a resumed run, whose
first step is in the middle, would part from an uninterrupted one. So the first forward pass of every attempt reads from
its graph in which order gradients will come, and a backward pass of zeros in that order lets DDP sort its buckets
before the first real one. The graph is the same in every attempt, as long as the model computes in the same order.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parallel.distributed import _find_tensors  # what DDP itself takes for a model's outputs


def _settle(model: DistributedDataParallel, outputs: Any) -> None:
    """Sorts the buckets by the backward pass of these outputs. Collective; called within the forward pass, before DDP
    prepares the backward pass. Gradients that are there already stay.
    """
    weights = [weight for weight in model.module.parameters() if weight.requires_grad]
    order = gradient_order(_find_tensors(outputs), weights)
    sparse = {id(part.weight) for part in model.module.modules() if getattr(part, "sparse", False)}
    gradients = [weight.grad for weight in weights]
    with torch.enable_grad():
        zero: Any = torch.zeros((), device=weights[0].device)
        for weight in reversed(order):  # the last sum is the first that the backward pass comes to
            zero = zero + (_row(weight) if id(weight) in sparse else weight).sum().to(zero.dtype) * 0
    _set_gradients(weights, [None] * len(weights))
    model.reducer.prepare_for_backward([])
    zero.backward()
    _set_gradients(weights, [None] * len(weights))
    model.reducer._rebuild_buckets()
    _set_gradients(weights, gradients)


settle: Callable[[DistributedDataParallel, Any], None] = torch._dynamo.disable(_settle)
"""Never compiled, also in a model that is compiled with its DDP around it."""


def _row(weight: Tensor) -> Tensor:
    """A part of an embedding's weights whose gradient is sparse, as DDP expects it of them."""
    return embedding(torch.zeros(1, dtype=torch.int64, device=weight.device), weight, sparse=True)


def gradient_order(outputs: Iterable[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """Parameters in the order in which a backward pass from outputs will have their gradients; those that it doesn't
    reach come last. As autograd goes: of the nodes that have all their gradients, the one made last comes next.
    """
    roots = {output.grad_fn for output in outputs if output.grad_fn is not None}
    waits_for = _uses(roots)
    ready: list[tuple[int, int, Any]] = []
    number = count()
    for root in roots:
        if not waits_for[root]:
            heappush(ready, (-root._sequence_nr(), next(number), root))
    found: dict[int, Tensor] = {}
    while ready:
        _, _, node = heappop(ready)
        for follower, _ in node.next_functions:
            if follower is None:
                continue
            waits_for[follower] -= 1
            if waits_for[follower]:
                continue
            weight = getattr(follower, "variable", None)
            if weight is None:
                heappush(ready, (-follower._sequence_nr(), next(number), follower))
            else:
                found[id(weight)] = weight
    known = {id(weight) for weight in weights}
    rest = [weight for weight in reversed(weights) if id(weight) not in found]
    return [weight for key, weight in found.items() if key in known] + rest


def _uses(roots: Iterable[Any]) -> Counter[Any]:
    """How many gradients each node of the graph gets from others."""
    uses: Counter[Any] = Counter()
    seen, rest = set(roots), list(roots)
    while rest:
        for follower, _ in rest.pop().next_functions:
            if follower is not None:
                uses[follower] += 1
                if follower not in seen:
                    seen.add(follower)
                    rest.append(follower)
    return uses


def _set_gradients(weights: Iterable[Tensor], gradients: Iterable[Tensor | None]) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
