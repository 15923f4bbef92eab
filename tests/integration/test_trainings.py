"""Programs with several trainings, killed at any moment and any number of times, end bit for bit as those that nothing
happened to; and what begins with another job's weights takes nothing else of it.
"""

import json
import random
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from footplate.contract import ExitCode
from footplate_trainer import exchange
from rank_processes import Job

pytestmark = pytest.mark.integration

CHECKPOINT = {"every": {"steps": 5}, "keep": 2}
STEPS = {"folds": 4 * 12, "stages": 2 * 24, "turns": 72}
"""Of all trainings of a program together."""


def result_of(job: Job) -> Any:
    return json.loads((job.output / "result-0.json").read_text())


def finish(job: Job, attempt: int = 0) -> Any:
    with job.start(attempt) as gang:
        assert set(gang.wait()) == {ExitCode.OK}, gang.logs()
    return result_of(job)


@pytest.mark.parametrize(
    ("program", "ranks"),
    [
        pytest.param("folds", 1, id="cross-validation"),
        pytest.param("stages", 1, id="head, then whole"),
        pytest.param("turns", 1, id="adversarial"),
        pytest.param("folds", 2, id="cross-validation, 2 ranks", marks=pytest.mark.slow),
        pytest.param("turns", 2, id="adversarial, 2 ranks", marks=pytest.mark.slow),
    ],
)
def test_several_trainings_killed_end_as_if_they_never_were(tmp_path: Path, program: str, ranks: int) -> None:
    reference = Job(tmp_path / "reference", f"trainings:{program}", ranks, {})
    uninterrupted = finish(reference)
    settings = {"stepSeconds": 0.03}
    job = Job(tmp_path / "killed", f"trainings:{program}", ranks, settings, checkpoint=CHECKPOINT)
    chance, last, kills = random.Random(program), 0, 3
    for attempt in range(kills):
        with job.start(attempt) as gang:
            step = min(last + chance.randint(9, 15), STEPS[program] - 2)
            assert gang.wait_for_step(step), gang.logs()
            chance.choice(gang.ranks).send_signal(signal.SIGKILL)
            assert set(gang.wait()) <= {-signal.SIGKILL, ExitCode.PEER_LOST}, gang.logs()
            last = max(gang.steps())
    assert finish(job, kills) == uninterrupted
    report = exchange.read_report(job.run_dir(0, kills))
    assert report is not None
    assert report.progress.step == STEPS[program]
    assert report.checkpoint is not None
    assert report.checkpoint.step == STEPS[program]
    assert (report.resumed_from_step or 0) > 9


def test_a_stop_in_a_later_training_loses_nothing(tmp_path: Path) -> None:
    """Trainings that are over train no more; the one that was stopped goes on at that very step."""
    job = Job(tmp_path, "trainings:folds", 1, {"stepSeconds": 0.03}, checkpoint=CHECKPOINT)
    with job.start(0) as gang:
        assert gang.wait_for_step(30)
        gang.send(signal.SIGTERM)
        assert gang.wait() == [ExitCode.STOPPED], gang.logs()
        stopped_at = gang.steps()[0]
    result = finish(job, 1)
    log = (job.run_dir(0, 1) / "log").read_text()
    batches = [int(number) for number in re.findall(r"fold \d batches (\d+)", log)]
    assert batches == [0, 0, 36 - stopped_at, 12]
    assert result == finish(Job(tmp_path / "reference", "trainings:folds", 1, {}))


@pytest.mark.parametrize("samples", [pytest.param(80, id="as many"), pytest.param(120, id="more")])
def test_another_jobs_weights_are_trained_at_this_jobs_rate(tmp_path: Path, samples: int) -> None:
    """On data of the same size too, where nothing would be left to train of the other job's epochs."""
    first = finish(Job(tmp_path / "first", "trainings:warm", 1, {"samples": 80, "lr": 0.01}, checkpoint=CHECKPOINT))
    newest = max(tmp_path.glob("first/checkpoints/exact/*/step-*"))
    settings = {"samples": samples, "lr": 0.003, "stepSeconds": 0.1}
    block = {**CHECKPOINT, "initFrom": f"file://{newest}/"}
    whole = finish(Job(tmp_path / "whole", "trainings:warm", 1, settings, checkpoint=block, uid="whole"))
    assert whole["began"] == {"epoch": 0, "index": 0, "lr": 0.003, "sha256": first["sha256"]}
    assert whole["batches"] == 4 * samples // 20
    job = Job(tmp_path / "killed", "trainings:warm", 1, settings, checkpoint=block, uid="killed")
    with job.start(0) as gang:
        gang.wait_until(lambda: any(tmp_path.glob("killed/checkpoints/exact/*/step-*/manifest.json")))
        gang.send(signal.SIGKILL)
        assert gang.wait() == [-signal.SIGKILL]
    ended = finish(job, 1)
    assert (ended["sha256"], ended["history"]) == (whole["sha256"], whole["history"])
    assert ended["began"]["lr"] < 0.003, "this time it goes on from its own checkpoint"


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "ranks"), [("fsdp", 3), ("fsdp", 2), ("ddp", 1)])
def test_a_sharded_models_weights_begin_another_on_any_number_of_ranks(
    tmp_path: Path, strategy: str, ranks: int
) -> None:
    settings = {"samples": 96, "batchSize": 24, "epochs": 1, "strategy": "fsdp", "chance": True}
    donor = Job(tmp_path / "donor", "sharded.py", 2, settings, checkpoint=CHECKPOINT)
    finish(donor)
    trained = load_file(donor.output / "model.safetensors")
    newest = max(tmp_path.glob("donor/checkpoints/exact/*/step-*"))
    settings |= {"trains": False, "strategy": strategy}
    block = {**CHECKPOINT, "initFrom": f"file://{newest}/"}
    job = Job(tmp_path / "job", "sharded.py", ranks, settings, checkpoint=block, uid="another")
    finish(job)
    begun = load_file(job.output / "model.safetensors")
    assert begun.keys() == trained.keys()
    assert all(begun[name].equal(value) for name, value in trained.items())
