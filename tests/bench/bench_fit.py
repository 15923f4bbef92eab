"""`Trainer.fit` beside a hand-written DDP loop: what the comfort costs.

    python tests/bench/bench_fit.py [BLOCKS]

Both train the same network on the same images, in one run, in blocks that take turns; the hand-written loop has no
loader, no metric and no report. Prints a JSON line for 1 rank and one for 2: medians, and the median and quartiles of
the pairs' ratios. Goal: at most 1.01 at 20 ms a step or more, on a machine that does nothing else.
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

from footplate_trainer import Trainer, callbacks, context, data, metrics
from footplate_trainer.models.networks import ImageClassifier

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


class TakeTurns(callbacks.Callback):
    """Runs a block by hand before each epoch of `fit`, and takes the time of both."""

    def __init__(self, hand: Callable[[], None], world_size: int) -> None:
        self._hand = hand
        self._world_size = world_size
        self._began = self._hand_seconds = 0.0
        self.pairs: list[tuple[float, float]] = []

    def on_epoch_begin(self, epoch: int, logs: callbacks.Logs | None = None) -> None:
        self._meet()
        began = time.perf_counter()
        self._hand()
        self._hand_seconds = time.perf_counter() - began
        self._meet()
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: callbacks.Logs | None = None) -> None:
        self.pairs.append((self._hand_seconds, time.perf_counter() - self._began))

    def _meet(self) -> None:
        if self._world_size > 1:
            dist.barrier()


def run_rank(blocks: int) -> None:
    torch.set_num_threads(1)
    place = context()
    images, labels = make_images(place.world_size)
    turns = TakeTurns(by_hand(images, labels, rank=place.rank, world_size=place.world_size), place.world_size)
    model = make_network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    trainer = Trainer(model, nn.functional.cross_entropy, optimizer, metrics=[metrics.accuracy])
    loader = data.loader(TensorDataset(images, labels), batch_size=BATCH * place.world_size)
    trainer.fit(loader, epochs=1 + blocks, callbacks=[turns])
    pairs = turns.pairs[1:]  # the first warms up
    if place.is_main:
        hand_ms, fit_ms = (1e3 * statistics.median(column) / STEPS for column in zip(*pairs, strict=True))
        low, middle, high = statistics.quantiles([fit / hand for hand, fit in pairs], n=4)
        result = {
            "bench": "fit",
            "ranks": place.world_size,
            "hand_written_ms_per_step": round(hand_ms, 2),
            "fit_ms_per_step": round(fit_ms, 2),
            "ratio": round(middle, 4),
            "quartiles": [round(low, 4), round(high, 4)],
            "goal": 1.01,
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
