"""What logs of 10,000 lines a second from eight ranks cost their training. Prints JSON lines.

    python tests/bench/bench_logs.py

The ranks of a real pod print at that rate, and then don't. The supervisor copies their lines into the container's log,
keeps them on disk, and sends them to a folder every ten seconds instead of every minute. Its CPU time is what training
loses on a pod with a core a rank; it is measured as CPU time, since on a machine that does other things as well the
speed of ranks tells nothing. Goal: less than 3 % of the ranks' cores. Beside it the share of their time that ranks
spend in writing: they would wait there for a supervisor that doesn't keep up.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from trainer_pods import RunningPod, pod_environment

RANKS = 8
LINES_A_SECOND = 10_000
SECONDS = 25.0
GOAL_PERCENT = 3.0

TRAIN = f"""
import os, pathlib, sys, time

text = "step 000000 loss 0.123456 learning rate 0.001 samples a second 1234 " + "x" * 30 + "\\n"
here = pathlib.Path(os.environ["HERE"])
rank = os.environ["RANK"]
(here / f"ready-{{rank}}").touch()
while not (here / "begin").exists():
    time.sleep(0.01)
began, printed, writing = time.perf_counter(), 0, 0.0
while (now := time.perf_counter()) - began < {SECONDS}:
    due = int((now - began) * {LINES_A_SECOND} / {RANKS}) - printed
    before = time.perf_counter()
    sys.stdout.write(text * due)
    sys.stdout.flush()
    writing += time.perf_counter() - before
    printed += due
    time.sleep(0.01)
(here / f"done-{{rank}}").write_text(f"{{printed}} {{writing}}")
time.sleep(1000)
"""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its threads; not of its children."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """The most memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(root: Path) -> dict[str, float]:
    """Supervisor's CPU seconds a second in both cases, and what the ranks have seen."""
    spec = {"trainer": {"entrypoint": "train.py"}, "checkpoint": {"uri": f"file://{root}/checkpoints/"}}
    environment = pod_environment(root, spec, processes=RANKS, files={"train.py": TRAIN})
    often = "from footplate_trainer.supervisor.history import history; history.SEND_SECONDS = 10.0; "
    program = ["-c", f"import sys; {often}from footplate_trainer.__main__ import main; sys.exit(main())"]
    pod = RunningPod(root, {**environment, "HERE": str(root)}, program=program)
    pid = pod.process.pid
    try:
        pod.wait_for(lambda: True if len(list(root.glob("ready-*"))) == RANKS else None, seconds=120)
        before, memory = cpu_seconds(pid), resident_mib(pid)
        (root / "begin").touch()
        pod.wait_for(lambda: True if len(list(root.glob("done-*"))) == RANKS else None, seconds=200)
        printing = cpu_seconds(pid) - before
        told = [path.read_text().split() for path in root.glob("done-*")]
        quiet_from = cpu_seconds(pid)
        time.sleep(10)
        quiet = (cpu_seconds(pid) - quiet_from) / 10 * SECONDS
        return {
            "lines_a_second": round(sum(int(printed) for printed, _ in told) / SECONDS),
            "supervisor_core_percent": round(100 * printing / SECONDS, 1),
            "quiet_core_percent": round(100 * quiet / SECONDS, 1),
            "cost_percent": round(100 * (printing - quiet) / SECONDS / RANKS, 2),
            "writing_percent": round(100 * sum(float(seconds) for _, seconds in told) / SECONDS / RANKS, 1),
            "memory_mib": round(resident_mib(pid)),
            "memory_before_mib": round(memory),
        }
    finally:
        pod.kill()


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    print(json.dumps({"bench": "logs", "ranks": RANKS, **found, "goal_percent": GOAL_PERCENT}), flush=True)


if __name__ == "__main__":
    main()
