"""`data.loader` beside torch's DataLoader: what it costs to have every sample's random numbers its own.

    python tests/bench/bench_loader.py [PASSES]

Both hand out the same map-style samples in batches of 64, in this process and by two workers, in passes that take
turns. Prints a JSON line a case: the median microseconds of a batch, and the median of the pairs' ratios. Goal: at most
1.3 for samples that draw nothing. Those that draw from torch are seeded one by one, which a DataLoader doesn't do.
"""

import json
import statistics
import sys
import time
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from footplate_trainer import data

SAMPLES, BATCH = 4096, 64


class Plain(Dataset[tuple[Tensor, int]]):
    """Rows that lie in memory."""

    def __init__(self) -> None:
        self.rows = torch.randn(SAMPLES, 32)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.rows[index], index


class Augmented(Plain):
    """The same with noise."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.rows[index] + torch.rand(32), index


def seconds(batches: Any) -> float:
    began = time.perf_counter()
    for _ in batches:
        pass
    return time.perf_counter() - began


def compare(dataset: Plain, workers: int, passes: int) -> dict[str, Any]:
    plain = DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    ours = data.loader(dataset, batch_size=BATCH, num_workers=workers)
    pairs = [(seconds(ours), seconds(plain)) for _ in range(passes + 1)][1:]  # the first starts the workers
    mine, theirs = (1e6 * statistics.median(times) * BATCH / SAMPLES for times in zip(*pairs, strict=True))
    return {
        "bench": "loader",
        "samples": type(dataset).__name__.lower(),
        "workers": workers,
        "microseconds": round(mine),
        "DataLoader": round(theirs),
        "ratio": round(statistics.median(ours / plain for ours, plain in pairs), 3),
        "goal": 1.3 if type(dataset) is Plain else None,
    }


def main() -> None:
    passes = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    for dataset in (Plain(), Augmented()):
        for workers in (0, 2):
            print(json.dumps(compare(dataset, workers, passes)), flush=True)


if __name__ == "__main__":
    main()
