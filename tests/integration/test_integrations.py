"""What the callbacks for other frameworks share; tests/frameworks has them in their frameworks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from footplate.contract import Env, ExitCode
from footplate_trainer import exchange
from footplate_trainer.exchange import RankReport

pytestmark = pytest.mark.integration

TRAIN = """
import os, signal, sys, time
import torch
from footplate_trainer.integrations.run import Run
run = Run()
run.begin(total_steps=float("inf"), epochs=3)
for step in range(1, 1000):
    run.step_done(step, {"loss": torch.tensor(0.5), "name": "x", "grid": torch.zeros(2, 2)}, epoch=1)
    if step == 5 and "--stop" in sys.argv:
        os.kill(os.getpid(), signal.SIGTERM)
    if run.asked_to_stop():
        run.end()
    if step == 5 and "--stop" not in sys.argv:
        run.over()
        break
    time.sleep(0.01)
"""


def train(folder: Path, *arguments: str, ranks: int = 1) -> tuple[int, RankReport]:
    place = {Env.RUN_DIR: str(folder), Env.GRACE_SECONDS: "20", "RANK": "0", "WORLD_SIZE": str(ranks)}
    done = subprocess.run([sys.executable, "-c", TRAIN, *arguments], env={**os.environ, **place}, check=False)
    report = exchange.read_report(folder)
    assert report is not None
    return done.returncode, report


def test_what_is_a_number_is_reported(tmp_path: Path) -> None:
    code, report = train(tmp_path)
    progress = report.progress
    assert (code, report.notes) == (0, ())
    assert (progress.step, progress.epoch, progress.epochs, progress.total_steps) == (5, 1, 3, None)
    assert progress.metrics == {"loss": 0.5}


def test_a_stop_ends_the_program_after_a_step(tmp_path: Path) -> None:
    code, report = train(tmp_path, "--stop")
    assert code == ExitCode.STOPPED
    assert report.progress.step is not None
    assert 5 <= report.progress.step < 200


def test_ranks_that_train_models_of_their_own_are_told_of(tmp_path: Path) -> None:
    _, report = train(tmp_path, ranks=2)
    (note,) = report.notes
    assert note.startswith("this job has 2 ranks, and each of them trains a model of its own")
