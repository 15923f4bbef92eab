"""What `report` and `checkpoint.maybe_save` cost a training loop, in microseconds a call. Prints JSON lines.

    python tests/bench/bench_report.py

Goals: report at most 20 µs (5 is feasible), beside the least it could do: one pwrite of a heartbeat.
"""

import json
import os
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from footplate_trainer import checkpoint
from footplate_trainer.rank.report import Reporter

CALLS = 20_000
BLOCKS = 15


def microseconds(call: Callable[[int], object]) -> float:
    """Median over blocks of the mean cost of a call."""
    blocks = []
    for _ in range(BLOCKS):
        began = time.perf_counter()
        for step in range(CALLS):
            call(step)
        blocks.append((time.perf_counter() - began) / CALLS * 1e6)
    return statistics.median(blocks)


def bare_heartbeat(run_dir: Path) -> Callable[[int], object]:
    record = struct.Struct("<qdB")
    file = os.open(run_dir / "bare", os.O_WRONLY | os.O_CREAT)
    return lambda step: os.pwrite(file, record.pack(step, time.monotonic(), 2), 0)


def reporting(reporter: Reporter) -> Callable[[int], object]:
    """`report` as rank 0 of a job calls it, its thread at work."""
    loss = torch.tensor(0.5, requires_grad=True) * 2
    return lambda step: reporter.step_done(step, loss, 1, {"accuracy": 0.5, "learning_rate": 0.1})


def saving() -> Callable[[int], object]:
    """`maybe_save` outside a job, where nothing is ever due."""
    state = checkpoint.restore(model=torch.nn.Linear(2, 2))

    def call(step: int) -> None:
        state.step += 1
        checkpoint.maybe_save(state)

    return call


def main() -> None:
    # As in a pod, the files lie in memory.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        reporter = Reporter(0, Path(folder))
        for name, call, goal in (
            ("bare heartbeat", bare_heartbeat(Path(folder)), None),
            ("report", reporting(reporter), 20.0),
            ("maybe_save, nothing due", saving(), None),
        ):
            cost = round(microseconds(call), 2)
            print(json.dumps({"bench": "report", "case": name, "microseconds": cost, "goal": goal}), flush=True)
        reporter.close()


if __name__ == "__main__":
    main()
