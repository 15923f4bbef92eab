"""The scripts of examples/ do what they say, in a job and outside one; and all manifests there are right."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from footplate.api.runtime import ClusterTrainingRuntime
from footplate.api.trainingjob import TrainingJob
from footplate.contract import ExitCode
from footplate_trainer import exchange
from footplate_trainer.recipes import find_recipe
from rank_processes import Job

pytestmark = pytest.mark.integration

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
EXAMPLES = Path(__file__).parents[2] / "examples"
KINDS: dict[str, type[TrainingJob] | type[ClusterTrainingRuntime]] = {
    "TrainingJob": TrainingJob,
    "ClusterTrainingRuntime": ClusterTrainingRuntime,
}
MANIFESTS = {
    f"{path.relative_to(EXAMPLES)}-{manifest['metadata']['name']}": manifest
    for path in sorted({*EXAMPLES.rglob("*.yaml")} - {*EXAMPLES.rglob("before.yaml")})
    for manifest in yaml.safe_load_all(path.read_text())
    if manifest["apiVersion"].startswith("footplate.dev/")
}
"""Of our kinds: others' are in examples for GitOps and queues."""


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_are_right(name: str) -> None:
    manifest = MANIFESTS[name]
    trainer = KINDS[manifest["kind"]].model_validate(manifest).spec.trainer
    if trainer is not None and trainer.recipe is not None:
        find_recipe(trainer.recipe).check(trainer.hyperparameters)


def test_own_script_in_a_gang(tmp_path: Path) -> None:
    job = Job(tmp_path, "train.py", 2, {"epochs": 20, "learningRate": 0.01}, folder=EXAMPLES / "own-script")
    with job.start(0) as gang:
        assert gang.wait() == [ExitCode.OK] * 2, gang.logs()
        report = exchange.read_report(gang.run_dirs[0])
    assert report is not None
    assert report.progress.step == 800
    assert report.progress.metrics["accuracy"] > 0.9
    assert report.seed == 0
    assert report.device
    assert (tmp_path / "output" / "spirals.safetensors").is_file()


def test_own_script_outside_a_job(tmp_path: Path) -> None:
    subprocess.run([sys.executable, EXAMPLES / "own-script" / "train.py"], cwd=tmp_path, env=ONE_THREAD, check=True)
    assert (tmp_path / "output" / "spirals.safetensors").is_file()


def test_torchrun_script(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "train.py"]
    environ = {**ONE_THREAD, "SM_MODEL_DIR": str(tmp_path), "STEPS": "400"}
    subprocess.run(command, cwd=EXAMPLES / "own-script-torchrun", env=environ, check=True)
    line = load_file(tmp_path / "line.safetensors")
    torch.testing.assert_close(line["weight"].item(), 3.0, atol=0.1, rtol=0)
