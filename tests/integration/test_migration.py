"""The jobs that docs/migrate-from-*.md arrive at train, with scripts that know nothing of Footplate."""

import difflib
import json
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from torch import nn

from documents import read_block
from example_gangs import PATIENCE_SECONDS, Example
from footplate.contract import ExitCode
from footplate_trainer.data.idx import read_idx_pair
from laptop import EXAMPLES, make_data
from trainer_pods import Done

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

BEFORE = {"kubeflow": "before.yaml", "sagemaker": "before.py", "slurm": "before.sbatch"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data("digits", tmp_path_factory.mktemp("digits"))


def job_from(platform: str, root: Path, digits: Path) -> Example:
    example = Example(f"migrate/{platform}", root, sys.executable)
    for channel in example.spec["inputs"]:
        channel["uri"] = f"file://{digits}/"
    return example


def run(example: Example, attempt: int = 0) -> list[Done]:
    with example.attempt(attempt) as pods:
        ends = [pod.finish(seconds=PATIENCE_SECONDS) for pod in pods]
    assert [end.exit_code for end in ends] == [ExitCode.OK] * len(ends), "\n".join(end.log for end in ends)
    return ends


def share_read(model: Path, digits: Path) -> float:
    """How many of the held-out digits a model of these scripts reads."""
    network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    network.load_state_dict(torch.load(model))
    pair = [digits / f"test-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
    images, labels = read_idx_pair(*pair, shared=digits)
    guessed = network(images.reshape(len(labels), 64) / 255).argmax(dim=1)
    return (guessed == labels).float().mean().item()


@pytest.mark.parametrize("platform", BEFORE)
def test_the_page_has_the_diff(platform: str) -> None:
    folder = EXAMPLES / "migrate" / platform
    names = [BEFORE[platform], "job.yaml"]
    before, after = ((folder / name).read_text().splitlines() for name in names)
    diff = difflib.unified_diff(before, after, *names, n=100, lineterm="")
    assert read_block(f"migrate-from-{platform}.md", f"diff: {platform}").splitlines() == list(diff)


@pytest.mark.parametrize("platform", BEFORE)
def test_the_script_knows_nothing_of_ours(platform: str) -> None:
    assert "footplate" not in (EXAMPLES / "migrate" / platform / "train.py").read_text().lower()


def test_from_kubeflow(tmp_path: Path, digits: Path) -> None:
    example = job_from("kubeflow", tmp_path, digits)
    first, _ = run(example)
    assert "epoch 5 of 2 processes" in first.log
    assert share_read(example.output / "digits.pt", digits) > 0.9


def test_from_sagemaker(tmp_path: Path, digits: Path) -> None:
    example = job_from("sagemaker", tmp_path, digits)
    with tarfile.open(tmp_path / "digits.tar.gz", "w:gz") as archive:
        archive.add(EXAMPLES / "migrate/sagemaker/train.py", "train.py")
    example.spec["trainer"]["source"] = {"uri": f"file://{tmp_path}/digits.tar.gz"}
    example.spec["trainer"]["args"] = ["--checkpoint-dir=$(FOOTPLATE_CHECKPOINT_DIR)"]  # no /opt/ml on this machine
    first, second = run(example)
    assert "host 0 of 2, 0 GPUs, begins after epoch 0" in first.log
    assert "host 1 of 2" in second.log
    assert first.verdict.progress is not None
    assert first.verdict.progress.epoch == 5, "metricDefinitions are SageMaker's"
    losses = json.loads((example.output / "data/losses.json").read_text())
    assert first.verdict.metrics["loss"] == pytest.approx(losses[-1], abs=1e-4)
    assert share_read(example.output / "model.pth", digits) > 0.9
    assert example.snapshot.keys() == {"checkpoint.pth"}


def test_from_slurm_and_through_a_suspension(tmp_path: Path, digits: Path) -> None:
    example = job_from("slurm", tmp_path, digits)
    command = example.spec["trainer"]["command"]
    example.spec["trainer"]["command"] = [word.replace("--epochs=5", "--epochs=1000000") for word in command]
    with example.attempt() as pods:
        pods[0].wait_for_log("epoch 5:", seconds=PATIENCE_SECONDS)
        for pod in pods:
            pod.process.terminate()
        assert [pod.finish(seconds=PATIENCE_SECONDS).exit_code for pod in pods] == [ExitCode.STOPPED] * 2
    stopped = max(
        int(line.split()[1].rstrip(":"))
        for line in pods[0].log_path.read_text().splitlines()
        if line.startswith("epoch ")
    )
    example.spec["trainer"]["command"] = [word.replace("--epochs=5", f"--epochs={stopped + 2}") for word in command]
    first, _ = run(example, attempt=1)
    assert f"4 ranks begin after epoch {stopped}" in first.log
    assert share_read(example.output / "digits.pt", digits) > 0.9
