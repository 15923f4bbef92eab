"""Ranks that hang, and ranks that only look like it: real supervisors, real ranks, and a limit of seconds."""

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from footplate.contract import ExitCode
from trainer_pods import Done, RunningPod, free_port, pod_environment

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HANG_TIMEOUT = 6
PATIENCE = 240
"""Seconds: on a machine that does much else a rank takes a minute to start."""

TRAIN = """
import itertools, os, time
import torch
import torch.distributed as dist
from footplate_trainer import context, prepare, report

def stuck_in_here():
    time.sleep(600)

ctx = context()
others = dist.new_group()
model = prepare(torch.nn.Linear(4, 1))
for step in itertools.count(1):
    model(torch.ones(2, 4)).sum().backward()
    report(step=step)
    if step == 10:
        print("pid", os.getpid(), flush=True)
    if step >= 10:
        MISHAP
    time.sleep(0.02)
"""
NO_MISHAP = "pass"
STUCK_ON_RANK_1 = "ctx.rank == 1 and stuck_in_here()"
WAIT_FOR_EACH_OTHER = "dist.all_reduce(torch.ones(1), group=others if ctx.rank else None)"

SLOW_FIT = """
import time
import torch
from torch.utils.data import Dataset
from footplate_trainer import Trainer, context, data, enter

class Points(Dataset):
    def __init__(self, slow):
        self.slow = slow
    def __len__(self):
        return 8
    def __getitem__(self, index):
        if index == self.slow:
            time.sleep(LONG)
        return torch.ones(4), torch.tensor(0)

context()
model = torch.nn.Linear(4, 2)
trainer = Trainer(model, torch.nn.functional.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1))
train, validation = (data.loader(Points(slow), batch_size=4, shuffle=False) for slow in (0, 5))
trainer.fit(train, validation=validation)
enter("exporting")
time.sleep(LONG)
print("done")
"""

SLOW_SAVE = """
import time
import torch
from footplate_trainer import checkpoint, report

class Slow:
    def state_dict(self):
        time.sleep(LONG)
        return {}

    def load_state_dict(self, state):
        pass

state = checkpoint.restore(model=torch.nn.Linear(4, 2), slow=Slow())
state.step += 1
report(step=state.step)
checkpoint.save(state)
print("done")
"""


def train_script(mishap: str) -> dict[str, str]:
    return {"train.py": TRAIN.replace("MISHAP", mishap)}


@contextlib.contextmanager
def gang(
    root: Path, files: Mapping[str, str] | None, *, nodes: int, processes: int = 1, **spec: Any
) -> Iterator[list[RunningPod]]:
    """The pods of one gang, each with a supervisor of its own."""
    whole = {"trainer": {"entrypoint": "train.py"}, "runPolicy": {"hangTimeoutSeconds": HANG_TIMEOUT}, **spec}
    shared = {"MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    pods: list[RunningPod] = []
    try:
        for node in range(nodes):
            folder = root / f"node-{node}"
            environment = pod_environment(
                folder, whole, nodes=nodes, node_rank=node, processes=processes, files=files, grace_seconds=5
            )
            pods.append(RunningPod(folder, {**environment, **shared}))
        yield pods
    finally:
        for pod in pods:
            pod.process.kill()
            pod.process.wait()


def pid_in(pod: RunningPod) -> int:
    found = pod.wait_for(lambda: re.search(r"^pid (\d+)$", pod.log_path.read_text(), re.MULTILINE), seconds=PATIENCE)
    return int(found[1])


def message(done: Done) -> str:
    assert done.verdict.error is not None, done.log
    return done.verdict.error.message


@pytest.mark.parametrize("frozen", [0, 1], ids=["rank 0", "rank 1"])
def test_a_frozen_rank_is_the_cause_in_its_pod_and_a_lost_peer_in_the_others(tmp_path: Path, frozen: int) -> None:
    with gang(tmp_path, train_script(NO_MISHAP), nodes=2) as pods:
        pids = [pid_in(pod) for pod in pods]
        os.kill(pids[frozen], signal.SIGSTOP)
        done = [pod.finish(seconds=PATIENCE) for pod in pods]
    culprit, other = done[frozen], done[1 - frozen]
    assert culprit.exit_code == ExitCode.HANG, culprit.log
    assert f"rank {frozen} made no progress" in message(culprit)
    assert "its process is stopped (SIGSTOP, or a debugger)" in message(culprit)
    assert other.exit_code == ExitCode.PEER_LOST, other.log


def test_the_stack_is_that_of_the_rank_that_the_others_wait_for(tmp_path: Path) -> None:
    with gang(tmp_path, train_script(STUCK_ON_RANK_1), nodes=1, processes=2) as [pod]:
        done = pod.finish(seconds=PATIENCE)
    assert done.exit_code == ExitCode.HANG, done.log
    assert done.verdict.error is not None
    assert done.verdict.error.rank == 1
    assert "while training, after step 10" in message(done)
    assert str(done.verdict.error.traceback).endswith("in stuck_in_here")
    assert "rank/program.py" not in str(done.verdict.error.traceback)
    assert re.search(r"\[rank 1\] .* in stuck_in_here", done.log)
    assert re.search(r"\[rank 0\] .* in _engine_run_backward", done.log)


def test_ranks_that_wait_for_each_other_hang_after_all(tmp_path: Path) -> None:
    with gang(tmp_path, train_script(WAIT_FOR_EACH_OTHER), nodes=2) as pods:
        done = [pod.finish(seconds=PATIENCE) for pod in pods]
    assert {one.exit_code for one in done} <= {ExitCode.HANG, ExitCode.PEER_LOST}
    hung = next(one for one in done if one.exit_code == ExitCode.HANG)
    assert "it waits for others in a collective" in message(hung)
    assert hung.verdict.error is not None
    assert "in all_reduce" in str(hung.verdict.error.traceback)


@pytest.mark.parametrize(
    "script",
    [pytest.param(SLOW_FIT, id="first batch, evaluation, export"), pytest.param(SLOW_SAVE, id="save")],
)
def test_slow_is_not_hung(tmp_path: Path, script: str) -> None:
    """Each takes longer than a step may."""
    checkpoint = {"uri": f"file://{tmp_path}/checkpoints", "every": {"steps": 1000}}
    files = {"train.py": script.replace("LONG", str(1.5 * HANG_TIMEOUT))}
    with gang(tmp_path, files, nodes=1, checkpoint=checkpoint) as [pod]:
        done = pod.finish(seconds=PATIENCE)
    assert done.exit_code == ExitCode.OK, done.log
    assert "done" in done.log


def test_who_waits_for_a_queued_pod_is_not_hung(tmp_path: Path) -> None:
    """The second pod comes when the first has waited for longer than the limit for a step."""
    shared = {"MASTER_PORT": str(free_port())}
    spec = {"trainer": {"entrypoint": "train.py"}, "runPolicy": {"hangTimeoutSeconds": 1}}
    files = {"train.py": "from footplate_trainer import context, report\ncontext()\nreport(step=1)\n"}
    environments = [
        pod_environment(tmp_path / f"node-{node}", spec, nodes=2, node_rank=node, files=files) for node in range(2)
    ]
    pods = [RunningPod(tmp_path / "node-0", {**environments[0], **shared})]
    try:
        pods[0].wait_for_log("training starts")
        until = time.monotonic() + 6
        pods[0].wait_for(lambda: True if time.monotonic() > until else None)
        pods.append(RunningPod(tmp_path / "node-1", {**environments[1], **shared}))
        assert [pod.finish(seconds=PATIENCE).exit_code for pod in pods] == [0, 0]
    finally:
        for pod in pods:
            pod.process.kill()
            pod.process.wait()


REPORTS_BY_ITSELF = """
import os, pathlib, signal, sys, time
from footplate_trainer.exchange import Heartbeat
signal.signal(signal.SIGUSR1, lambda *_: print("asked", flush=True))
Heartbeat(pathlib.Path(os.environ["FOOTPLATE_RUN_DIR"]), 3).beat(5, "training")
print("words of its own", file=sys.stderr, flush=True)
while True:
    time.sleep(1)
"""


def test_a_process_that_is_not_ours_is_ended_without_being_asked(tmp_path: Path) -> None:
    command = {"command": [sys.executable, "-c", REPORTS_BY_ITSELF]}
    with gang(tmp_path, None, nodes=1, trainer=command) as [pod]:
        done = pod.finish(seconds=PATIENCE)
    assert done.exit_code == ExitCode.HANG, done.log
    assert "rank 3 made no progress" in message(done)
    assert "its stack could not be had" in message(done)
    assert "asked" not in done.log
