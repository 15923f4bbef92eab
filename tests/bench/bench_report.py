"""What `report` and `checkpoint.maybe_save` cost a training loop, in microseconds a call. Prints JSON lines.

    python tests/bench/bench_report.py

Goals: report at most 5 µs of its thread's CPU time, beside the least it could do: one pwrite of a heartbeat. Once more
with what a supervisor does meanwhile in another process: it looks at what is reported twice a second, and keeps log and
history. Beside it the time by the clock, which on a machine that does other things as well is theirs too.
"""

import json
import multiprocessing
import os
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import torch

from footplate_trainer import checkpoint
from footplate_trainer.rank.report import Reporter

CALLS = 20_000
BLOCKS = 7


def microseconds(call: Callable[[int], object], clock: Callable[[], float]) -> float:
    """Median over blocks of the mean cost of a call, by a clock."""
    blocks = []
    for _ in range(BLOCKS):
        began = clock()
        for step in range(CALLS):
            call(step)
        blocks.append((clock() - began) / CALLS * 1e6)
    return round(statistics.median(blocks), 2)


def bare_heartbeat(run_dir: Path) -> Callable[[int], object]:
    record = struct.Struct("<qdB")
    file = os.open(run_dir / "bare", os.O_WRONLY | os.O_CREAT)
    return lambda step: os.pwrite(file, record.pack(step, time.monotonic(), 2), 0)


def reporting(reporter: Reporter) -> Callable[[int], object]:
    """`report` as rank 0 of a job calls it, its thread at work."""
    loss = torch.tensor(0.5, requires_grad=True) * 2
    return lambda step: reporter.step_done(step, loss, 1, {"accuracy": 0.5, "learning_rate": 0.1})


def observe(run_dir: Path, ended: Event) -> None:
    """What the supervisor does beside a training, without its network."""
    from footplate_trainer.exchange import RankReport, read_report
    from footplate_trainer.supervisor.history.parts import Parts
    from footplate_trainer.supervisor.history.recorder import LINE_SECONDS, Recorder

    log = Parts(run_dir / "log", first=8, last=12)
    recorder = Recorder(lambda: read_report(run_dir) or RankReport(), Parts(run_dir / "metrics"))
    while not ended.wait(LINE_SECONDS):
        recorder.look(time.monotonic())
        log.write(b"a line of the log\n" * 1000)


def saving() -> Callable[[int], object]:
    """`maybe_save` outside a job, where nothing is ever due."""
    state = checkpoint.restore(model=torch.nn.Linear(2, 2))

    def call(step: int) -> None:
        state.step += 1
        checkpoint.maybe_save(state)

    return call


def show(name: str, call: Callable[[int], object], goal: float | None) -> None:
    cost, wall = microseconds(call, time.thread_time), microseconds(call, time.perf_counter)
    figures = {"microseconds": cost, "by_the_clock": wall, "goal": goal}
    print(json.dumps({"bench": "report", "case": name, **figures}), flush=True)


def main() -> None:
    # As in a pod, the files lie in memory.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        run_dir = Path(folder)
        reporter = Reporter(0, run_dir)
        show("bare heartbeat", bare_heartbeat(run_dir), None)
        show("report", reporting(reporter), 5.0)
        ended = multiprocessing.get_context("spawn").Event()
        observer = multiprocessing.get_context("spawn").Process(target=observe, args=(run_dir, ended))
        observer.start()
        show("report, with history and log kept", reporting(reporter), 5.0)
        ended.set()
        observer.join()
        show("maybe_save, nothing due", saving(), None)
        reporter.close()


if __name__ == "__main__":
    main()
