"""What a batch costs from `data.loader`, beside torch's own DataLoader: microseconds in which a rank would wait.

    python tests/bench/bench_loader.py [BLOCKS]

The same map-style dataset of small tensors in both, shuffled, batches of 64, without workers and with two; blocks of an
epoch take turns in one run. Prints a JSON line for each: medians, and the median and quartiles of the pairs' ratios.
Goal: at most 1.3.
"""

import json
import statistics
import sys
import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from footplate_trainer import data

SAMPLES, BATCH = 12_800, 64


class Samples(Dataset[Any]):
    """Samples as user code makes them: one at a time, in Python."""

    def __init__(self) -> None:
        self._images = torch.zeros(SAMPLES, 28 * 28)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, sample: int) -> tuple[Tensor, int]:
        return self._images[sample], sample % 10


def microseconds_a_batch(batches: Iterable[Any]) -> float:
    """Of one pass, the start of workers left out: it is paid once an epoch, alike by both."""
    batches = iter(batches)
    next(batches)
    began = time.perf_counter()
    count = sum(1 for _ in batches)
    return 1e6 * (time.perf_counter() - began) / count


def compare(workers: int, blocks: int) -> None:
    ours = data.loader(Samples(), batch_size=BATCH, num_workers=workers)
    torchs = DataLoader(Samples(), batch_size=BATCH, shuffle=True, num_workers=workers)
    pairs = [(microseconds_a_batch(ours), microseconds_a_batch(torchs)) for _ in range(1 + blocks)][1:]
    low, middle, high = statistics.quantiles([mine / torch_s for mine, torch_s in pairs], n=4)
    mine, torch_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    result = {
        "bench": "loader",
        "workers": workers,
        "us_a_batch": round(mine),
        "us_a_batch_of_dataloader": round(torch_s),
        "ratio": round(middle, 3),
        "quartiles": [round(low, 3), round(high, 3)],
        "goal": 1.3,
        "blocks": blocks,
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number in (0, 2):
        compare(number, int(sys.argv[1]) if len(sys.argv) > 1 else 10)
