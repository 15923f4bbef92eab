"""Sharded training (FSDP2): killed at any moment it ends bit for bit as if it never was, and it shrinks and grows."""

import json
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from footplate.contract import ExitCode
from footplate_trainer import exchange
from rank_processes import Job

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SETTINGS = {"samples": 100, "batchSize": 24, "epochs": 5, "strategy": "fsdp", "chance": True}
STEPS = 25
NO_CHANCE = SETTINGS | {"samples": 96, "chance": False}
"""Every batch is divided evenly by two and three ranks, so that any number of them computes the same."""
CHECKPOINT = {"every": {"steps": 4}, "keep": 2}
Result = dict[str, Any]


def result_of(job: Job, rank: int = 0) -> Result:
    result: Result = json.loads((job.output / f"result-{rank}.json").read_text())
    return result


def finish(job: Job, attempt: int = 0) -> Result:
    with job.start(attempt) as gang:
        assert gang.wait() == [ExitCode.OK] * job.world_size, gang.logs()
    return result_of(job)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Result]:
    """The end of a run that nothing happened to, by world size. Without checkpoints, so that saving can't disturb."""
    return {
        ranks: finish(Job(tmp_path_factory.mktemp(f"reference-{ranks}"), "sharded.py", ranks, SETTINGS))
        for ranks in (2, 3)
    }


@pytest.mark.parametrize(("number", "ranks"), [(signal.SIGKILL, 3), (signal.SIGTERM, 2)])
def test_an_interrupted_training_ends_as_one_that_was_not(
    uninterrupted: dict[int, Result], tmp_path: Path, number: signal.Signals, ranks: int
) -> None:
    job = Job(tmp_path, "sharded.py", ranks, SETTINGS | {"stepSeconds": 0.02}, checkpoint=CHECKPOINT)
    chance, attempts, step = random.Random(ranks), 2, 0
    for attempt in range(attempts):
        step = min(step + chance.randint(5, 9), STEPS - 3)
        with job.start(attempt) as gang:
            assert gang.wait_for_step(step), gang.logs()
            chance.choice(gang.ranks).send_signal(number)
            codes = set(gang.wait())
            stopped = {ExitCode.STOPPED} if number is signal.SIGTERM else {-signal.SIGKILL, ExitCode.PEER_LOST}
            assert codes <= stopped, gang.logs()
            step = max(gang.steps())
    assert finish(job, attempts) == uninterrupted[ranks]


def test_each_rank_holds_and_writes_its_share(uninterrupted: dict[int, Result], tmp_path: Path) -> None:
    job = Job(tmp_path, "sharded.py", 2, SETTINGS | {"before": False}, checkpoint=CHECKPOINT)
    assert finish(job) == uninterrupted[2]
    assert all(result_of(job, rank)["share"] < 0.7 for rank in (0, 1))
    assert result_of(job)["optimizer"] == ["DTensor"]
    newest = max(tmp_path.glob("checkpoints/exact/*/step-*"))
    files = json.loads((newest / "manifest.json").read_text())["files"]
    sizes = {(file["part"], file["rank"]): file["size"] for file in files}
    for part in ("model.shards", "optimizer.shards"):
        assert sizes[part, 0] < 0.7 * (sizes[part, 0] + sizes[part, 1])
    exported = load_file(job.output / "model.safetensors")
    assert exported["blocks.1.layers.0.weight"].shape == (7, 7)


def test_a_damaged_piece_is_seen_by_all_and_the_checkpoint_before_is_taken(
    uninterrupted: dict[int, Result], tmp_path: Path
) -> None:
    job = Job(tmp_path, "sharded.py", 2, SETTINGS | {"stepSeconds": 0.02}, checkpoint=CHECKPOINT)
    with job.start(0) as gang:
        assert gang.wait_for_step(14)
        gang.send(signal.SIGKILL)
        gang.wait()
    newest, before = sorted(tmp_path.glob("checkpoints/exact/*/step-*/manifest.json"), reverse=True)[:2]
    (pieces,) = newest.parent.glob("optimizer.shards-00001-*")
    content = bytearray(pieces.read_bytes())
    content[-5] ^= 1
    pieces.write_bytes(content)
    assert finish(job, 1) == uninterrupted[2]
    report = exchange.read_report(job.run_dir(0, 1))
    assert report is not None
    assert report.resumed_from_step == int(before.parent.name.removeprefix("step-"))
    assert any(pieces.name in note and "damaged" in note for note in report.notes)


@pytest.fixture(scope="module")
def sure(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one rank that is never interrupted learns, without chance."""
    job = Job(tmp_path_factory.mktemp("sure"), "sharded.py", 1, NO_CHANCE)
    finish(job)
    return load_file(job.output / "model.safetensors")


CHANGES = {
    "shrinks": ((3, "fsdp"), (2, "fsdp")),
    "grows": ((2, "fsdp"), (3, "fsdp")),
    "one rank is left": ((2, "fsdp"), (1, "fsdp")),
    "no longer sharded": ((2, "fsdp"), (2, "ddp")),
    "sharded from now on": ((2, "ddp"), (2, "fsdp")),
}


@pytest.mark.parametrize(("before", "after"), CHANGES.values(), ids=CHANGES.keys())
def test_another_world_goes_on_as_if_nothing_had_changed(
    sure: dict[str, Any], tmp_path: Path, before: tuple[int, str], after: tuple[int, str]
) -> None:
    """Up to rounding, where there is no dropout, and batches are divided evenly."""
    settings = NO_CHANCE | {"stepSeconds": 0.02, "strategy": before[1]}
    job = Job(tmp_path, "sharded.py", before[0], settings, checkpoint=CHECKPOINT)
    with job.start(0) as gang:
        assert gang.wait_for_step(9)
        gang.send(signal.SIGTERM)
        assert set(gang.wait()) == {ExitCode.STOPPED}, gang.logs()
        (stopped_at,) = set(gang.steps())
    job.world_size = after[0]
    job.hyperparameters = NO_CHANCE | {"strategy": after[1]}
    finish(job, 1)
    report = exchange.read_report(job.run_dir(0, 1))
    assert report is not None
    assert report.resumed_from_step == stopped_at
    learnt = load_file(job.output / "model.safetensors")
    assert learnt.keys() == sure.keys()
    for name, weight in learnt.items():
        np.testing.assert_allclose(weight, sure[name], rtol=1e-5, atol=1e-7, err_msg=name)


FIT = {"epochs": 3, "accumulate": 9, "dropout": 0.0, "noise": 0.0, "batchNorm": False, "stepSeconds": 0.0}
"""Nine parts, of shares of 4 and 5 samples: forward passes are as many on all ranks. Of the last two batches to
evaluate one rank of three has no share."""


def test_trainer_computes_the_same_sharded(tmp_path: Path) -> None:
    alone = finish(Job(tmp_path / "1", "fit.py", 1, FIT))
    job = Job(tmp_path / "3", "fit.py", 3, FIT | {"strategy": "fsdp", "validationBatchSize": 3}, checkpoint=CHECKPOINT)
    with job.start(0) as gang:
        assert gang.wait_for_step(7), gang.logs()
        gang.send(signal.SIGKILL)
        gang.wait()
    result = finish(job, 1)
    np.testing.assert_allclose(result["weights"], alone["weights"], rtol=1e-9)
    for name, values in alone["history"].items():
        np.testing.assert_allclose(result["history"][name], values, rtol=1e-7, err_msg=name)


def test_sharded_weights_that_are_no_numbers_are_never_saved(tmp_path: Path) -> None:
    """Rank 1's piece is spoilt after step 3, when a checkpoint is due; both ranks refuse."""
    job = Job(tmp_path, "fit.py", 2, FIT | {"strategy": "fsdp", "nanAfter": 3}, checkpoint={"every": {"steps": 4}})
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.USER_ERROR] * 2, gang.logs()
    assert not list((tmp_path / "checkpoints").rglob("manifest.json"))
