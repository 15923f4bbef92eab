"""Ranks of one pod are forks of one process, and yet as good as started one by one."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from trainer_pods import RunningPod, pod_environment

pytestmark = pytest.mark.integration

LOOK = """
import json, multiprocessing, os, random, sys
import numpy as np
import torch
from footplate_trainer import context

def links():
    paths = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return [os.readlink(path) for path in paths if os.path.lexists(path)]

if __name__ == "__main__":
    drawn = [random.random(), float(np.random.rand())]  # before context(), which seeds all ranks alike
    pipes = sorted(link for link in links() if link.startswith("pipe:"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.apply(int, ("7",))
    ones = np.ones((300, 300)), torch.ones(300, 300)
    seen = {
        "rank": context().rank,
        "local": os.environ["LOCAL_RANK"],
        "parent": os.getppid(),
        "pid": os.getpid(),
        "group": os.getpgrp(),
        "stdin": sys.stdin.read(),
        "argv": sys.argv,
        "drawn": drawn,
        "product": [float((matrix @ matrix)[0, 0]) for matrix in ones],
        "spawned": spawned,
        "pipes": pipes,
    }
    print("seen " + json.dumps(seen), flush=True)
"""

SLEEP = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"


def start(root: Path, code: str, *, processes: int = 3, env: dict[str, str] | None = None) -> RunningPod:
    spec: dict[str, Any] = {"trainer": {"entrypoint": "train.py", "args": ["--out", "$(HERE)"]}}
    environment = pod_environment(root, spec, processes=processes, files={"train.py": code})
    return RunningPod(root, {**environment, **(env or {})})


def test_forked_ranks_are_as_good_as_started_ones(tmp_path: Path) -> None:
    pod = start(tmp_path, LOOK)
    done = pod.finish()
    assert done.exit_code == 0, done.log
    lines = [line.partition("seen ")[2] for line in done.log.splitlines() if "seen " in line]
    seen = sorted((json.loads(line) for line in lines), key=lambda each: each["rank"])
    assert [(each["rank"], each["local"]) for each in seen] == [(0, "0"), (1, "1"), (2, "2")]
    for each in seen:
        assert each["parent"] == pod.process.pid, "the supervisor hears of its end"
        assert each["group"] == each["pid"], "it and what it starts can be killed together"
        script = str(tmp_path / "scratch/work/source/train.py")
        assert (each["stdin"], each["argv"], each["spawned"]) == ("", [script, "--out", "$(HERE)"], 7)
        assert each["product"] == [300.0, 300.0], "OpenBLAS and torch compute after a fork"
        assert len(each["pipes"]) == 2, "another rank's output would not end with it"
    assert len({pipe for each in seen for pipe in each["pipes"]}) == 6, "each rank has its own output"
    assert len({each["drawn"][0] for each in seen}) == len({each["drawn"][1] for each in seen}) == 3


def test_forked_ranks_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    pod = start(tmp_path, SLEEP, processes=2)
    pids = pod.wait_for(lambda: found if len(found := pids_in(pod.log_path)) == 2 else None)
    pod.process.kill()
    pod.process.wait()
    for pid in pids:
        subprocess.run(["tail", f"--pid={pid}", "--follow", os.devnull], timeout=10, check=True)


def test_a_killed_rank_is_noticed(tmp_path: Path) -> None:
    pod = start(tmp_path, SLEEP, processes=2)
    pids = pod.wait_for(lambda: found if len(found := pids_in(pod.log_path)) == 2 else None)
    os.kill(pids[1], signal.SIGKILL)
    done = pod.finish()
    assert (done.exit_code, done.verdict.error and done.verdict.error.rank) == (137, 1), done.log


def test_what_ends_before_it_can_fork_is_said(tmp_path: Path) -> None:
    """A torch that kills whoever imports it, as one does that finds no memory."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/torch.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    done = start(tmp_path, SLEEP, env={"PYTHONPATH": str(tmp_path / "broken")}).finish()
    assert done.exit_code == 70, done.log
    assert done.verdict.error is not None
    assert "ended with exit code -9 while it imported torch" in done.verdict.error.message


def pids_in(log: Path) -> list[int]:
    """Process ids by rank, as far as the ranks have told them."""
    lines = sorted(line for line in log.read_text().splitlines() if "] pid " in line)
    return [int(line.rpartition(" ")[2]) for line in lines]
