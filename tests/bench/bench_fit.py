"""`Trainer.fit` beside a hand-written DDP loop: what the comfort costs.

    python tests/bench/bench_fit.py [BLOCKS]

Both train the same network on the same images, in one run, in blocks that take turns; the hand-written loop has no
loader, no metric and no report. Prints a JSON line for 1 rank and one for 2: medians, and the median of the pairs'
ratios. Goal: at most 1.02 at 20 ms a step or more, on a machine that does nothing else.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset

from footplate_trainer import Trainer, context, data, metrics
from footplate_trainer.networks import ImageClassifier

STEPS = 20
"""Of one block, which is also an epoch of `fit`."""
BATCH = 128
"""Samples of each rank in a step: over 20 ms on a core of 2024."""


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return ImageClassifier(image_shape=[1, 28, 28], classes=10, width=16)


def make_images(world_size: int) -> tuple[Tensor, Tensor]:
    samples = STEPS * BATCH * world_size
    return torch.randint(0, 256, (samples, 1, 28, 28), dtype=torch.uint8), torch.randint(0, 10, (samples,))


def by_hand(images: Tensor, labels: Tensor, *, rank: int, world_size: int) -> Callable[[], None]:
    model = make_network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    if world_size > 1:
        model = DistributedDataParallel(model)

    def train() -> None:
        for batch in torch.randperm(len(images)).split(BATCH * world_size):
            mine = batch[rank * BATCH : (rank + 1) * BATCH]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[mine]), labels[mine]).backward()
            optimizer.step()

    return train


def by_fit(images: Tensor, labels: Tensor, *, world_size: int) -> Callable[[], None]:
    model = make_network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    trainer = Trainer(model, nn.functional.cross_entropy, optimizer, metrics=[metrics.accuracy])
    loader = data.loader(TensorDataset(images, labels), batch_size=BATCH * world_size)
    return lambda: void(trainer.fit(loader, epochs=loader.epoch + 1))


def void(_: object) -> None:
    """Takes a result that nobody needs."""


def seconds_of(train: Callable[[], None], world_size: int) -> float:
    if world_size > 1:
        dist.barrier()
    began = time.perf_counter()
    train()
    return time.perf_counter() - began


def run_rank(blocks: int) -> None:
    torch.set_num_threads(1)
    place = context()
    images, labels = make_images(place.world_size)
    hand = by_hand(images, labels, rank=place.rank, world_size=place.world_size)
    fit = by_fit(images, labels, world_size=place.world_size)
    pairs = []
    for block in range(-1, blocks):  # the first warms up
        order = (hand, fit) if block % 2 else (fit, hand)
        seconds = {train: seconds_of(train, place.world_size) for train in order}
        if block >= 0:
            pairs.append((seconds[hand], seconds[fit]))
    if place.is_main:
        hand_ms, fit_ms = (1e3 * statistics.median(column) / STEPS for column in zip(*pairs, strict=True))
        result = {
            "bench": "fit",
            "ranks": place.world_size,
            "hand_written_ms_per_step": round(hand_ms, 2),
            "fit_ms_per_step": round(fit_ms, 2),
            "ratio": round(statistics.median(fit / hand for hand, fit in pairs), 4),
            "blocks": blocks,
        }
        print(json.dumps(result), flush=True)
    if place.world_size > 1:
        dist.destroy_process_group()


def start_ranks(world_size: int, blocks: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    shared = {**os.environ, "WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        subprocess.Popen([sys.executable, __file__, str(blocks)], env={**shared, "RANK": str(rank)})
        for rank in range(world_size)
    ]
    codes = [rank.wait() for rank in ranks]
    if any(codes):
        sys.exit("a rank failed")


if __name__ == "__main__":
    block_count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    if "RANK" in os.environ:
        run_rank(block_count)
    else:
        for ranks_of_run in (1, 2):
            start_ranks(ranks_of_run, block_count)
