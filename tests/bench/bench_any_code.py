"""What the supervisor costs code that imports nothing of ours. Prints a JSON line a figure.

    python tests/bench/bench_any_code.py [ROUNDS]

- `first_line`: seconds from a pod's start to the first line of its code, without inputs. Goal: at most 1.2.
- `supervisor`: MiB that the supervisor alone holds (its resident set) while a job with an output, snapshots and metrics
  trains. Goal: at most 60.
- `snapshots`: steps a second of a program that saves 64 MB every 10 s, with a `checkpoint.uri` and without, in turns.
  The S3 server shares the cores. Goal: at least 0.98.
- `put_back`: how fast a snapshot of 1 GB in 16 files lies in the folder again, beside obstore alone: the same objects,
  written as files, without checksum, in turns. Goal: at least 0.8.
"""

import asyncio
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from footplate.devcluster.s3 import S3Server  # noqa: E402
from footplate_trainer.supervisor.pod import read_pod  # noqa: E402
from footplate_trainer.supervisor.snapshots.beginning import begin  # noqa: E402
from trainer_pods import RunningPod, pod_environment  # noqa: E402

MB = 1_000_000
FILES, FILE_BYTES = 16, 64 * MB
TRAIN_SECONDS = 40.0
FIRST = "import time; print('first', time.time(), flush=True)"
TRAIN = f"""
import os, pathlib, time
import numpy
folder = pathlib.Path(os.environ["FOOTPLATE_CHECKPOINT_DIR"])
weights, steps, saved = numpy.ones((384, 384), "float32"), 0, 0
state = os.urandom({64 * MB})
print("trains", flush=True)
began = time.monotonic()
while (now := time.monotonic() - began) < {TRAIN_SECONDS}:
    weights @ weights
    steps += 1
    if now > 10 * saved:
        (folder / f"{{saved}}.new").write_bytes(state)
        (folder / f"{{saved}}.new").rename(folder / f"{{saved}}.pt")
        saved += 1
print("steps", steps / now, flush=True)
"""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
CHECKPOINTS: dict[str, Any] = {"checkpoint": {"uri": "s3://checkpoints/bench/", "keep": 2}}
SAVES_NOTHING = CHECKPOINTS | {"trainer": {"command": ["true"]}}


def said(pod: RunningPod, word: str, *, seconds: float = 120) -> float:
    """The number after a word in the log."""

    def find() -> float | None:
        lines = pod.log_path.read_text().splitlines()
        return next((float(line.split()[-1]) for line in lines if f"{word} " in f"{line} " and "{" not in line), None)

    return pod.wait_for(find, seconds=seconds)


def start(root: Path, program: str, spec: Mapping[str, Any], *, job: str = "bench") -> RunningPod:
    """A pod whose command is a program in Python."""
    trainer = {"command": [sys.executable, "-c", program]}
    return RunningPod(root, {**pod_environment(root, {"trainer": trainer, **spec}, job=job), **ONE_THREAD})


def first_line(root: Path, kind: str) -> float:
    """Seconds to the first line of a command or an entrypoint, which has torch imported before."""
    spec = {"trainer": {"entrypoint": "train.py"} if kind == "entrypoint" else {"command": ["python", "train.py"]}}
    environment = pod_environment(root, spec, files={"train.py": FIRST})
    began = time.time()
    pod = RunningPod(root, environment)
    seconds = said(pod, "first") - began
    pod.finish()
    return seconds


def resident_mib(root: Path) -> float:
    """Of a supervisor that has all to do."""
    definitions = [{"name": "loss", "regex": "loss=([0-9.]+)"}]
    trainer = {"command": [sys.executable, "-c", TRAIN], "metricDefinitions": definitions}
    spec = {"trainer": trainer, "output": {"uri": "s3://models/bench/"}, **CHECKPOINTS}
    pod = RunningPod(root, {**pod_environment(root, spec, job="resident", metrics_address="127.0.0.1:0"), **ONE_THREAD})
    pod.wait_for_log("snapshot of the checkpoint folder")
    time.sleep(5)
    status = Path(f"/proc/{pod.process.pid}/status").read_text()
    pod.process.send_signal(signal.SIGTERM)
    pod.process.wait()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def steps_a_second(root: Path, number: int, *, kept: bool) -> float:
    """With snapshots, or supervised for an input alone."""
    (root / "data").mkdir(parents=True)
    inputs = {"inputs": [{"name": "data", "uri": f"file://{root}/data/"}]}
    (root / "data" / "x").write_text("x")
    pod = start(root, TRAIN, CHECKPOINTS if kept else inputs, job=f"steps-{number}")
    speed = said(pod, "steps", seconds=10 * TRAIN_SECONDS)
    pod.finish(seconds=300)
    return speed


def put_back_seconds(root: Path, attempt: int) -> float:
    """Of the claim and the snapshot."""
    environment = pod_environment(
        root / str(attempt), CHECKPOINTS | {"trainer": {"command": ["true"]}}, attempt=attempt
    )
    pod = read_pod(environment)
    pod.make_folders()
    began = time.perf_counter()
    begin(pod, note=lambda text: None, safe=lambda snapshot: None)
    seconds = time.perf_counter() - began
    assert sum(path.stat().st_size for path in pod.checkpoint_dir.rglob("*.pt")) == FILES * FILE_BYTES
    shutil.rmtree(root / str(attempt))
    return seconds


def make_snapshot(root: Path) -> None:
    """One that attempt 0 leaves."""
    pod = read_pod(pod_environment(root / "0", SAVES_NOTHING))
    pod.make_folders()
    keeper, _ = begin(pod, note=lambda text: None, safe=lambda snapshot: None)
    assert keeper is not None
    for number in range(FILES):
        (pod.checkpoint_dir / f"{number}.pt").write_bytes(os.urandom(FILE_BYTES))
    keeper.last(whole=True, prune=False)
    shutil.rmtree(root / "0")


def obstore_seconds(store: S3Store, folder: Path) -> float:
    """The same objects by obstore alone, as many at once."""
    keys = [item["path"] for page in obstore.list(store, "bench/digits/run-1-uid-1/snapshot-files") for item in page]
    folder.mkdir()

    def fetch(key: str) -> None:
        with (folder / key.rpartition("/")[2]).open("wb") as file:
            for part in obstore.get(store, key).stream(min_chunk_size=8 * MB):
                file.write(part)

    began = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, keys))
    seconds = time.perf_counter() - began
    assert sum(path.stat().st_size for path in folder.iterdir()) == FILES * FILE_BYTES
    shutil.rmtree(folder)
    return seconds


def report(bench: str, goal: float, **figures: Any) -> None:
    """One JSON line."""
    print(json.dumps({"bench": bench, **figures, "goal": goal}), flush=True)


def measure(root: Path, rounds: int) -> None:
    """All four, to a server whose address is in the environment."""
    for kind in ("command", "entrypoint"):
        times = [first_line(root / f"{kind}-{each}", kind) for each in range(2 * rounds + 1)]
        report("first_line", 1.2, of=kind, seconds=round(statistics.median(times), 2), times=len(times))
    report("supervisor", 60, resident_mib=round(resident_mib(root / "resident"), 1))
    pairs = [
        [steps_a_second(root / f"{each}-{kept}", each, kept=kept) for kept in (True, False)] for each in range(rounds)
    ]
    ratios = [with_it / without for with_it, without in pairs]
    report("snapshots", 0.98, ratio=round(statistics.median(ratios), 3), of_each_round=[round(r, 3) for r in ratios])
    make_snapshot(root)
    store = S3Store("checkpoints", client_options={"allow_http": True})
    fetched = [
        [put_back_seconds(root, attempt), obstore_seconds(store, root / "alone")] for attempt in range(1, rounds + 1)
    ]
    ratios = [alone / ours for ours, alone in fetched]
    report(
        "put_back",
        0.8,
        ratio=round(statistics.median(ratios), 3),
        of_each_round=[round(r, 3) for r in ratios],
        mb_a_second=round(FILES * FILE_BYTES / MB / statistics.median(ours for ours, _ in fetched)),
    )


async def main(rounds: int) -> None:
    """Runs a server beside it all."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        async with S3Server(root / "s3") as server:
            os.environ.update(server.environment)
            await asyncio.to_thread(measure, root, rounds)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
