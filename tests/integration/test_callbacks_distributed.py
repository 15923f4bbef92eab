"""Callbacks that keep weights, averages and files on several ranks, with whole models and with sharded ones."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from footplate.contract import ExitCode
from footplate_trainer import exchange
from rank_processes import Job

pytestmark = pytest.mark.integration

SETTINGS = {"epochs": 4}
CHECKPOINT = {"every": {"steps": 3}, "keep": 2}
WEIGHTS = {"0.weight": (7, 8), "0.bias": (7,), "2.weight": (3, 7), "2.bias": (3,)}


def files_of(job: Job) -> dict[str, dict[str, torch.Tensor]]:
    return {str(path.relative_to(job.output)): load_file(path) for path in sorted(job.output.rglob("*.safetensors"))}


def history_of(job: Job, rank: int = 0) -> Any:
    return json.loads((job.output / f"history-{rank}.json").read_text())


def finish(job: Job, attempt: int = 0) -> dict[str, dict[str, torch.Tensor]]:
    with job.start(attempt) as gang:
        assert gang.wait() == [ExitCode.OK] * job.world_size, gang.logs()
    return files_of(job)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = Job(tmp_path_factory.mktemp("alone"), "hooks.py", 1, SETTINGS | {"strategy": "ddp"})
    finish(job)
    return job


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_files_and_averages_are_those_of_one_rank_and_outlive_a_kill(alone: Job, tmp_path: Path, strategy: str) -> None:
    """Killed, and gone on with in a new pod, whose output folder is empty."""
    settings = SETTINGS | {"strategy": strategy}
    undisturbed = Job(tmp_path / "undisturbed", "hooks.py", 2, settings)
    expected = finish(undisturbed)
    assert {name: tuple(weight.shape) for name, weight in expected["best.safetensors"].items()} == WEIGHTS
    assert history_of(undisturbed) == history_of(undisturbed, 1)
    torch.testing.assert_close(expected["best.safetensors"], files_of(alone)["best.safetensors"])
    torch.testing.assert_close(history_of(undisturbed), history_of(alone))

    job = Job(tmp_path / "killed", "hooks.py", 2, settings | {"stepSeconds": 0.05}, checkpoint=CHECKPOINT)
    with job.start(0) as gang:
        assert gang.wait_for_step(11), gang.logs()
        gang.send(signal.SIGKILL)
        gang.wait()
    job.output.rename(tmp_path / "gone")
    assert expected.keys() == finish(job, 1).keys()
    torch.testing.assert_close(files_of(job), expected, rtol=0, atol=0)
    assert history_of(job) == history_of(undisturbed)
    resumed = exchange.read_report(job.run_dir(0, 1))
    assert resumed is not None
    assert resumed.resumed_from_step


def test_an_average_goes_on_when_its_model_is_sharded(alone: Job, tmp_path: Path) -> None:
    settings = SETTINGS | {"stepSeconds": 0.05}
    with Job(tmp_path, "hooks.py", 2, settings | {"strategy": "ddp"}, checkpoint=CHECKPOINT).start(0) as gang:
        assert gang.wait_for_step(11), gang.logs()
        gang.send(signal.SIGKILL)
        gang.wait()
    job = Job(tmp_path, "hooks.py", 2, settings | {"strategy": "fsdp"}, checkpoint=CHECKPOINT)
    torch.testing.assert_close(finish(job, 1)["best.safetensors"], files_of(alone)["best.safetensors"])


@pytest.mark.parametrize("batch", [1, 4])
def test_a_loss_that_is_no_number_on_one_rank_ends_fit_on_all(tmp_path: Path, batch: int) -> None:
    """In the middle of an epoch, and at its end, where a checkpoint is due that must not be."""
    job = Job(tmp_path, "hooks.py", 2, SETTINGS | {"strategy": "ddp", "nanAt": batch}, checkpoint=CHECKPOINT)
    finish(job)
    assert [history_of(job, rank)[0] for rank in (0, 1)] == [[0], [0]]
    steps = {int(path.parent.name.removeprefix("step-")) for path in tmp_path.rglob("step-*/manifest.json")}
    assert steps == ({3} if batch == 4 else set())
    report = exchange.read_report(job.run_dir(0, 0))
    assert report is not None
    assert any(f"the loss is NaN or infinite at batch {batch + 1} of epoch 1" in note for note in report.notes)
